// SPDX-License-Identifier: Apache-2.0

package reconcile_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/excerpt"
	"github.com/heraldlb/herald/handover"
	"github.com/heraldlb/herald/kube/object"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/render"
	"github.com/heraldlb/herald/source"
)

const agentConfig = `
peers: [{peer-address: 192.0.2.254, peer-asn: 64513, my-asn: 64512}]
address-pools:
- {name: routed, protocol: bgp, addresses: [10.0.0.0/16]}
- {name: lan, protocol: layer2, addresses: [10.1.0.0/16]}
`

// agentTexts are what somebody may write into a field, as long as the API server takes
// it.
var agentTexts = map[string]string{
	"controls": strings.Repeat("\x01\n", 100_000),
	"escapes":  strings.Repeat("\x1b[2J\r\n", 30_000),
	"letters":  strings.Repeat("k", 250_000),
	"frr":      "10.0.0.1/32\n exit\nrouter bgp 1\n",
}

// hostileClusters returns what an agent sees with one more object than in friendly, by
// what is odd about it.
func hostileClusters() map[string]cluster.Snapshot {
	out := map[string]cluster.Snapshot{}
	service := func(name string, change func(*corev1.Service)) {
		svc := &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "evil", Name: "svc", Annotations: map[string]string{}, Labels: map[string]string{}},
			Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, ClusterIPs: []string{"10.96.0.1"}, Ports: []corev1.ServicePort{{Port: 80}}},
			Status:     corev1.ServiceStatus{LoadBalancer: corev1.LoadBalancerStatus{Ingress: []corev1.LoadBalancerIngress{{IP: "10.0.0.9"}, {IP: "10.1.0.9"}}}},
		}
		change(svc)
		s := friendly()
		s.Services = append(s.Services, object.FromService(svc))
		s.Endpoints[cluster.Key{Namespace: "evil", Name: "svc"}] = s.Endpoints[s.Services[0].Key]
		slices.SortFunc(s.Services, func(x, y *cluster.Service) int { return x.Key.Compare(y.Key) })
		out["service: "+name] = s
	}
	node := func(name string, change func(*corev1.Node)) {
		for _, which := range []string{"n1", "n2"} { // the agent's, and another
			n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: which, Annotations: map[string]string{}, Labels: map[string]string{}}}
			n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2." + which[1:]}}
			change(n)
			s := friendly()
			s.Nodes = slices.Clone(s.Nodes)
			i := slices.IndexFunc(s.Nodes, func(n *cluster.Node) bool { return n.Name == which })
			s.Nodes[i] = object.FromNode(n)
			out["node "+which+": "+name] = s
		}
	}
	for kind, text := range agentTexts {
		service("ingress "+kind, func(svc *corev1.Service) {
			part := text[:min(len(text), 10_000)] // 100 times that is what an object may have
			for i := range 50 {
				svc.Status.LoadBalancer.Ingress = append(svc.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: fmt.Sprint(i) + part}, corev1.LoadBalancerIngress{Hostname: fmt.Sprint(i) + part})
			}
		})
		service("annotations "+kind, func(svc *corev1.Service) {
			for _, key := range []string{config.AnnotationAddrs, config.AnnotationSharing, config.AnnotationShareWith, "heraldlb.io/unknown"} {
				svc.Annotations[key] = text
			}
		})
		service("condition "+kind, func(svc *corev1.Service) {
			svc.Status.Conditions = []metav1.Condition{{Type: cluster.OwnPrefix + "Announced", Status: "False", Reason: text, Message: text}}
		})
		node("annotations "+kind, func(n *corev1.Node) {
			n.Annotations[cluster.AnnotationDrain] = text
			n.Annotations["heraldlb.io/unknown"] = text
		})
		node("addresses "+kind, func(n *corev1.Node) {
			n.Status.Addresses = append(n.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: text})
			n.Spec.PodCIDRs = []string{text}
		})
	}
	service("many addresses", func(svc *corev1.Service) {
		for n := range 10_000 {
			svc.Status.LoadBalancer.Ingress = append(svc.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: fmt.Sprintf("10.%d.%d.%d", n%2, n/250, n%250)})
		}
	})
	service("many labels", func(svc *corev1.Service) {
		for n := range 10_000 {
			svc.Labels[fmt.Sprintf("k%d", n)], svc.Annotations[fmt.Sprintf("heraldlb.io/%d", n)] = "v", "v"
		}
	})
	node("many labels", func(n *corev1.Node) {
		for i := range 10_000 {
			n.Labels[fmt.Sprintf("k%d", i)], n.Annotations[fmt.Sprintf("heraldlb.io/%d", i)] = "v", "v"
		}
	})
	node("many addresses", func(n *corev1.Node) {
		for i := range 20_000 {
			n.Status.Addresses = append(n.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: fmt.Sprintf("172.16.%d.%d", i/250, i%250)})
			n.Spec.PodCIDRs = append(n.Spec.PodCIDRs, fmt.Sprintf("172.17.%d.%d/32", i/250, i%250))
		}
	})
	s := friendly()
	s.Endpoints[s.Services[0].Key] = object.MergeEndpoints(s.Endpoints[s.Services[0].Key], manyEndpoints())
	out["endpoints on nodes that nobody has"] = s
	return out
}

