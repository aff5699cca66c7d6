// SPDX-License-Identifier: Apache-2.0

package assign_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"unicode"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/alloc"
	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/excerpt"
	"github.com/heraldlb/herald/kube/object"
)

// huge is as much text as the API server takes in annotations.
const huge = 250_000

// hostileTexts are what a tenant may write into a field.
var hostileTexts = map[string]string{
	"addresses": strings.Repeat("10.0.0.1,", huge/9),
	"commas":    strings.Repeat(",", huge),
	"controls":  strings.Repeat("\x01", huge),
	"escapes":   strings.Repeat("\x1b[2J\r\n", huge/6),
	"letters":   strings.Repeat("k", huge),
	"short":     "\x1b[31mpool\nkey",
}

// hostileServices returns a Service for each field that Herald reads and each text. The
// suffix makes their names and those of others differ.
func hostileServices(suffix string) map[string]*corev1.Service {
	out := map[string]*corev1.Service{}
	add := func(name string, change func(*corev1.Service)) {
		svc := &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "evil", Name: fmt.Sprintf("s%d%s", len(out), suffix), Annotations: map[string]string{}, Labels: map[string]string{}},
			Spec: corev1.ServiceSpec{
				Type: corev1.ServiceTypeLoadBalancer, ClusterIPs: []string{"10.96.0.1"},
				Ports: []corev1.ServicePort{{Port: 80}}, Selector: map[string]string{"app": "x"},
			},
		}
		change(svc)
		out[name] = svc
	}
	for kind, text := range hostileTexts {
		for _, key := range []string{
			config.AnnotationAddrs, config.AnnotationAddrsFormerly, config.AnnotationAddressPool, config.AnnotationAddressPoolFormerly,
			config.AnnotationSharing, config.AnnotationSharingFormerly, config.AnnotationShareWith, config.AnnotationAllocatedFrom, "heraldlb.io/unknown",
		} {
			add(key+" "+kind, func(svc *corev1.Service) { svc.Annotations[key] = text })
		}
		add("loadBalancerIP "+kind, func(svc *corev1.Service) { svc.Spec.LoadBalancerIP = text })
		add("ingress "+kind, func(svc *corev1.Service) {
			svc.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: text}, {Hostname: text}}
		})
		add("condition "+kind, func(svc *corev1.Service) {
			svc.Status.Conditions = []metav1.Condition{{Type: assign.ConditionAddressAssigned, Status: "False", Reason: text, Message: text}}
		})
		add("selector "+kind, func(svc *corev1.Service) {
			svc.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
			svc.Spec.Selector = map[string]string{"app": text}
			svc.Annotations[config.AnnotationSharing] = "k"
		})
	}
	add("ports", func(svc *corev1.Service) {
		svc.Annotations[config.AnnotationSharing] = "k"
		svc.Annotations[config.AnnotationAddrs] = "10.0.0.0"
		for n := range 12_000 {
			svc.Spec.Ports = append(svc.Spec.Ports, corev1.ServicePort{Port: int32(n*5 + 3)})
		}
	})
	add("many ingress", func(svc *corev1.Service) {
		for n := range 20_000 {
			svc.Status.LoadBalancer.Ingress = append(svc.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: fmt.Sprintf("10.1.%d.%d", n/250, n%250)})
		}
	})
	add("many labels", func(svc *corev1.Service) {
		for n := range 10_000 {
			svc.Labels[fmt.Sprintf("k%d", n)] = "v"
			svc.Annotations[fmt.Sprintf("heraldlb.io/%d", n)] = "v"
		}
	})
	return out
}

// hostilePools has a pool with the Service good/web in it.
func hostilePools(tb testing.TB) cluster.Snapshot {
	tb.Helper()
	r, err := config.ParseRange("10.0.0.0/16")
	if err != nil {
		tb.Fatal(err)
	}
	return cluster.Snapshot{Config: &config.Config{Pools: []config.Pool{{Name: "big", AutoAssign: true, Addresses: []config.Range{r}}}}}
}

// TestHostileServices wants every message about a Service short and printable, whatever
// it contains, and a pass over it to cost what one over any Service costs: it reads the
// Service no more once that was decoded.
func TestHostileServices(t *testing.T) {
	for name, written := range hostileServices("") {
		t.Run(name, func(t *testing.T) {
			svc := object.FromService(written)
			s := hostilePools(t)
			s.Services = []*cluster.Service{svc}
			a := alloc.New(nil)
			check := func(what, text string) {
				t.Helper()
				if len(text) > excerpt.MaxMessage || strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) >= 0 {
					t.Errorf("%s has %d bytes, or characters that do not print: %.300q", what, len(text), text)
				}
			}
			for range 2 {
				for _, u := range assign.Assign(s, a, assign.Options{}).Updates {
					if u.Condition != nil {
						check("the condition", u.Condition.Message)
						check("the reason", string(u.Condition.Reason))
					}
					for _, e := range u.Events {
						check("the event "+e.Reason, excerpt.Message(e.Message))
						if len(e.Message) > 2*excerpt.MaxMessage {
							t.Errorf("the event %s has %d bytes", e.Reason, len(e.Message))
						}
					}
					s.Services = []*cluster.Service{writtenOf(u)}
				}
			}
			again := assign.Assign(s, a, assign.Options{})
			if len(again.Updates) > 0 {
				t.Errorf("a second look has something to write: %+v", again.Updates[0])
			}
			if n := testing.AllocsPerRun(5, func() { assign.Assign(s, a, assign.Options{}) }); n > 40 {
				t.Errorf("a pass makes %v allocations", n)
			}
			if n := size(s.Services[0]); n > 20_000 {
				t.Errorf("%d bytes of the Service's texts are kept", n)
			}
		})
	}
}

