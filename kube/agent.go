// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
	pods, err := c.agentPods(ctx, namespace)
	if err != nil {
		return nil, err
	}
	var out []Agent
	for _, p := range pods {
		if !running(p) {
			continue
		}
		out = append(out, Agent{Node: p.Spec.NodeName, namespace: namespace, pod: p.Name, port: metricsPort(p)})
	}
	slices.SortFunc(out, func(a, b Agent) int { return strings.Compare(a.Node, b.Node) })
	return out, nil
}

// agentPods returns the agents' pods, running or not.
func (c *Client) agentPods(ctx context.Context, namespace string) ([]corev1.Pod, error) {
	var pods corev1.PodList
	err := c.core.Get().Namespace(namespace).Resource("pods").
		VersionedParams(&metav1.ListOptions{LabelSelector: agentSelector}, c.parameters).Do(ctx).Into(&pods)
	if err != nil {
		return nil, fmt.Errorf("agents in %s: %w", namespace, err)
	}
	return pods.Items, nil
}

// AbsentAgents returns "NODE: REASON" for each agent's pod in a namespace that does
// not run, in the order of the nodes.
func (c *Client) AbsentAgents(ctx context.Context, namespace string) ([]string, error) {
	pods, err := c.agentPods(ctx, namespace)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, p := range pods {
		if !running(p) {
			out = append(out, cmp.Or(p.Spec.NodeName, "no node")+": "+absence(p))
		}
	}
	slices.Sort(out)
	return out, nil
}

func running(p corev1.Pod) bool {
	return p.Status.Phase == corev1.PodRunning && p.DeletionTimestamp == nil
}

// absence returns why a pod does not run, in the kubelet's or the scheduler's words.
func absence(p corev1.Pod) string {
	if p.DeletionTimestamp != nil {
		return "Terminating"
	}
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		if w := s.State.Waiting; w != nil && w.Reason != "" && w.Reason != "PodInitializing" {
			return strings.TrimSuffix(fmt.Sprintf("%s of container %s: %s", w.Reason, s.Name, w.Message), ": ")
		}
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return fmt.Sprintf("%s: %s", c.Reason, c.Message)
		}
	}
	return cmp.Or(p.Status.Reason, string(p.Status.Phase), "Pending")
}

// metricsPort returns the port where an agent's pod serves metrics and its Report.
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
