// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/uuid"

	"github.com/heraldlb/herald/lab/controlplane"
)

const (
	// writers is how many requests to the API server are under way at once when Services
	// are made or deleted: enough to keep two cores busy.
	writers = 8

	// storeRate is how many Services appear in a second that are written into etcd. The
	// API server ends the watches of readers that do not keep up.
	storeRate = 500

	// managedBy is who the API server is told serves the Services, and makes their
	// EndpointSlices.
	managedBy = "herald-bench"

	// massLabel of an EndpointSlice is the prefix of the mass that it belongs to.
	massLabel = "mass"
)

// firstClusterIP is the ClusterIP of the first Service that is written into etcd. The API
// server allocates others from the lower part of the range first.
var firstClusterIP = netip.MustParseAddr("10.104.0.1")

// A mass is many Services that come and go together.
type mass struct {
	prefix string // of their names
	size   int
	stored bool // they are written into etcd, and not to the API server
}

func (m mass) name(i int) string { return fmt.Sprintf("%s-%05d", m.prefix, i) }

// massService is a Service of a mass. No kube-proxy and no endpoint controller does
// anything for it: on a machine that runs all of them they would be most of the load.
func massService(namespace, name string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name,
			Labels: map[string]string{"service.kubernetes.io/service-proxy-name": managedBy},
		},
		Spec: corev1.ServiceSpec{
			Type:                          corev1.ServiceTypeLoadBalancer,
			AllocateLoadBalancerNodePorts: new(false),
			Ports:                         []corev1.ServicePort{{Port: 80, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromInt32(controlplane.BackendPort)}},
		},
	}
}

// massSlice has the endpoints of such a Service: on two of the nodes, which are others
// after each move.
func (b *bench) massSlice(name string, move int) *discoveryv1.EndpointSlice {
	prefix, _, _ := strings.Cut(name, "-")
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: b.opts.Namespace, Name: name,
			Labels: map[string]string{discoveryv1.LabelServiceName: name, discoveryv1.LabelManagedBy: managedBy, massLabel: prefix},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: new(""), Protocol: new(corev1.ProtocolTCP), Port: new(int32(controlplane.BackendPort))}},
	}
	for i := range min(2, len(b.Nodes)) {
		n := b.Nodes[(move+i)%len(b.Nodes)]
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{n.Pod4.String()}, NodeName: &n.Name, Conditions: discoveryv1.EndpointConditions{Ready: new(true)},
		})
	}
	return s
}

// storedObjects are what the API server stores for the i-th Service of a mass.
func (b *bench) storedObjects(m mass, i int) []runtime.Object {
	name := m.name(i)
	n := firstClusterIP.As4()
	n[1], n[2], n[3] = n[1]+byte(i>>16), byte(i>>8), byte(i)
	ip := netip.AddrFrom4(n).String()
	meta := func(o *metav1.ObjectMeta) {
		o.UID, o.CreationTimestamp, o.Generation = uuid.NewUUID(), metav1.Now(), 1
	}
	svc, slice := massService(b.opts.Namespace, name), b.massSlice(name, 0)
	meta(&svc.ObjectMeta)
	meta(&slice.ObjectMeta)
	svc.Spec.ClusterIP, svc.Spec.ClusterIPs = ip, []string{ip}
	svc.Spec.IPFamilies, svc.Spec.IPFamilyPolicy = []corev1.IPFamily{corev1.IPv4Protocol}, new(corev1.IPFamilyPolicySingleStack)
	svc.Spec.SessionAffinity, svc.Spec.InternalTrafficPolicy = corev1.ServiceAffinityNone, new(corev1.ServiceInternalTrafficPolicyCluster)
	svc.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyCluster
	address := &networkingv1.IPAddress{
		ObjectMeta: metav1.ObjectMeta{Name: ip, Labels: map[string]string{
			networkingv1.LabelIPAddressFamily: string(corev1.IPv4Protocol), networkingv1.LabelManagedBy: "ipallocator.k8s.io",
		}},
		Spec: networkingv1.IPAddressSpec{ParentRef: &networkingv1.ParentReference{Resource: "services", Namespace: b.opts.Namespace, Name: name}},
	}
	meta(&address.ObjectMeta)
	return []runtime.Object{address, slice, svc}
}

// make makes the Services of a mass. It returns when the request for each was sent.
func (b *bench) make(ctx context.Context, m mass) ([]time.Time, error) {
	at := make([]time.Time, m.size)
	if m.stored {
		return at, b.batches(ctx, m, at, b.Cluster.Store)
	}
	return at, each(ctx, m, func(ctx context.Context, i int) error {
		at[i] = time.Now()
		return b.createMass(ctx, m.name(i))
	})
}

// unmake deletes the Services of a mass.
func (b *bench) unmake(ctx context.Context, m mass) error {
	if m.stored {
		return b.batches(ctx, m, make([]time.Time, m.size), b.Cluster.Unstore)
	}
	return each(ctx, m, func(ctx context.Context, i int) error { return b.deleteService(ctx, m.name(i)) })
}

// batches has a mass written into etcd, or deleted there, some Services at a time. It
// takes down when.
func (b *bench) batches(ctx context.Context, m mass, at []time.Time, write func(context.Context, ...runtime.Object) error) error {
	const batch = storeRate / 20
	next := 0
	ctx, done := context.WithCancel(ctx)
	defer done()
	return paced(ctx, storeRate/batch, func(ctx context.Context) error {
		var objs []runtime.Object
		for range min(batch, m.size-next) {
			objs = append(objs, b.storedObjects(m, next)...)
			at[next] = time.Now()
			next++
		}
		if next == m.size {
			done()
		}
		return write(ctx, objs...)
	})
}

// each calls a function for all Services of a mass, several at a time.
func each(ctx context.Context, m mass, f func(ctx context.Context, i int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(writers)
	for i := range m.size {
		g.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return f(ctx, i)
		})
	}
	return g.Wait()
}

// createMass makes a Service of a mass, with its endpoints, by the API server.
func (b *bench) createMass(ctx context.Context, name string) error {
	slices := b.client.DiscoveryV1().EndpointSlices(b.opts.Namespace)
	if _, err := slices.Create(ctx, b.massSlice(name, 0), metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create EndpointSlice %s: %w", name, err)
	}
	_, err := b.client.CoreV1().Services(b.opts.Namespace).Create(ctx, massService(b.opts.Namespace, name), metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create Service %s: %w", name, err)
	}
	return nil
}

// deleteService deletes a Service by the API server.
func (b *bench) deleteService(ctx context.Context, name string) error {
	err := b.client.CoreV1().Services(b.opts.Namespace).Delete(ctx, name, metav1.DeleteOptions{})
	if err != nil {
		return fmt.Errorf("delete Service %s: %w", name, err)
	}
	return nil
}

// deleteSlices deletes the endpoints of all Services of a mass.
func (b *bench) deleteSlices(ctx context.Context, prefix string) error {
	err := b.client.DiscoveryV1().EndpointSlices(b.opts.Namespace).DeleteCollection(ctx, metav1.DeleteOptions{},
		metav1.ListOptions{LabelSelector: massLabel + "=" + prefix})
	if err != nil {
		return fmt.Errorf("delete EndpointSlices: %w", err)
	}
	return nil
}
