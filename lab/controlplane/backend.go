// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/heraldlb/herald/lab/process"
)

// backendsLabel names the set of backends that a Pod is one of.
const backendsLabel = "backends"

// BackendSelector selects the Pods that SetBackends makes under a name.
func BackendSelector(name string) map[string]string {
	return map[string]string{backendsLabel: name}
}

// A BackendPod is a Pod as the kubelet of its node would report it. It is the
// same Pod for as long as its node and its first address are.
type BackendPod struct {
	Node        string       // required: the name of a Node that exists
	IPs         []netip.Addr // required: at most one a family
	Ready       bool         // it may get traffic
	Terminating bool         // it is being deleted, and still runs
}

// name returns the name of the Pod in a set of backends.
func (b BackendPod) name(set string) string {
	ip := strings.NewReplacer(".", "-", ":", "-").Replace(b.IPs[0].StringExpanded())
	return set + "-" + b.Node + "-" + ip
}

// SetBackends makes the Pods of a named set be exactly these, with
// [BackendSelector] and the given labels, which may be nil. EndpointSlices
// follow by the controller's work: see [Cluster.WaitEndpoints].
func (c *Cluster) SetBackends(ctx context.Context, namespace, name string, podLabels map[string]string, want []BackendPod) error {
	if err := c.setBackends(ctx, namespace, name, podLabels, want); err != nil {
		return fmt.Errorf("set backends %s/%s: %w", namespace, name, err)
	}
	return nil
}

func (c *Cluster) setBackends(ctx context.Context, namespace, name string, podLabels map[string]string, want []BackendPod) error {
	list, err := c.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{
		LabelSelector: labels.SelectorFromSet(BackendSelector(name)).String(),
	})
	if err != nil {
		return err
	}
	have := make(map[string]*corev1.Pod)
	for i := range list.Items {
		have[list.Items[i].Name] = &list.Items[i]
	}
	all := BackendSelector(name)
	maps.Copy(all, podLabels)
	for _, b := range want {
		pod := have[b.name(name)]
		delete(have, b.name(name))
		if err := c.setBackend(ctx, pod, newPod(namespace, name, all, b), b); err != nil {
			return fmt.Errorf("pod %s: %w", b.name(name), err)
		}
	}
	for _, pod := range have {
		if err := c.deletePod(ctx, pod, 0); err != nil {
			return err
		}
	}
	return nil
}

// setBackend turns the Pod that there is, which may be nil, into the wanted one.
func (c *Cluster) setBackend(ctx context.Context, have, want *corev1.Pod, b BackendPod) error {
	pods := c.client.CoreV1().Pods(want.Namespace)
	if have != nil && have.DeletionTimestamp != nil && !b.Terminating {
		// What is being deleted stays so; only another Pod can take its place.
		if err := c.deletePod(ctx, have, 0); err != nil {
			return err
		}
		have = nil
	}
	var err error
	switch {
	case have == nil:
		have, err = pods.Create(ctx, want, metav1.CreateOptions{})
	case !maps.Equal(have.Labels, want.Labels):
		have.Labels = want.Labels
		have, err = pods.Update(ctx, have, metav1.UpdateOptions{})
	}
	if err != nil {
		return err
	}
	have.Status = want.Status
	if have, err = pods.UpdateStatus(ctx, have, metav1.UpdateOptions{}); err != nil {
		return err
	}
	if b.Terminating && have.DeletionTimestamp == nil {
		return c.deletePod(ctx, have, time.Hour)
	}
	return nil
}

func (c *Cluster) deletePod(ctx context.Context, pod *corev1.Pod, grace time.Duration) error {
	seconds := int64(grace.Seconds())
	return c.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &seconds})
}

// newPod returns a Pod as its kubelet would have it.
func newPod(namespace, set string, podLabels map[string]string, b BackendPod) *corev1.Pod {
	ready := corev1.ConditionFalse
	if b.Ready {
		ready = corev1.ConditionTrue
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: b.name(set), Labels: podLabels},
		Spec: corev1.PodSpec{
			NodeName:   b.Node,
			Containers: []corev1.Container{{Name: "backend", Image: "backend"}},
		},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning,
			PodIP: b.IPs[0].String(),
			Conditions: []corev1.PodCondition{
				{Type: corev1.PodReady, Status: ready},
				{Type: corev1.ContainersReady, Status: ready},
			},
		},
	}
	for _, ip := range b.IPs {
		pod.Status.PodIPs = append(pod.Status.PodIPs, corev1.PodIP{IP: ip.String()})
	}
	return pod
}

// WaitEndpoints waits until the endpoints of a Service that are ready have
// exactly these addresses.
func (c *Cluster) WaitEndpoints(ctx context.Context, namespace, service string, want ...netip.Addr) error {
	ctx, cancel := context.WithTimeout(ctx, waitTimeout)
	defer cancel()
	want = slices.SortedFunc(slices.Values(want), netip.Addr.Compare)
	err := process.Poll(ctx, pollInterval, func() error {
		got, err := c.readyEndpoints(ctx, namespace, service)
		if err == nil && !slices.Equal(got, want) {
			err = fmt.Errorf("have %v, want %v", got, want)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("wait for endpoints of %s/%s: %w", namespace, service, err)
	}
	return nil
}

// readyEndpoints returns the addresses of a Service's ready endpoints, sorted.
func (c *Cluster) readyEndpoints(ctx context.Context, namespace, service string) ([]netip.Addr, error) {
	selector := labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: service})
	list, err := c.client.DiscoveryV1().EndpointSlices(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector.String()})
	if err != nil {
		return nil, err
	}
	var addrs []netip.Addr
	for _, s := range list.Items {
		for _, e := range s.Endpoints {
			if e.Conditions.Ready == nil || !*e.Conditions.Ready {
				continue
			}
			for _, text := range e.Addresses {
				addr, err := netip.ParseAddr(text)
				if err != nil {
					return nil, fmt.Errorf("EndpointSlice %s: %w", s.Name, err)
				}
				addrs = append(addrs, addr)
			}
		}
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return addrs, nil
}
