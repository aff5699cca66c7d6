// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/watch"
)

// BackendPort is the TCP port that Services lead to unless their options say otherwise.
const BackendPort = 8080

// waitTimeout bounds each wait for what a controller is to do.
const waitTimeout = time.Minute

// ServiceOptions describes a Service of type LoadBalancer.
type ServiceOptions struct {
	Namespace string // required
	Name      string // required

	Backends     string                // optional: which SetBackends to select; empty means those of the Service's name
	Labels       map[string]string     // optional
	Annotations  map[string]string     // optional
	Ports        []corev1.ServicePort  // optional: empty means TCP 80, to BackendPort
	Families     []corev1.IPFamily     // optional: empty means the cluster's first
	FamilyPolicy corev1.IPFamilyPolicy // optional: empty means SingleStack
	Local        bool                  // optional: externalTrafficPolicy Local
	Class        string                // optional: spec.loadBalancerClass
	Address      string                // optional: spec.loadBalancerIP
	NoNodePorts  bool                  // optional: allocateLoadBalancerNodePorts false
}

// CreateService creates a Service of type LoadBalancer. What the options cannot
// say, a test says by [Cluster.Client].
func (c *Cluster) CreateService(ctx context.Context, opts ServiceOptions) (*corev1.Service, error) {
	svc, err := c.client.CoreV1().Services(opts.Namespace).Create(ctx, opts.service(), metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("create Service %s/%s: %w", opts.Namespace, opts.Name, err)
	}
	return svc, nil
}

func (o ServiceOptions) service() *corev1.Service {
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:   o.Namespace,
			Name:        o.Name,
			Labels:      o.Labels,
			Annotations: o.Annotations,
		},
		Spec: corev1.ServiceSpec{
			Type:           corev1.ServiceTypeLoadBalancer,
			Selector:       BackendSelector(cmp.Or(o.Backends, o.Name)),
			Ports:          o.Ports,
			IPFamilies:     o.Families,
			LoadBalancerIP: o.Address,
		},
	}
	if len(o.Ports) == 0 {
		svc.Spec.Ports = []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(BackendPort)}}
	}
	if o.FamilyPolicy != "" {
		svc.Spec.IPFamilyPolicy = &o.FamilyPolicy
	}
	if o.Local {
		svc.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	}
	if o.Class != "" {
		svc.Spec.LoadBalancerClass = &o.Class
	}
	if o.NoNodePorts {
		svc.Spec.AllocateLoadBalancerNodePorts = new(false)
	}
	return svc
}

// Services returns the names of a namespace's Services, sorted.
func (c *Cluster) Services(ctx context.Context, namespace string) ([]string, error) {
	list, err := c.client.CoreV1().Services(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list Services of %s: %w", namespace, err)
	}
	var names []string
	for _, svc := range list.Items {
		names = append(names, svc.Name)
	}
	slices.Sort(names)
	return names, nil
}

// DeleteService deletes a Service. One that does not exist is fine.
func (c *Cluster) DeleteService(ctx context.Context, namespace, name string) error {
	err := c.client.CoreV1().Services(namespace).Delete(ctx, name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete Service %s/%s: %w", namespace, name, err)
	}
	return nil
}

// WaitService waits until a Service exists and satisfies the condition. It
// watches, so that it returns within about a millisecond of the change, and it
// watches again when the API server was restarted.
func (c *Cluster) WaitService(ctx context.Context, namespace, name string, condition func(*corev1.Service) bool) (*corev1.Service, error) {
	ctx, cancel := context.WithTimeout(ctx, waitTimeout)
	defer cancel()
	for {
		svc, err := c.watchService(ctx, namespace, name, condition)
		if svc != nil {
			return svc, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for Service %s/%s: %w", namespace, name, cmp.Or(err, ctx.Err()))
		case <-time.After(pollInterval):
		}
	}
}

// watchService is one watch of WaitService. It returns nil if that ends first.
func (c *Cluster) watchService(ctx context.Context, namespace, name string, condition func(*corev1.Service) bool) (*corev1.Service, error) {
	// Without a resource version a watch begins with the object as it is.
	w, err := c.client.CoreV1().Services(namespace).Watch(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, name).String(),
	})
	if err != nil {
		return nil, err
	}
	defer w.Stop()
	for event := range w.ResultChan() {
		switch event.Type {
		case watch.Added, watch.Modified:
			if svc := event.Object.(*corev1.Service); condition(svc) {
				return svc, nil
			}
		case watch.Error:
			return nil, apierrors.FromObject(event.Object)
		}
	}
	return nil, nil
}

// WaitAddress waits until a Service has addresses, and returns them.
func (c *Cluster) WaitAddress(ctx context.Context, namespace, name string) ([]netip.Addr, error) {
	svc, err := c.WaitService(ctx, namespace, name, func(svc *corev1.Service) bool {
		return len(svc.Status.LoadBalancer.Ingress) > 0
	})
	if err != nil {
		return nil, err
	}
	var addrs []netip.Addr
	for _, ingress := range svc.Status.LoadBalancer.Ingress {
		addr, err := netip.ParseAddr(ingress.IP)
		if err != nil {
			return nil, fmt.Errorf("status of Service %s/%s: %w", namespace, name, err)
		}
		addrs = append(addrs, addr)
	}
	return addrs, nil
}
