// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
)

// agentOwner returns what the objects of an agent go with: its pod, or the Node if
// that is nowhere to be seen; nil if neither is.
func (c *Client) agentOwner(ctx context.Context, namespace, pod, node string) (*metav1.OwnerReference, error) {
	if pod != "" {
		uid, err := c.podUID(ctx, namespace, pod)
		switch {
		case err == nil:
			return &metav1.OwnerReference{APIVersion: "v1", Kind: "Pod", Name: pod, UID: uid}, nil
		case !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err):
			return nil, fmt.Errorf("pod %s: %w", pod, err)
		}
	}
	nodes, err := c.nodes().List(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", node).String()})
	if err != nil {
		return nil, fmt.Errorf("node %s: %w", node, err)
	}
	i := slices.IndexFunc(nodes.Items, func(n corev1.Node) bool { return n.Name == node })
	if i < 0 {
		return nil, nil
	}
	return &metav1.OwnerReference{APIVersion: "v1", Kind: "Node", Name: node, UID: nodes.Items[i].UID}, nil
}
