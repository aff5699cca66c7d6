// SPDX-License-Identifier: Apache-2.0

package layer2_test

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/status"
)

// A Service over TCP and UDP, of both families, from its creation in a pool without
// an advertisement to its end: who says so by events, statuses and metrics, and
// where its addresses go while its owner may not or cannot announce.
//
// Acceptance: L027, L028, L030-L032, L037, L038, L059.
func TestLayer2ResourcesService(t *testing.T) {
	r := newLayer2Resources(t)
	port := intstr.FromInt32(controlplane.BackendPort)
	opts := r.pinned("web", nil)
	opts.Ports = []corev1.ServicePort{
		{Name: "tcp", Protocol: corev1.ProtocolTCP, Port: 80, TargetPort: port},
		{Name: "udp", Protocol: corev1.ProtocolUDP, Port: 80, TargetPort: port},
	}
	r.Expose(opts)
	r.Condition("web", string(status.NoAdvertisement), "pool lan has no advertisement")
	r.haveOwners(only(""))
	advertise("ad", "{}")(r)
	r.haveOwners(only("n2"))
	r.Condition("web", string(status.Announced), "layer2 from n2")
	for _, a := range r.addrs["web"] {
		r.ReachedFrom(r.LANClient, a)
		r.ReachedFrom(r.Client, a)
		r.answersUDP(a)
	}
	r.Event("web", reconcile.EventAnnouncing, `announcing from node "n2" with protocol "layer2"`)
	r.HasStatuses("ServiceL2Status", "web", "n2: ")
	r.counted(2, 1)
	for _, a := range r.addrs["web"] {
		for _, n := range r.Nodes {
			announced := fmt.Sprintf("metallb_speaker_announced{ip=%q,node=%q,protocol=\"layer2\",service=\"%s/web\"}", a, n.Name, r.Namespace)
			if n.Name != "n2" {
				r.hasNot(r.Agent(n), announced)
				continue
			}
			r.atLeast(r.Agent(n), announced, 1)
			for _, name := range []string{"requests_received", "responses_sent", "gratuitous_sent"} {
				r.atLeast(r.Agent(n), fmt.Sprintf("metallb_layer2_%s{ip=%q}", name, a), 1)
			}
		}
	}

	// Away from its owner, and back.
	for _, away := range []struct {
		name string
		away func(ctx context.Context) error
		back func(ctx context.Context) error
	}{
		{
			"the network is unavailable",
			func(ctx context.Context) error {
				return r.Cluster.SetNodeCondition(ctx, "n2", corev1.NodeNetworkUnavailable, true)
			},
			func(ctx context.Context) error {
				return r.Cluster.SetNodeCondition(ctx, "n2", corev1.NodeNetworkUnavailable, false)
			},
		},
		{
			"excluded",
			func(ctx context.Context) error { return r.Cluster.LabelNode(ctx, "n2", announce.LabelExcludeNode, "") },
			func(ctx context.Context) error { return r.Cluster.UnlabelNode(ctx, "n2", announce.LabelExcludeNode) },
		},
		{
			"tainted, and its agent gone",
			func(ctx context.Context) error {
				if err := r.taint(ctx, "n2", `[{"key":"lab","effect":"NoExecute"}]`); err != nil {
					return err
				}
				r.Agent(r.Node("n2")).Stop()
				return nil
			},
			func(ctx context.Context) error {
				if err := r.taint(ctx, "n2", "null"); err != nil {
					return err
				}
				return r.Agent(r.Node("n2")).Start()
			},
		},
	} {
		t.Log(away.name)
		stop := r.LoadFrom(r.LANClient, r.addrs["web"][0])
		if err := away.away(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.haveOwners(only("n3"))
		r.HasStatuses("ServiceL2Status", "web", "n3: ")
		r.Event("web", reconcile.EventAnnouncing, `announcing from node "n3" with protocol "layer2"`)
		if err := away.back(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.haveOwners(only("n2"))
		r.HasStatuses("ServiceL2Status", "web", "n2: ")
		stop()
	}

	addrs := r.addrs["web"]
	r.end()
	r.HasStatuses("ServiceL2Status", "web")
	r.counted(0, 0)
	for _, a := range addrs {
		for _, n := range r.Nodes {
			r.hasNot(r.Agent(n), fmt.Sprintf("{ip=%q", a))
		}
	}
}

// answersUDP waits until clients of both sides get an answer over UDP.
func (r *layer2Resources) answersUDP(a netip.Addr) {
	r.T.Helper()
	for _, m := range []*lab.Machine{r.LANClient, r.Client} {
		r.Eventually("an answer over UDP to "+m.Name, func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			_, err := m.AskUDP(ctx, netip.AddrPortFrom(a, 80))
			return err
		})
	}
}

// taint replaces the taints of a Node.
func (r *layer2Resources) taint(ctx context.Context, node, taints string) error {
	_, err := r.Cluster.Client().CoreV1().Nodes().Patch(ctx, node, types.MergePatchType, []byte(`{"spec":{"taints":`+taints+`}}`), metav1.PatchOptions{})
	return err
}

// counted waits until the controller that leads counts so many addresses of the
// pool lan in use, and so many Services.
func (r *layer2Resources) counted(inUse, services int) {
	r.T.Helper()
	r.Eventually("gauges of the pool", func(ctx context.Context) error {
		var errs []string
		for _, c := range r.Controllers {
			page, err := c.Get(ctx, "/metrics")
			if err != nil {
				return err
			}
			lacks := ""
			for _, line := range []string{
				`metallb_allocator_addresses_total{pool="lan"} 288`,
				`metallb_allocator_ipv4_addresses_total{pool="lan"} 32`,
				`metallb_allocator_ipv6_addresses_total{pool="lan"} 256`,
				fmt.Sprintf(`metallb_allocator_addresses_in_use_total{pool="lan"} %d`, inUse),
				fmt.Sprintf(`metallb_allocator_ipv4_addresses_in_use_total{pool="lan"} %d`, inUse/2),
				fmt.Sprintf(`metallb_allocator_ipv6_addresses_in_use_total{pool="lan"} %d`, inUse/2),
				fmt.Sprintf(`metallb_allocator_services_allocated_total{pool="lan"} %d`, services),
			} {
				if !strings.Contains(page, "\n"+line+"\n") {
					lacks = line
				}
			}
			if lacks == "" {
				return nil
			}
			errs = append(errs, c.Name+" lacks "+lacks)
		}
		return fmt.Errorf("%s", strings.Join(errs, "; "))
	})
}

// atLeast waits until a daemon shows a series with at least this value.
func (r *layer2Resources) atLeast(d *lab.Daemon, series string, least float64) {
	r.T.Helper()
	r.Eventually(d.Name, func(ctx context.Context) error {
		page, err := d.Get(ctx, "/metrics")
		if err != nil {
			return err
		}
		_, rest, ok := strings.Cut(page, "\n"+series+" ")
		if !ok {
			return fmt.Errorf("no %s", series)
		}
		text, _, _ := strings.Cut(rest, "\n")
		if v, err := strconv.ParseFloat(text, 64); err != nil || v < least {
			return fmt.Errorf("%s is %s, want at least %v", series, text, least)
		}
		return nil
	})
}

// hasNot waits until a daemon shows nothing of a series.
func (r *layer2Resources) hasNot(d *lab.Daemon, series string) {
	r.T.Helper()
	r.Eventually(d.Name, func(ctx context.Context) error {
		page, err := d.Get(ctx, "/metrics")
		if err == nil && strings.Contains(page, series) {
			err = fmt.Errorf("it has %s", series)
		}
		return err
	})
}

// With the policy Local the owner has an endpoint, and moves with it; there is none
// if no node with an endpoint may announce.
//
// Acceptance: L029.
func TestLayer2ResourcesLocal(t *testing.T) {
	r := newLayer2Resources(t)
	advertise("ad", "{}")(r)
	opts := r.pinned("web", nil)
	opts.Namespace, opts.Local = r.Namespace, true
	r.Expose(opts, r.Node("n1"))
	for _, n := range []*lab.Node{r.Node("n1"), r.Node("n3")} {
		if err := r.SetBackends(t.Context(), opts, n); err != nil {
			t.Fatal(err)
		}
		r.haveOwners(only(n.Name))
		for _, a := range r.addrs["web"] {
			r.ReachedFrom(r.LANClient, a, n)
			r.ReachedFrom(r.Client, a, n)
		}
		r.HasStatuses("ServiceL2Status", "web", n.Name+": ")
	}
	for _, step := range []struct {
		edit  edit
		owner string
	}{
		{advertise("ad", "{"+on1+"}"), ""},
		{advertise("ad", "{}"), "n3"},
		{label("n3", announce.LabelExcludeNode, ""), ""},
	} {
		step.edit(r)
		r.haveOwners(only(step.owner))
		if step.owner == "" {
			r.Condition("web", string(status.NoEndpoints), "on a node that may announce it")
		} else {
			r.Condition("web", string(status.Announced), "layer2 from "+step.owner)
		}
	}
	r.end()
}

// Services that share addresses have one owner, also where an advertisement selects
// one of them alone.
//
// Acceptance: L035, L036.
func TestLayer2ResourcesShared(t *testing.T) {
	r := newLayer2Resources(t)
	advertise("ad", "{}")(r)
	for i, name := range []string{"web", "db"} {
		opts := r.pinned("web", map[string]string{"app": name})
		delete(r.addrs, "web")
		opts.Name, opts.Annotations["metallb.io/allow-shared-ip"] = name, "key"
		opts.Ports = []corev1.ServicePort{{Port: int32(80 + i), TargetPort: intstr.FromInt32(controlplane.BackendPort)}}
		if got := r.Expose(opts); len(got) != 2 || got[0] != r.free[0][0] || got[1] != r.free[1][0] {
			t.Fatalf("%s has %v", name, got)
		}
	}
	r.addrs["web"] = []netip.Addr{r.free[0][0], r.free[1][0]}
	for _, step := range []struct {
		edit  edit
		owner string
	}{
		{advertise("ad", "{}"), "n2"},
		{advertise("second", "{serviceSelectors: [{matchLabels: {app: db}}], "+preferred("fast")+"}"), "n2"},
		{label("n1", "fast", ""), "n1"},
	} {
		step.edit(r)
		r.haveOwners(only(step.owner))
		for i, name := range []string{"web", "db"} {
			r.HasStatuses("ServiceL2Status", name, step.owner+": ")
			for _, a := range r.addrs["web"] {
				answeredAt(r.Resources.Test, r.LANClient, netip.AddrPortFrom(a, uint16(80+i)))
			}
		}
	}
}

// An annotation picks the pool, and who has an address keeps it and is reached. A
// Service of another class gets none.
//
// Acceptance: L039-L043.
func TestLayer2ResourcesPickedPool(t *testing.T) {
	r := newLayer2Resources(t)
	advertise("ad", "{}")(r)
	r.Expose(r.pinned("first", nil))
	r.haveOwners(map[string]string{"first": "n2"})
	if _, err := r.Stack.Expose(t.Context(), controlplane.ServiceOptions{Namespace: r.Namespace, Name: "foreign", Class: "foo"}); err != nil {
		t.Fatal(err)
	}
	for i, auto := range []bool{true, false} {
		name := fmt.Sprintf("picked-%t", auto)
		ranges := map[corev1.IPFamily]string{e2e.IPv4: "10.10.0.244/31", e2e.IPv6: "fd00:10:10::d00/124"}
		if auto {
			ranges = map[corev1.IPFamily]string{e2e.IPv4: "10.10.0.240-10.10.0.243", e2e.IPv6: "fd00:10:10::e00-fd00:10:10::e0f"}
		}
		r.Apply(fmt.Sprintf("{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: %s}, spec: {autoAssign: %t, addresses: [%s, %q]}}", name, auto, ranges[e2e.IPv4], ranges[e2e.IPv6]))
		for family, text := range ranges {
			opts := controlplane.ServiceOptions{
				Name: name + "-" + strings.ToLower(string(family)), Families: []corev1.IPFamily{family},
				Annotations: map[string]string{"metallb.io/address-pool": name},
			}
			a := r.Expose(opts)[0]
			if err := e2e.InRange(a, text); err != nil {
				t.Error(err)
			}
			svc, err := r.Cluster.WaitService(t.Context(), r.Namespace, opts.Name, func(*corev1.Service) bool { return true })
			if err != nil || svc.Annotations[assign.AnnotationPool] != name {
				t.Errorf("%s is annotated with pool %q, %v", opts.Name, svc.Annotations[assign.AnnotationPool], err)
			}
			r.Owner(r.w, a)
			r.ReachedFrom(r.LANClient, a)
		}
		if now := r.Address("first"); now != r.addrs["first"][0] {
			t.Errorf("after %d pools the first Service has %s", i+1, now)
		}
		r.haveOwners(map[string]string{"first": "n2"})
	}
	r.Accepted(config.KindPool, "picked-true")
	// Others have got addresses since.
	svc, err := r.Cluster.Client().CoreV1().Services(r.Namespace).Get(t.Context(), "foreign", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(svc.Status.LoadBalancer.Ingress)+len(svc.Status.Conditions) > 0 {
		t.Errorf("a Service of another class has %+v", svc.Status)
	}
}
