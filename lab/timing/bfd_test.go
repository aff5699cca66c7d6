// SPDX-License-Identifier: Apache-2.0

package timing_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
)

// BFD comes up with the profile's parameters, at both ends and over both families,
// clients reach Services of both over such sessions, and neither another Service nor
// a change of the profile flaps anything.
//
// Acceptance: B037-B042.
func TestBGPBFD(t *testing.T) {
	tests := []struct {
		name    string
		profile string
		want    e2e.BFDPeer
	}{
		{"default", "{name: fast}", e2e.BFDPeer{ReceiveInterval: 300, TransmitInterval: 300, DetectMultiplier: 3, EchoReceive: 50}},
		{
			"full", "{name: fast, receive-interval: 60, transmit-interval: 61, echo-interval: 62, detect-multiplier: 4, minimum-ttl: 254, passive-mode: false}",
			e2e.BFDPeer{ReceiveInterval: 60, TransmitInterval: 61, DetectMultiplier: 4, EchoReceive: 62},
		},
		{
			"echo", "{name: fast, echo-interval: 80, echo-mode: true}",
			e2e.BFDPeer{ReceiveInterval: 300, TransmitInterval: 300, DetectMultiplier: 3, EchoReceive: 80, EchoTransmit: 80},
		},
		{
			"passive", "{name: fast, receive-interval: 100, passive-mode: true}",
			e2e.BFDPeer{ReceiveInterval: 100, TransmitInterval: 300, DetectMultiplier: 3, EchoReceive: 50, Passive: true},
		},
	}
	e := e2e.New(t)
	e.RouterBFD()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := e2e.New(t)
			peers, at := e2e.BFDPeers, []netip.Addr{e.Router.Addr4, e.Router.Addr6}
			pool, families := "203.0.113.208/28, 'fd00:d::/124'", []corev1.IPFamily{e2e.IPv4, e2e.IPv6}
			if test.want.EchoTransmit > 0 { // which is not possible over IPv6
				at, pool, families = at[:1], "203.0.113.208/28", families[:1]
				peers = strings.Replace(peers, `"fd00:10:10::254", bfd-profile: fast`, `"fd00:10:10::254", bfd-profile: plain`, 1)
			}
			document := func(profile string) string {
				return peers + "bfd-profiles: [" + profile + ", {name: plain}]\naddress-pools:\n- {name: p, protocol: bgp, addresses: [" + pool + "]}\n"
			}
			e.Configure(document(test.profile))
			opts := controlplane.ServiceOptions{Name: "first", Families: families}
			if len(families) > 1 {
				opts.FamilyPolicy = corev1.IPFamilyPolicyRequireDualStack
			}
			for _, addr := range e.Expose(opts) {
				e.InKernel(e2e.Route(addr), e.Nodes)
				e.Reached(addr)
			}
			e.Guarded(test.want, at...)
			ups, before := bfdUps(e), e.Connections()
			e.InKernel(e2e.Route(e.Expose(controlplane.ServiceOptions{Name: "second"})[0]), e.Nodes)
			e.Configure(document("{name: fast, receive-interval: 210, transmit-interval: 220, detect-multiplier: 5}"))
			e.Guarded(e2e.BFDPeer{ReceiveInterval: 210, TransmitInterval: 220, DetectMultiplier: 5, EchoReceive: 50}, at...)
			if diff := cmp.Diff(ups, bfdUps(e)); diff != "" {
				t.Errorf("BFD sessions flapped (-before +after):\n%s", diff)
			}
			if diff := cmp.Diff(before, e.Connections()); diff != "" {
				t.Errorf("BGP sessions were reset (-before +after):\n%s", diff)
			}
		})
	}
}

// bfdUps counts how often the nodes' BFD sessions came up and went down.
func bfdUps(e *e2e.Test) map[string][2]int {
	e.T.Helper()
	counts := map[string][2]int{}
	for _, n := range e.Nodes {
		out, err := n.FRR.Vtysh(e.T.Context(), "show bfd peers counters json")
		if err != nil {
			e.T.Fatal(err)
		}
		var all []struct {
			Peer string `json:"peer"`
			Up   int    `json:"session-up"`
			Down int    `json:"session-down"`
		}
		if err := json.Unmarshal([]byte(out), &all); err != nil {
			e.T.Fatal(err)
		}
		for _, p := range all {
			counts[n.Name+" to "+p.Peer] = [2]int{p.Up, p.Down}
		}
	}
	return counts
}
