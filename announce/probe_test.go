// SPDX-License-Identifier: Apache-2.0

package announce_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/announce/announcetest"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/status"
)

// A node leaves a route whose probe fails to other nodes on which it does not. If there are
// none, it goes on, unless the rules say that nobody announces what does not answer.
func TestProbeBGP(t *testing.T) {
	addr := netip.MustParseAddr("192.0.2.1")
	probe := config.Probe{Protocol: config.ProbeTCP}
	const fails = `the probe of advertisement "web" fails: refused`
	const alone = "the probe fails, but no other node is known on which it does not: refused"
	tests := []struct {
		name     string
		failing  bool
		withdraw bool
		sent     bool // n2 was seen to send the route
		other    func(*announce.Member)
		want     status.Reason
		detail   string
		left     bool
	}{
		{name: "it answers", want: status.Announced},
		{name: "it answers, and fails on the other", other: fault, want: status.Announced},
		{name: "it fails", failing: true, want: status.ProbeFailed, detail: fails, left: true},
		{name: "it fails, and the other was seen", failing: true, sent: true, want: status.ProbeFailed, detail: fails, left: true},
		{name: "it fails on both", failing: true, other: fault, want: status.Announced, detail: alone},
		{name: "the other stops", failing: true, other: func(m *announce.Member) { m.Leaving = true }, want: status.Announced, detail: alone},
		{name: "it fails, and has no verdict on the other", failing: true, other: open, want: status.Announced, detail: alone},
		{name: "it fails, and the other has just started", failing: true, sent: true, other: unjudged, want: status.Announced, detail: alone},
		{name: "it fails, is to be withdrawn, and the other has just started", failing: true, withdraw: true, other: unjudged, want: status.ProbeFailed, detail: fails},
		{name: "it fails, and is to be withdrawn", failing: true, withdraw: true, want: status.ProbeFailed, detail: fails},
		{name: "it fails on both, and is to be withdrawn", failing: true, withdraw: true, other: fault, want: status.ProbeFailed, detail: fails},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, m := twoNodes(t)
			s.Nodes[0].Drain = cluster.Drain{}
			p := probe
			p.Withdraw = tt.withdraw
			s.Config.BGPAdvertisements[0].Name, s.Config.BGPAdvertisements[0].Probe = "web", p
			id := announce.ProbeID{ServiceAddr: announce.ServiceAddr{Service: "ns/a", Addr: addr}, Probe: p}
			for i := range m.Members {
				if m.Members[i].Node != "n2" {
					continue
				}
				if tt.sent {
					m.Members[i] = announcetest.Sends("n2", "in", addr.String())
				} else {
					m.Members[i] = announce.Member{Node: "n2", Answered: true}
				}
				if tt.other != nil {
					tt.other(&m.Members[i])
				}
				for j := range m.Members[i].Faults {
					m.Members[i].Faults[j] = announce.Fault{Addr: addr, Digest: id.Fault().Digest, Unknown: m.Members[i].Faults[j].Unknown}
				}
			}
			opts := announce.Options{Members: m, Announces: func(netip.Addr) bool { return true }}
			if tt.failing {
				opts.Readiness.Failing = map[announce.ProbeID]string{id: "refused"}
			}
			d := announce.BGP(s, "n1", opts)
			got := d.Decisions[0]
			if got.Reason != tt.want || got.Detail != tt.detail || got.Announce != (tt.want == status.Announced) {
				t.Errorf("got %+v", got)
			}
			left, is := d.Left[addr]
			if is != tt.left || is && (!left.Due || !left.Brief || left.Confirmed != tt.sent) {
				t.Errorf("left: %+v, %t", left, is)
			}
		})
	}
}

// fault is for a probe that fails on a member; which one is filled in.
func fault(m *announce.Member) { m.Faults = []announce.Fault{{}} }

// open is for a probe that has no verdict yet, and unjudged for a member that has none at all.
func open(m *announce.Member)     { m.Faults = []announce.Fault{{Unknown: true}} }
func unjudged(m *announce.Member) { m.Unjudged = true }

