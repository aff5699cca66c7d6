// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/topology"
)

// controllerSelector selects the controllers' pods, as the manifests label them.
const controllerSelector = "app.kubernetes.io/component=controller"

// A PagePod is a controller that serves the web page.
type PagePod struct {
	Name    string
	Leading bool    // as far as the Lease says
	Address *string // of the flag --page-address; nil: the pod has none
}

// PageOf returns the controller in a namespace whose page shows most: the leading one, or
// another one that runs.
func PageOf(ctx context.Context, c *Client, namespace string) (PagePod, error) {
	list, err := c.pods(namespace).labelled(controllerSelector).list(ctx, metav1.ListOptions{})
	if err != nil {
		return PagePod{}, fmt.Errorf("controllers in %s: %w", namespace, err)
	}
	l := &look{client: c, opts: LookOptions{Namespace: namespace}, in: topology.Input{At: time.Now()}}
	if err := l.leader(ctx); err != nil && !apierrors.IsForbidden(err) {
		return PagePod{}, fmt.Errorf("the Lease of the controllers in %s: %w", namespace, err)
	}
	var found []PagePod
	for _, p := range list.(*corev1.PodList).Items {
		if !running(p) {
			continue
		}
		flags := map[string]string{}
		addFlags(flags, p)
		pod := PagePod{Name: p.Name, Leading: p.Name == l.in.Leader}
		if at, ok := flags["page-address"]; ok {
			pod.Address = &at
		}
		if pod.Leading {
			return pod, nil
		}
		found = append(found, pod)
	}
	if len(found) == 0 {
		return PagePod{}, fmt.Errorf("no controller runs in namespace %s; name Herald's with --namespace", namespace)
	}
	return found[0], nil
}
