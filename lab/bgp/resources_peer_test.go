// SPDX-License-Identifier: Apache-2.0

package bgp_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
)

// peerPool is a pool for Services of both families, announced to every peer.
const peerPool = `
{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: p}, spec: {addresses: [10.248.0.0/28, "fd00:248::/124"]}}
---
{apiVersion: metallb.io/v1beta1, kind: BGPAdvertisement, metadata: {name: ad}}
`

// A peer by its interface gets the routes of each family that there is, alone.
//
// Acceptance: B138-B140.
func TestBGPResourcesUnnumbered(t *testing.T) { e2e.EachVersion(t, testBGPResourcesUnnumbered) }

func testBGPResourcesUnnumbered(t *testing.T, v lab.Version) {
	r := e2e.NewResources(t)
	r.DeleteConfigMap()
	n, r1 := r.NodeWith(v), r.Router
	if err := lab.Cable(n.Machine, r1.Machine, "p2p"); err != nil {
		t.Fatal(err)
	}
	router := func(ctx context.Context, commands ...string) {
		t.Helper()
		if _, err := r1.FRR.Vtysh(ctx, append([]string{"configure terminal", "router bgp 64513"}, commands...)...); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), e2e.Patience)
		defer cancel()
		router(ctx, "no neighbor p2p interface")
		r.DeleteAll(ctx, config.KindPeer) // not all: no configuration takes nothing away
		// FRR 10.3's zebra crashes if a link goes on which it sends advertisements.
		for _, f := range []*lab.FRR{n.FRR, r1.FRR} {
			for sends := true; sends && ctx.Err() == nil; time.Sleep(50 * time.Millisecond) {
				out, err := f.Vtysh(ctx, "show interface p2p")
				if err != nil {
					t.Error(err)
					break
				}
				sends = strings.Contains(out, "ND router advertisements are sent")
			}
		}
		if _, err := n.Run(context.Background(), "ip", "link", "del", "p2p"); err != nil {
			t.Error(err)
		}
	})
	router(t.Context(), "neighbor p2p interface remote-as external", "neighbor p2p timers connect 1",
		"address-family ipv4 unicast", "neighbor p2p activate", "exit-address-family",
		"address-family ipv6 unicast", "neighbor p2p activate")
	r.Apply(peerPool + "---\n{apiVersion: metallb.io/v1beta2, kind: BGPPeer, metadata: {name: link}, spec: {myASN: 64512, dynamicASN: external, " +
		"interface: p2p, connectTime: 1s, nodeSelectors: [{matchLabels: {kubernetes.io/hostname: " + n.Name + "}}]}}")
	r.Accepted(config.KindPeer, "link")
	for _, family := range []corev1.IPFamily{e2e.IPv4, e2e.IPv6} {
		name := strings.ToLower(string(family))
		addr := r.Expose(controlplane.ServiceOptions{Name: name, Families: []corev1.IPFamily{family}})[0]
		inKernelOver(r, e2e.Route(addr))
		r.Reached(addr)
		if err := r.Cluster.DeleteService(t.Context(), r.Namespace, name); err != nil {
			t.Fatal(err)
		}
		r.InKernel(e2e.Route(addr), nil)
	}
	both := r.Expose(controlplane.ServiceOptions{Name: "both", Families: []corev1.IPFamily{e2e.IPv4, e2e.IPv6}, FamilyPolicy: corev1.IPFamilyPolicyRequireDualStack})
	for _, addr := range both {
		inKernelOver(r, e2e.Route(addr))
		r.Reached(addr)
	}
}

// inKernelOver waits until r1's kernel has the route via one link-local address.
func inKernelOver(r *e2e.Resources, p netip.Prefix) {
	r.T.Helper()
	ctx, cancel := context.WithTimeout(r.T.Context(), e2e.Patience)
	defer cancel()
	if _, err := r.Routes.Wait(ctx, p, time.Now(), lab.Hops(1)); err != nil {
		r.T.Fatal(err)
	}
	history := r.Routes.History(p)
	if hop := history[len(history)-1].NextHops; len(hop) != 1 || !hop[0].Is6() || !hop[0].IsLinkLocalUnicast() {
		r.T.Errorf("route to %s via %v, want a link-local address", p, hop)
	}
}

