// SPDX-License-Identifier: Apache-2.0

package bgp_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
)

// A pool that is announced over BGP is announced on layer 2 too once an
// L2Advertisement says so, and no more when that is gone; BGP does not notice.
//
// Acceptance: B076, B077.
func TestResourcesLayer2Added(t *testing.T) {
	for _, test := range []struct {
		family corev1.IPFamily
		pool   string
	}{{e2e.IPv4, "10.10.0.180/30"}, {e2e.IPv6, "fd00:10:10::180/126"}} {
		t.Run(string(test.family), func(t *testing.T) {
			r := e2e.NewResources(t)
			r.DeleteConfigMap()
			w := r.Neighbors()
			peers := e2e.RouterPeer("r1", "10.10.0.254") + "\n---\n" + e2e.RouterPeer("r1-6", "fd00:10:10::254")
			r.Apply(peers + fmt.Sprintf(`
---
{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: p}, spec: {addresses: [%q]}}
---
{apiVersion: metallb.io/v1beta1, kind: BGPAdvertisement, metadata: {name: ad}}`, test.pool))
			addr := r.Expose(controlplane.ServiceOptions{Name: "web", Families: []corev1.IPFamily{test.family}})[0]
			r.InKernel(e2e.Route(addr), r.Nodes)
			r.Unanswered(w, addr)
			since, before := time.Now(), r.Connections()

			r.Apply("{apiVersion: metallb.io/v1beta1, kind: L2Advertisement, metadata: {name: ad}}")
			r.Owner(w, addr)
			r.ReachedFrom(r.LANClient, addr)
			r.Delete(config.KindL2Advertisement, "ad")
			r.Unanswered(w, addr)
			r.InKernel(e2e.Route(addr), r.Nodes)
			for _, c := range r.Routes.History(e2e.Route(addr)) {
				if c.Time.After(since) {
					t.Errorf("r1's route changed: %v", c)
				}
			}
			if diff := cmp.Diff(before, r.Connections()); diff != "" {
				t.Errorf("sessions were reset (-before +after):\n%s", diff)
			}
		})
	}
}

// A peer whose BFD profile is missing makes the configuration stale everywhere,
// until the profile is there, which then is in FRR with all that it says.
//
// Acceptance: B072, B104.
func TestResourcesMissingProfile(t *testing.T) {
	r := e2e.NewResources(t)
	r.DeleteConfigMap()
	const updates = "\nmetallb_k8s_client_updates_total "
	shows := func(stale string) {
		t.Helper()
		r.Eventually("metrics of the configuration", func(ctx context.Context) error {
			for _, d := range append(slices.Clone(r.Agents), r.Leader()) {
				page, err := d.Get(ctx, "/metrics")
				if err != nil {
					return err
				}
				for _, line := range []string{"config_stale_bool " + stale, "config_loaded_bool 1"} {
					if !strings.Contains(page, "\nmetallb_k8s_client_"+line+"\n") {
						return fmt.Errorf("no %s in %s", line, d.Name)
					}
				}
				if !strings.Contains(page, updates) || strings.Contains(page, updates+"0\n") {
					return fmt.Errorf("no updates in %s", d.Name)
				}
			}
			return nil
		})
	}
	r.Apply(e2e.RouterPeer("r1", "10.10.0.254", "bfdProfile: late", "holdTime: 57s", "keepaliveTime: 13s"))
	r.Refused(config.KindPeer, "r1", "MissingReference", "late")
	shows("1")
	r.Apply("{apiVersion: metallb.io/v1beta1, kind: BFDProfile, metadata: {name: late}, spec: {receiveInterval: 150, transmitInterval: 160, " +
		"detectMultiplier: 7, echoInterval: 70, echoMode: true, passiveMode: true, minimumTtl: 250}}")
	r.Accepted(config.KindPeer, "r1")
	shows("0")
	// What the API server has filled in is told FRR as well.
	if spec, _ := r.Spec(config.KindPeer, "r1").(map[string]any); spec["peerPort"] != 179.0 {
		t.Errorf("the peer's port is %v", spec["peerPort"])
	}
	for _, n := range r.Nodes {
		r.Eventually("running configuration of "+n.Name, func(ctx context.Context) error {
			text, err := n.FRR.Vtysh(ctx, "show running-config")
			_, profile, _ := strings.Cut(text, "\n profile late\n")
			profile, _, _ = strings.Cut(profile, "\n exit\n")
			for _, line := range []string{" neighbor 10.10.0.254 timers 13 57", " neighbor 10.10.0.254 bfd profile late"} {
				if err == nil && !strings.Contains(text, "\n"+line+"\n") {
					err = fmt.Errorf("no line %q in:\n%s", line, text)
				}
			}
			want := []string{
				"  detect-multiplier 7", "  echo receive-interval 70", "  echo transmit-interval 70", "  echo-mode",
				"  minimum-ttl 250", "  passive-mode", "  receive-interval 150", "  transmit-interval 160",
			}
			if got := slices.Sorted(strings.SplitSeq(profile, "\n")); err == nil && !slices.Equal(got, want) {
				err = fmt.Errorf("the profile is %q, want %q", got, want)
			}
			return err
		})
	}
}

// Controller and agents count the addresses of a pool and say what they announce.
//
// Acceptance: B098, B099.
func TestBGPServiceMetrics(t *testing.T) {
	for _, family := range []corev1.IPFamily{e2e.IPv4, e2e.IPv6} {
		t.Run(string(family), func(t *testing.T) {
			e := e2e.New(t)
			pool := map[corev1.IPFamily]string{e2e.IPv4: "203.0.113.248/29", e2e.IPv6: "fd00:f::/125"}[family]
			e.Configure(e2e.BGPPools("- {name: counted, protocol: bgp, addresses: ['" + pool + "']}"))
			shows := func(addr netip.Addr, used int) {
				t.Helper()
				e.Metric(e.Leader(), `metallb_allocator_addresses_total{pool="counted"} 8`+"\n")
				e.Metric(e.Leader(), fmt.Sprintf("metallb_allocator_addresses_in_use_total{pool=\"counted\"} %d\n", used))
				for _, n := range e.Nodes {
					for _, peer := range []string{"10.10.0.254:179", "[fd00:10:10::254]:179"} {
						e.Metric(e.Agent(n), fmt.Sprintf("metallb_bgp_session_up{peer=%q,vrf=\"default\"} 1\n", peer))
					}
					announced := fmt.Sprintf("\nmetallb_speaker_announced{ip=%q,node=%q,protocol=\"bgp\",service=\"%s/web\"} 1\n", addr, n.Name, e.Namespace)
					e.Eventually(announced, func(ctx context.Context) error {
						page, err := e.Agent(n).Get(ctx, "/metrics")
						if err == nil && strings.Contains(page, announced) != (used > 0) {
							err = fmt.Errorf("it is there: %v", used == 0)
						}
						return err
					})
				}
			}
			shows(netip.Addr{}, 0)
			addr := e.Expose(controlplane.ServiceOptions{Name: "web", Families: []corev1.IPFamily{family}})[0]
			e.Announced(e2e.Route(addr))
			shows(addr, 1)
			if err := e.Cluster.DeleteService(t.Context(), e.Namespace, "web"); err != nil {
				t.Fatal(err)
			}
			shows(addr, 0)
		})
	}
}
