// SPDX-License-Identifier: Apache-2.0

package page

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/topology"
)

// sample returns a Herald of two nodes and a Service.
func sample() topology.Topology {
	at := time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)
	return topology.Topology{
		At: at, Config: topology.Config{Loaded: true, Source: "resources", Version: "1"},
		Controllers: []topology.Controller{{Pod: "c1", Leading: true}, {Pod: "c2"}},
		Pools:       []topology.Pool{{Pool: status.Pool{Name: "web"}, Addresses: []string{"192.0.2.0/24"}}},
		Peers:       []topology.Peer{{Name: "tor", Sessions: []topology.Session{{Node: "n1", From: topology.FromObjects, Wanted: true, Up: true, Since: at}}}},
		Nodes:       []topology.Node{{Name: "n1", Agent: topology.Agent{Running: true}}, {Name: "n2", Agent: topology.Agent{Running: true}}},
		Services: []topology.Service{{
			Name: "shop/web", State: topology.StateAnnounced, Addresses: []topology.Address{{Addr: netip.MustParseAddr("192.0.2.1")}},
			Announcers: []topology.Announcer{{Node: "n1", Protocol: status.Layer2}},
		}},
	}
}

func TestCompare(t *testing.T) {
	later := func(t *topology.Topology, d time.Duration) time.Time {
		t.At = t.At.Add(d)
		return t.At
	}
	tests := []struct {
		name   string
		change func(*topology.Topology)
		want   string
	}{
		{"nothing", func(*topology.Topology) {}, ""},
		{"the leader", func(t *topology.Topology) { t.Controllers[0].Leading, t.Controllers[1].Leading = false, true }, `controller "" leader: c1 -> c2`},
		{"a version", func(t *topology.Topology) { t.Config.Version = "2" }, `configuration "" version in force: 1 -> 2`},
		{"an error", func(t *topology.Topology) { t.Config.Error = "overlap" }, `configuration "" error:  -> overlap bad`},
		{"a pool is switched", func(t *topology.Topology) {
			t.Pools[0].Addresses = []string{"198.51.100.0/24"}
			t.Services[0].Addresses[0].Addr = netip.MustParseAddr("198.51.100.1")
		}, "pool \"web\" addresses: 192.0.2.0/24 -> 198.51.100.0/24\nservice \"shop/web\" addresses: 192.0.2.1 -> 198.51.100.1"},
		{"a pool goes", func(t *topology.Topology) { t.Pools = nil }, `pool "web" pool: in force -> gone`},
		{"a session goes down", func(t *topology.Topology) {
			s := &t.Peers[0].Sessions[0]
			s.Up, s.Since, s.Message = false, later(t, time.Minute), "hold timer"
		}, `session "n1 → tor" session: up -> down (hold timer) bad`},
		{"a session is not known any more", func(t *topology.Topology) {
			s := &t.Peers[0].Sessions[0]
			s.Up, s.From = false, topology.FromRules
		}, `session "n1 → tor" session: up -> not known`},
		{"an agent ends", func(t *topology.Topology) { t.Nodes[1].Agent = topology.Agent{Absence: "OOMKilled"} }, `node "n2" agent: running -> not running (OOMKilled) bad`},
		{"a node goes", func(t *topology.Topology) { t.Nodes = t.Nodes[:1] }, `node "n2" node: there -> gone bad`},
		{"the owner changes", func(t *topology.Topology) { t.Services[0].Announcers[0].Node = "n2" }, `service "shop/web" announced by layer2 from: n1 -> n2`},
		{"a Service is not announced", func(t *topology.Topology) {
			t.Services[0].State, t.Services[0].Announcers = topology.StateNotAnnounced, nil
			t.Services[0].Announced.Message = "no endpoint"
		}, "service \"shop/web\" state: Announced -> NotAnnounced (no endpoint) bad\nservice \"shop/web\" announced by layer2 from: n1 -> "},
		{"many Services come", func(t *topology.Topology) {
			for i := range 300 {
				t.Services = append(t.Services, topology.Service{Name: fmt.Sprintf("z/%d", i), State: topology.StateNoAddress})
			}
		}, `service "z/0 and 299 others" Service:  -> NoAddress`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			now := sample()
			tt.change(&now)
			var got []string
			for _, c := range compare(sample(), now, map[string]time.Time{}) {
				line := fmt.Sprintf("%s %q %s: %s -> %s", c.Kind, c.Subject, c.What, c.Before, c.After)
				if c.Reason != "" {
					line += " (" + c.Reason + ")"
				}
				if c.Bad {
					line += " bad"
				}
				got = append(got, line)
			}
			if diff := cmp.Diff(tt.want, strings.Join(got, "\n")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// How long something did not work is measured, by the session's own times where they are
// known.
func TestCompareTook(t *testing.T) {
	failing := map[string]time.Time{}
	down, up := sample(), sample()
	down.Services[0].State, down.Peers[0].Sessions[0].Up = topology.StateNotAnnounced, false
	down.At, down.Peers[0].Sessions[0].Since = down.At.Add(time.Second), down.At.Add(800*time.Millisecond)
	up.At, up.Peers[0].Sessions[0].Since = down.At.Add(3*time.Second), down.At.Add(2500*time.Millisecond)
	compare(sample(), down, failing)
	took := map[string]float64{}
	for _, c := range compare(down, up, failing) {
		took[c.Kind] = c.Took
	}
	if took["service"] != 3 || took["session"] != 2.7 {
		t.Errorf("took %v", took)
	}
	if len(failing) > 0 {
		t.Errorf("%v still fail", failing)
	}
}

func TestChangeJSON(t *testing.T) {
	text, err := json.Marshal(Change{Seq: 1, At: sample().At, Kind: "k", What: "w"})
	if want := `{"seq":1,"at":"2026-01-02T03:00:00Z","kind":"k","subject":"","what":"w"}`; err != nil || string(text) != want {
		t.Errorf("%s, want %s", text, want)
	}
}
