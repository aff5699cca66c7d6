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
const agentSelector = labelPodComponent + "=agent"

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

// labelPodComponent is the label of a pod that says whether it is a controller or an agent. The
// container with the program has the same name.
const labelPodComponent = "app.kubernetes.io/component"

// mainContainer returns the container of a pod that has the component's program; nil if it
// cannot be told which that is.
func mainContainer(p corev1.Pod) *corev1.Container {
	all := p.Spec.Containers
	if i := slices.IndexFunc(all, func(c corev1.Container) bool { return c.Name != "" && c.Name == p.Labels[labelPodComponent] }); i >= 0 {
		return &all[i]
	}
	if len(all) == 1 {
		return &all[0]
	}
	return nil
}

func running(p corev1.Pod) bool { return absence(p) == "" }

// absence returns why the program of a pod does not run, in the kubelet's or the scheduler's
// words; empty if it does, as far as is known.
func absence(p corev1.Pod) string {
	if p.DeletionTimestamp != nil {
		return "Terminating"
	}
	if p.Status.Phase == corev1.PodRunning {
		return stopped(p)
	}
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		if text := waiting(s); text != "" {
			return text
		}
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return fmt.Sprintf("%s: %s", c.Reason, c.Message)
		}
	}
	return cmp.Or(p.Status.Reason, string(p.Status.Phase), "Pending")
}

// stopped returns why the program of a pod that runs does not run itself: it crashes, or the
// kubelet of its node does not report any more. The control plane then makes the pod unready
// and leaves the rest as the kubelet wrote it last.
func stopped(p corev1.Pod) string {
	main := mainContainer(p)
	if main == nil {
		return ""
	}
	i := slices.IndexFunc(p.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool { return s.Name == main.Name })
	if i < 0 {
		return ""
	}
	s := p.Status.ContainerStatuses[i]
	switch t := s.State.Terminated; {
	case s.State.Waiting != nil:
		return waiting(s)
	case t != nil:
		return fmt.Sprintf("container %s has ended: %s, exit code %d", s.Name, cmp.Or(t.Reason, "no reason is known"), t.ExitCode)
	}
	if podDown(&p) && !slices.ContainsFunc(p.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool { return !s.Ready }) {
		return "the kubelet of its node does not report: the node is off, or cut off"
	}
	return ""
}

// unready returns why a pod that runs is not ready; empty if it is.
func unready(p corev1.Pod) string {
	if !podDown(&p) {
		return ""
	}
	for _, s := range p.Status.ContainerStatuses {
		switch {
		case s.State.Waiting != nil:
			return waiting(s)
		case !s.Ready:
			return "container " + s.Name + " is not ready"
		}
	}
	return "not ready"
}

// waiting returns why a container waits; empty if it only waits for others.
func waiting(s corev1.ContainerStatus) string {
	w := s.State.Waiting
	if w == nil || w.Reason == "" || w.Reason == "PodInitializing" {
		return ""
	}
	return strings.TrimSuffix(fmt.Sprintf("%s of container %s: %s", w.Reason, s.Name, w.Message), ": ")
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