// manyEndpoints are those of slices of the largest size, each on another node.
func manyEndpoints() []cluster.Endpoint {
	var all [][]cluster.Endpoint
	for n := range 20 {
		slice := &discoveryv1.EndpointSlice{AddressType: discoveryv1.AddressTypeIPv4}
		slice.Labels = map[string]string{discoveryv1.LabelServiceName: "web"}
		for i := range 1000 {
			slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{NodeName: new(fmt.Sprintf("%d-%d-%s", n, i, strings.Repeat("x", 200)))})
		}
		_, usable := object.FromEndpointSlice(slice)
		all = append(all, usable)
	}
	return object.MergeEndpoints(all...)
}

// friendly is a cluster with one Service for each protocol, and endpoints on all nodes.
func friendly() cluster.Snapshot {
	s := cluster.Snapshot{Endpoints: map[cluster.Key][]cluster.Endpoint{}}
	for i := range 3 {
		s.Nodes = append(s.Nodes, &cluster.Node{Name: fmt.Sprintf("n%d", i+1), Addrs: []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)})}})
	}
	for name, addr := range map[string]string{"lan": "10.1.0.1", "web": "10.0.0.1"} {
		key := cluster.Key{Namespace: "shop", Name: name}
		s.Services = append(s.Services, &cluster.Service{Key: key, LoadBalancer: true, Ingress: []string{addr}})
		s.Endpoints[key] = []cluster.Endpoint{{Node: "n1"}, {Node: "n2"}, {Node: "n3"}}
	}
	slices.SortFunc(s.Services, func(x, y *cluster.Service) int { return x.Key.Compare(y.Key) })
	return s
}

// A said is what an agent said of a cluster.
type said struct {
	report string
	conf   []byte
	events []string
	log    string
}

// hear runs an agent in a cluster and returns what it says.
func hear(t *testing.T, s cluster.Snapshot) (out said) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		worker := reconcile.NewWorker()
		w := &scene{wake: worker.Wake, synced: true, snapshot: s, doc: &source.Document{Source: "configmap x", Text: []byte(agentConfig)}}
		var mu sync.Mutex
		var log bytes.Buffer
		event := func(e cluster.Event) {
			mu.Lock()
			defer mu.Unlock()
			out.events = append(out.events, e.Message)
		}
		a := reconcile.NewAgent(reconcile.AgentOptions{
			Node: "n1", Worker: worker, Cluster: w, Documents: w, FRR: router{w}, Routers: routers{w}, Reporter: reporter{w},
			Layer2: lane{&street{router: router{w}}}, Events: func(_ *cluster.Service, e cluster.Event) { event(e) }, NodeEvents: event,
			Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- a.Run(ctx) }()
		for range 3 {
			settle()
			w.wake()
		}
		settle()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		b, err := json.Marshal(w.report)
		if err != nil {
			t.Fatal(err)
		}
		out.report, out.conf, out.log = string(b), w.conf, log.String()
	})
	return out
}

