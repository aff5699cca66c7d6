// SPDX-License-Identifier: Apache-2.0

package sidecar_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
)

// The metrics follow the sessions: a route that comes and goes, a second BFD session
// with the router, and BFD that the router takes away. The agent has none of them.
//
// Acceptance: B096, B097, B100-B103.
func TestSidecarMetrics(t *testing.T) {
	e2e.EachVersion(t, func(t *testing.T, v lab.Version) {
		e := newSidecarE2E(t)
		n, r1 := e.NodeWith(v), e.Router
		e.RouterBFD("transmit-interval 100", "receive-interval 100")
		document := func(profile, addresses string) string {
			peers := strings.NewReplacer(
				"peer-address: 10.10.0.254}", "peer-address: 10.10.0.254, bfd-profile: "+profile+"}",
				`peer-address: "fd00:10:10::254"}`, `peer-address: "fd00:10:10::254", bfd-profile: fast}`,
			).Replace(e2e.AllPeers)
			return peers + `bfd-profiles:
- {name: fast, receive-interval: 100, transmit-interval: 100}
- {name: echo, receive-interval: 100, transmit-interval: 100, echo-interval: 100, echo-mode: true}
address-pools:
- {name: p, protocol: bgp, addresses: [` + addresses + "]}\n"
		}
		e.Configure(document("fast", "192.0.2.0/26, 'fd00:192::/120'"))
		// shows waits until each metric of a peer is as wanted: equal to the number, or
		// at least that with a plus sign behind it.
		shows := func(what string, want map[string]string) {
			t.Helper()
			e.Eventually(what, func(ctx context.Context) error {
				page, err := n.Sidecar.Get(ctx, "/metrics")
				if err != nil {
					return err
				}
				for name, value := range want {
					for peer, port := range map[string]string{r1.Addr4.String(): "10.10.0.254:179", r1.Addr6.String(): "[fd00:10:10::254]:179"} {
						if strings.HasPrefix(name, "bgp") {
							peer = port
						}
						line := fmt.Sprintf("\nmetallb_%s{peer=%q,vrf=\"default\"} ", name, peer)
						_, rest, ok := strings.Cut(page, line)
						text, _, _ := strings.Cut(rest, "\n")
						have, err := strconv.ParseFloat(text, 64)
						least, more := strings.CutSuffix(value, "+")
						number, _ := strconv.ParseFloat(least, 64)
						if !ok || err != nil || have < number || !more && have != number {
							return fmt.Errorf("%s of %s is %q, want %s", name, peer, text, value)
						}
					}
				}
				for _, line := range []string{`herald_frr_process_up{daemon="bgpd"} 1`, `herald_frr_withdrawn 0`} {
					if !strings.Contains(page, "\n"+line+"\n") {
						return fmt.Errorf("no line %s in\n%s", line, page)
					}
				}
				return nil
			})
		}
		// Of those that may be 0 it is to be seen that they are there; that none is in
		// another's place is for the unit test.
		shows("metrics without a Service", map[string]string{
			"bgp_session_up": "1", "bgp_announced_prefixes_total": "0", "bgp_received_prefixes_total": "0",
			"bgp_opens_sent": "1+", "bgp_opens_received": "1+", "bgp_keepalives_sent": "1+", "bgp_keepalives_received": "1+",
			"bgp_notifications_sent": "0+", "bgp_route_refresh_sent": "0+", "bgp_updates_total_received": "1+",
			"bfd_session_up": "1", "bfd_session_up_events": "1+", "bfd_session_down_events": "0+", "bfd_zebra_notifications": "1+",
			"bfd_control_packet_input": "1+", "bfd_control_packet_output": "1+", "bfd_echo_packet_input": "0+", "bfd_echo_packet_output": "0+",
		})
		page, err := e.Agent(n).Get(t.Context(), "/metrics")
		if err != nil || !strings.Contains(page, "\nmetallb_k8s_client_config_loaded_bool 1\n") {
			t.Fatalf("metrics of the agent: %v\n%s", err, page)
		}
		for line := range strings.Lines(page) {
			if strings.HasPrefix(line, "metallb_bgp_") || strings.HasPrefix(line, "metallb_bfd_") {
				t.Errorf("the agent has what herald-frr has: %s", line)
			}
		}
		second := fmt.Sprintf("bfd\n peer %s multihop local-address %s\n exit\nexit\n", r1.Addr4, n.Addr4)
		if r := extras(e, n, second); !r.Applied {
			t.Fatalf("refused: %+v", r)
		}
		e.Eventually("a second BFD session with the router", func(ctx context.Context) error {
			text, err := n.FRR.Vtysh(ctx, "show bfd peers json")
			if count := strings.Count(text, fmt.Sprintf("\"peer\":%q", r1.Addr4)); err == nil && count != 2 {
				err = fmt.Errorf("%d sessions: %s", count, text)
			}
			return err
		})
		shows("metrics with a second BFD session", map[string]string{"bgp_session_up": "1", "bfd_session_up": "1", "bfd_session_up_events": "1+"})
		if r := extras(e, n, ""); !r.Applied {
			t.Fatalf("refused: %+v", r)
		}
		for _, addr := range e.Expose(controlplane.ServiceOptions{Name: "web", Families: []corev1.IPFamily{e2e.IPv4, e2e.IPv6}, FamilyPolicy: corev1.IPFamilyPolicyRequireDualStack}) {
			e.Announced(e2e.Route(addr))
		}
		shows("metrics with a Service", map[string]string{
			"bgp_session_up": "1", "bgp_announced_prefixes_total": "2", "bgp_updates_total": "1+", "bgp_total_sent": "3+", "bgp_total_received": "2+",
		})
		if err := e.Cluster.DeleteService(t.Context(), e.Namespace, "web"); err != nil {
			t.Fatal(err)
		}
		shows("metrics after it", map[string]string{"bgp_announced_prefixes_total": "0", "bgp_updates_total": "2+"})
		// Echo is for IPv4 alone.
		e.Configure(document("echo", "192.0.2.0/26"))
		e.Eventually("echo packets", func(ctx context.Context) error {
			page, err := n.Sidecar.Get(ctx, "/metrics")
			for _, name := range []string{"input", "output"} {
				_, rest, ok := strings.Cut(page, "\nmetallb_bfd_echo_packet_"+name+`{peer="10.10.0.254",vrf="default"} `)
				if count, _, _ := strings.Cut(rest, "\n"); err == nil && (!ok || count == "0") {
					err = fmt.Errorf("echo packets, %s: %q", name, count)
				}
			}
			return err
		})
		if _, err := r1.FRR.Vtysh(t.Context(), "configure terminal", "router bgp 64513", "no neighbor nodes bfd"); err != nil {
			t.Fatal(err)
		}
		shows("metrics without the router's BFD", map[string]string{"bfd_session_up": "0", "bfd_session_down_events": "1+"})
	})
}