// On layer 2 all agents elect an owner among the nodes on which the probe does not fail, by
// what agents tell each other. If it fails on all, it counts on none, unless the rules say
// that nobody answers then.
func TestProbeLayer2(t *testing.T) {
	const addr = "192.0.2.1"
	probe := config.Probe{Protocol: config.ProbeTCP}
	tests := []struct {
		name     string
		local    bool
		withdraw bool
		disabled bool
		fails    []string // on these nodes
		open     []string // no verdict on these
		started  []string // these have just started, and have no verdict at all
		want     string   // the owner
	}{
		{name: "it answers", want: "n1"},
		{name: "it fails on the owner", fails: []string{"n1"}, want: "n3"},
		{name: "it fails on two", fails: []string{"n1", "n2"}, want: "n3"},
		{name: "it fails on all", fails: []string{"n1", "n2", "n3"}, want: "n1"},
		{name: "it fails on all that have endpoints", local: true, fails: []string{"n1", "n2"}, want: "n1"},
		{name: "it fails on one that has endpoints", local: true, fails: []string{"n1"}, want: "n2"},
		{name: "it fails on all, and is to be withdrawn", withdraw: true, fails: []string{"n1", "n2", "n3"}},
		{name: "no verdict on the owner", open: []string{"n1"}, want: "n3"},
		{name: "the owner was restarted", started: []string{"n1"}, want: "n3"},
		{name: "it fails on the owner, and the next was restarted", fails: []string{"n1"}, started: []string{"n3"}, want: "n2"},
		{name: "it fails on the owner, and no other has a verdict", fails: []string{"n1"}, open: []string{"n2"}, started: []string{"n3"}, want: "n1"},
		{name: "all have just started", started: []string{"n1", "n2", "n3"}, want: "n1"},
		{name: "all have just started, and it is to be withdrawn", withdraw: true, started: []string{"n1", "n2", "n3"}, want: "n1"},
		{name: "it fails on the owner, is to be withdrawn, and no other has a verdict", withdraw: true, fails: []string{"n1"}, started: []string{"n2", "n3"}, want: "n3"},
		{name: "it fails, and there is no gossip", disabled: true, fails: []string{"n1"}, want: "n1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, m := announcetest.Layer2Cluster(t)
			announcetest.AddService(&s, "a", tt.local, []string{addr}, "n1", "n2")
			p := probe
			p.Withdraw = tt.withdraw
			s.Config.L2Advertisements[0].Probe = p
			id := announce.ProbeID{ServiceAddr: announce.ServiceAddr{Service: "ns/a", Addr: netip.MustParseAddr(addr)}, Probe: p}
			m.Disabled = tt.disabled
			for i := range m.Members {
				if slices.Contains(tt.fails, m.Members[i].Node) {
					m.Members[i].Faults = []announce.Fault{id.Fault()}
				}
				if slices.Contains(tt.open, m.Members[i].Node) {
					m.Members[i].Faults = []announce.Fault{{Addr: id.Addr, Digest: id.Fault().Digest, Unknown: true}}
				}
				m.Members[i].Unjudged = slices.Contains(tt.started, m.Members[i].Node)
			}
			for _, n := range s.Nodes {
				fails := slices.Contains(tt.fails, n.Name)
				var opts announce.Options
				if fails {
					opts.Readiness.Failing = map[announce.ProbeID]string{id: "refused"}
				}
				d := announce.Layer2(s, n.Name, m, opts)
				if got := d.Owners[id.Addr]; got != tt.want {
					t.Errorf("%s elects %q, want %q", n.Name, got, tt.want)
				}
				got := d.Decisions[0]
				switch {
				case got.Announce != (n.Name == tt.want) || (len(d.Announce) == 1) != got.Announce:
					t.Errorf("%s: %+v", n.Name, got)
				case fails && !got.Announce && (tt.withdraw || len(tt.fails) < 3) && !tt.disabled && !(tt.local && len(tt.fails) == 2):
					if got.Reason != status.ProbeFailed || !strings.HasPrefix(got.Detail, `the probe of advertisement "web" fails: refused`) {
						t.Errorf("%s: %+v", n.Name, got)
					}
				case fails && got.Announce && !tt.disabled && !strings.HasPrefix(got.Detail, "the probe fails, but"):
					t.Errorf("%s: %+v", n.Name, got)
				case len(d.NoInterface) > 0:
					t.Errorf("%s: no interface for %v", n.Name, d.NoInterface)
				}
			}
		})
	}
}
