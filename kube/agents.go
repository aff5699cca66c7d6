// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/status"
)

// agentSelector selects the agents' pods, as the manifests label them.
const agentSelector = "app.kubernetes.io/component=agent"

// An Agent is where the agent of a node serves its Report.
type Agent struct {
	Node string

	namespace, pod string
	port           int32
}

// Agents returns the agents whose pods run in a namespace, in the order of their
// nodes.
func (c *Client) Agents(ctx context.Context, namespace string) ([]Agent, error) {
	var pods corev1.PodList
	err := c.core.Get().Namespace(namespace).Resource("pods").
		VersionedParams(&metav1.ListOptions{LabelSelector: agentSelector}, c.parameters).Do(ctx).Into(&pods)
	if err != nil {
		return nil, fmt.Errorf("agents in %s: %w", namespace, err)
	}
	var out []Agent
	for _, p := range pods.Items {
		if p.Status.Phase != corev1.PodRunning || p.DeletionTimestamp != nil {
			continue
		}
		out = append(out, Agent{Node: p.Spec.NodeName, namespace: namespace, pod: p.Name, port: metricsPort(p)})
	}
	slices.SortFunc(out, func(a, b Agent) int { return strings.Compare(a.Node, b.Node) })
	return out, nil
}

// metricsPort returns where a pod of ours serves what it says of itself.
func metricsPort(p corev1.Pod) int32 {
	for _, c := range p.Spec.Containers {
		for _, port := range c.Ports {
			if port.Name == "metrics" {
				return port.ContainerPort
			}
		}
	}
	return 7472
}

// Report returns what an agent says: the API server asks it, so that it need not
// be in reach.
func (c *Client) Report(ctx context.Context, a Agent) (status.Report, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var r status.Report
	page, err := c.core.Get().Namespace(a.namespace).Resource("pods").Name(a.pod + ":" + strconv.Itoa(int(a.port))).
		SubResource("proxy").Suffix("status").DoRaw(ctx)
	if err == nil {
		err = json.Unmarshal(page, &r)
	}
	if err != nil {
		return r, fmt.Errorf("agent of %s: %w", a.Node, err)
	}
	return r, nil
}