// What is wrong with each of many pools makes one message of bounded size.
func TestManyPools(t *testing.T) {
	s := hostilePools(t)
	s.Config.Pools = nil
	for i := range 100 {
		s.Config.Pools = append(s.Config.Pools, config.Pool{Name: fmt.Sprintf("%03d-%s", i, strings.Repeat("long", 60)), AutoAssign: true})
	}
	s.Services = []*cluster.Service{{Key: cluster.Key{Namespace: "shop", Name: "web"}, LoadBalancer: true, ClusterIPs: []netip.Addr{netip.MustParseAddr("10.96.0.1")}}}
	updates := assign.Assign(s, alloc.New(nil), assign.Options{}).Updates
	if len(updates) != 1 || updates[0].Condition == nil {
		t.Fatalf("got %+v", updates)
	}
	if m := updates[0].Condition.Message; len(m) > excerpt.MaxMessage || len(m) < excerpt.MaxMessage-20 {
		t.Errorf("a message of %d bytes: %s", len(m), m)
	}
}

// size returns the bytes of the texts that passes read of a Service.
func size(svc *cluster.Service) int {
	n := len(svc.LoadBalancerIP) + len(svc.Selector) + len(svc.Wish.Pool) + len(svc.Wish.SharingKey) + len(svc.Wish.Invalid) + len(svc.Unknown)
	for v := range maps.Values(svc.Annotations) {
		n += len(v)
	}
	for _, v := range slices.Concat(svc.Ingress, svc.Wish.ShareWith) {
		n += len(v)
	}
	for _, c := range svc.Conditions {
		n += len(c.Message) + len(c.Reason)
	}
	return n
}

// writtenOf returns the Service of u as the API server has it then.
func writtenOf(u assign.Update) *cluster.Service {
	if u.Service.Annotations == nil {
		svc := *u.Service
		svc.Annotations = map[string]string{}
		u.Service = &svc
	}
	return written(u)
}

// BenchmarkHostile measures a pass over 1,000 Services of which 500 are hostile: one op is
// one pass in which nothing is to be done.
func BenchmarkHostile(b *testing.B) {
	s := hostilePools(b)
	for i := range 500 {
		svc := &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: fmt.Sprintf("web-%03d", i)},
			Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, ClusterIPs: []string{"10.96.0.1"}, Ports: []corev1.ServicePort{{Port: 80}}},
		}
		s.Services = append(s.Services, object.FromService(svc))
	}
	for n := 0; len(s.Services) < 1000; n++ {
		for _, svc := range hostileServices(fmt.Sprintf("-%d", n)) {
			if len(s.Services) < 1000 {
				s.Services = append(s.Services, object.FromService(svc))
			}
		}
	}
	benchHostile(b, s)
}

// BenchmarkHostilePorts is BenchmarkHostile with Services of 12,000 ports each that share
// addresses, or wait for one that others have.
func BenchmarkHostilePorts(b *testing.B) {
	s := hostilePools(b)
	for i := range 1000 {
		svc := &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: fmt.Sprintf("web-%04d", i), Annotations: map[string]string{}},
			Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, ClusterIPs: []string{"10.96.0.1"}, Ports: []corev1.ServicePort{{Port: 80}}},
		}
		if i%2 == 1 {
			svc.Namespace = "evil"
			svc.Annotations[config.AnnotationSharing] = "k"
			if i%4 == 1 {
				svc.Annotations[config.AnnotationAddrs] = "10.0.0.0"
			}
			svc.Spec.Ports = nil
			for n := range 12_000 {
				svc.Spec.Ports = append(svc.Spec.Ports, corev1.ServicePort{Port: int32(n*5 + 1 + i%3)})
			}
		}
		s.Services = append(s.Services, object.FromService(svc))
	}
	benchHostile(b, s)
}

// benchHostile measures passes over Services once nothing is to be done.
func benchHostile(b *testing.B, s cluster.Snapshot) {
	slices.SortFunc(s.Services, func(x, y *cluster.Service) int { return x.Key.Compare(y.Key) })
	a := alloc.New(nil)
	for range 3 {
		for _, u := range assign.Assign(s, a, assign.Options{}).Updates {
			i := slices.Index(s.Services, u.Service)
			s.Services[i] = writtenOf(u)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if p := assign.Assign(s, a, assign.Options{}); len(p.Updates) > 0 {
			b.Fatalf("%d updates: %+v", len(p.Updates), p.Updates[0])
		}
	}
}

// TestHostileNeighbor wants the Service of another tenant to get its address beside them.
func TestHostileNeighbor(t *testing.T) {
	s := hostilePools(t)
	for _, svc := range hostileServices("") {
		s.Services = append(s.Services, object.FromService(svc))
	}
	web := object.FromService(&corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, ClusterIPs: []string{"10.96.0.1"}, LoadBalancerIP: "10.0.9.9"},
	})
	s.Services = append(s.Services, web)
	slices.SortFunc(s.Services, func(x, y *cluster.Service) int { return x.Key.Compare(y.Key) })
	for _, u := range assign.Assign(s, alloc.New(nil), assign.Options{}).Updates {
		if u.Service == web && slices.Equal(u.Ingress, []netip.Addr{netip.MustParseAddr("10.0.9.9")}) {
			return
		}
	}
	t.Error("shop/web has no address")
}