// Peers say what kind of AS the router is in, and what it is to see of ours.
//
// Acceptance: B030, B031, B078, B081.
func TestBGPResourcesPeerASN(t *testing.T) {
	r := e2e.NewResources(t)
	r.DeleteConfigMap()
	var others []*lab.GoBGP
	for i, at := range []string{"10.10.0.203", "fd00:10:10::204"} {
		g, err := r.StartGoBGP(t.Context(), lab.GoBGPOptions{
			Name: fmt.Sprint("other", i), ASN: 64516, PeerASN: 64600, Listen: []netip.Addr{netip.MustParseAddr(at)},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := g.Stop(); err != nil {
				t.Error(err)
			}
		})
		others = append(others, g)
	}
	r.Apply(peerPool)
	for name, spec := range map[string]string{
		"inside": "peerAddress: 10.10.0.200, dynamicASN: internal", "outside": "peerAddress: 10.10.0.201, dynamicASN: external",
		"wrong-inside": `peerAddress: "fd00:10:10::200", dynamicASN: external`, "wrong-outside": `peerAddress: "fd00:10:10::201", dynamicASN: internal`,
		"other": "peerAddress: 10.10.0.203, peerASN: 64516, localASN: 64600", "other-v6": `peerAddress: "fd00:10:10::204", peerASN: 64516, localASN: 64600`,
	} {
		r.Apply(fmt.Sprintf("{apiVersion: metallb.io/v1beta2, kind: BGPPeer, metadata: {name: %s}, spec: {myASN: 64512, connectTime: 1s, %s}}", name, spec))
	}
	addrs := r.Expose(controlplane.ServiceOptions{Name: "web", Families: []corev1.IPFamily{e2e.IPv4, e2e.IPv6}, FamilyPolicy: corev1.IPFamilyPolicyRequireDualStack})
	four, six := e2e.Route(addrs[0]), e2e.Route(addrs[1])
	if four.Addr().Is6() {
		four, six = six, four
	}
	for _, test := range []struct {
		g    *lab.GoBGP
		p    netip.Prefix
		path []uint32
	}{
		{r.IBGP, four, nil}, {r.EBGP, four, []uint32{64512}},
		{others[0], four, []uint32{64600}}, {others[1], six, []uint32{64600}},
	} {
		for _, p := range r.Learned(test.g, test.p, r.Nodes) {
			if diff := cmp.Diff(test.path, p.ASPath); diff != "" {
				t.Errorf("AS path from %s (-want +got):\n%s", p.Peer, diff)
			}
		}
	}
	for _, n := range r.Nodes {
		for _, a := range []netip.Addr{e2e.IBGP6, e2e.EBGP6} {
			r.Eventually("the wrong kind of AS", func(ctx context.Context) error {
				p, err := r.PeerOf(ctx, n, a)
				if err == nil && (p.Session.Up() || !strings.Contains(p.Session.LastError, "Bad Peer AS")) {
					err = fmt.Errorf("%s with %s: %+v", n.Name, a, p.Session)
				}
				return err
			})
		}
	}
}

// Graceful restart of a peer that does not say so yet is added by an edit. That
// resets the sessions, on all nodes at once, each once, and the agents say so; by a
// second peer for nodes with a label it goes node by node.
//
// Acceptance: B028.
func TestBGPResourcesGracefulRestart(t *testing.T) {
	r := e2e.NewResources(t)
	r.DeleteConfigMap()
	n1 := r.Nodes[0]
	t.Cleanup(func() {
		if err := r.Cluster.UnlabelNode(context.Background(), n1.Name, "restart"); err != nil {
			t.Error(err)
		}
	})
	const others = "nodeSelectors: [{matchExpressions: [{key: restart, operator: DoesNotExist}]}]"
	r.Apply(peerPool + "---\n" + e2e.RouterPeer("r1", "10.10.0.254", others) + "\n---\n" + e2e.DocumentOf(e2e.PeerResources, "ibgp"))
	addr := r.Expose(controlplane.ServiceOptions{Name: "web"})[0]
	r.InKernel(e2e.Route(addr), r.Nodes)
	// change does something, and waits until these nodes' sessions with r1 were reset.
	change := func(do func(), nodes ...*lab.Node) {
		t.Helper()
		want, said := r.Connections(), map[*lab.Node]int{}
		for _, n := range r.Nodes {
			said[n] = saysReset(r.Test, n)
		}
		for _, n := range nodes {
			want[n.Name+" to 10.10.0.254"]++
			said[n]++
		}
		do()
		r.Eventually("sessions", func(context.Context) error {
			if diff := cmp.Diff(want, r.Connections()); diff != "" {
				return fmt.Errorf("how often they were established (-want +got):\n%s", diff)
			}
			return nil
		})
		for _, n := range r.Nodes {
			if got := saysReset(r.Test, n); got != said[n] {
				t.Errorf("the agent of %s has said %d times that it resets a session, want %d", n.Name, got, said[n])
			}
		}
		for _, n := range nodes {
			if mode := e2e.RestartMode(t, r.Router.FRR, n.Addr4); mode != "Restart" {
				t.Errorf("r1 sees graceful restart mode %q of %s, want Restart", mode, n.Name)
			}
		}
		r.InKernel(e2e.Route(addr), r.Nodes)
	}
	change(func() {
		r.Apply(e2e.RouterPeer("graceful", "10.10.0.254", "enableGracefulRestart: true", "nodeSelectors: [{matchLabels: {restart: graceful}}]"))
		r.Accepted(config.KindPeer, "graceful")
	})
	change(func() {
		if err := r.Cluster.LabelNode(t.Context(), n1.Name, "restart", "graceful"); err != nil {
			t.Fatal(err)
		}
	}, n1)
	change(func() { r.Apply(e2e.RouterPeer("r1", "10.10.0.254", "enableGracefulRestart: true", others)) }, r.Nodes[1:]...)
}

// saysReset counts how often a node's agent has said that it resets the session
// with r1 for graceful restart.
func saysReset(e *e2e.Test, n *lab.Node) int {
	e.T.Helper()
	log, err := os.ReadFile(e.LogFile("agent-" + n.Name))
	if err != nil {
		e.T.Fatal(err)
	}
	return strings.Count(string(log), `msg="session reset" component=frr peer=10.10.0.254 reason="graceful restart changes"`)
}