// TestAgentHostileObjects wants what one object contains to change neither the size of
// what an agent says about it, nor the cost of its passes, nor what it says of others.
func TestAgentHostileObjects(t *testing.T) {
	base := hear(t, friendly())
	if len(base.conf) == 0 || !strings.Contains(base.report, `"shop/web"`) {
		t.Fatalf("the agent says %+v", base)
	}
	cost := passCost(t, friendly())
	for name, s := range hostileClusters() {
		t.Run(name, func(t *testing.T) {
			got := hear(t, s)
			short := func(what, text string, limit int) {
				t.Helper()
				if len(text) > limit || strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) >= 0 {
					t.Errorf("%s has %d bytes, or characters that do not print: %.300q", what, len(text), text)
				}
			}
			short("the report", got.report, len(base.report)+32<<10)
			for _, e := range got.events {
				short("an event", excerpt.Message(e), excerpt.MaxMessage)
				short("an event in full", strings.ReplaceAll(e, "\n", " "), 2*excerpt.MaxMessage)
			}
			if n := len(got.events) - len(base.events); n > 70 {
				t.Errorf("%d more events", n)
			}
			for line := range strings.Lines(got.log) {
				short("a line of log", strings.TrimSuffix(line, "\n"), 4<<10)
			}
			if n := strings.Count(got.log, "\n") - strings.Count(base.log, "\n"); n > 10 {
				t.Errorf("%d more lines of log: %.2000s", n, got.log)
			}
			if n := len(got.conf) - len(base.conf); n > 8<<10 {
				t.Errorf("frr.conf has %d more bytes", n)
			}
			for line := range strings.Lines(string(got.conf)) {
				short("a line of frr.conf", strings.TrimSuffix(line, "\n"), 200)
			}
			if n := passCost(t, s) - cost; n > 1500 {
				t.Errorf("a pass makes %v more allocations, of %v", n, cost)
			}
		})
	}
}

// passCost returns the allocations of a pass once nothing changes.
func passCost(t *testing.T, s cluster.Snapshot) float64 {
	t.Helper()
	pass := agentPass(t, s)
	return testing.AllocsPerRun(3, pass)
}

// agentPass returns a function that decides, hands over and renders.
func agentPass(tb testing.TB, s cluster.Snapshot) func() {
	tb.Helper()
	cfg, err := config.Parse([]byte(agentConfig))
	if err != nil {
		tb.Fatal(err)
	}
	s.Config = cfg
	opts := announce.Options{Index: announce.NewIndex(cfg)}
	m := announce.Membership{Disabled: true}
	var memory handover.Memory
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	pass := func() {
		out := memory.Next(announce.BGP(s, "n1", opts), announce.Layer2(s, "n1", m, opts), 0, func([]netip.Prefix) bool { return true }, at)
		if _, err := render.FRR(out.BGP); err != nil {
			tb.Fatal(err)
		}
	}
	pass()
	return pass
}

// BenchmarkAgentHostile measures passes of an agent over 1,000 Services of which 500 are
// hostile, and over one Service with an endpoint on each of very many nodes that nobody
// has.
func BenchmarkAgentHostile(b *testing.B) {
	many := friendly()
	many.Services = nil
	add := func(svc *cluster.Service) {
		svc.Name = fmt.Sprintf("s%04d", len(many.Services))
		many.Services = append(many.Services, svc)
		many.Endpoints[svc.Key] = []cluster.Endpoint{{Node: "n1"}, {Node: "n2"}, {Node: "n3"}}
	}
	for len(many.Services) < 1000 {
		for name, s := range hostileClusters() {
			if svc := *s.Services[0]; strings.HasPrefix(name, "service") && len(many.Services) < 1000 {
				add(&svc)
				add(&cluster.Service{Key: cluster.Key{Namespace: "shop"}, LoadBalancer: true, Ingress: []string{fmt.Sprintf("10.0.%d.%d", len(many.Services)/250, len(many.Services)%250)}})
			}
		}
	}
	clusters := hostileClusters()
	for name, s := range map[string]cluster.Snapshot{"Services": many, "endpoints": clusters["endpoints on nodes that nobody has"], "friendly": friendly()} {
		b.Run(name, func(b *testing.B) {
			pass := agentPass(b, s)
			b.ReportAllocs()
			for b.Loop() {
				pass()
			}
		})
	}
}
