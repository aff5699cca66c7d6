// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/handover"
	"github.com/heraldlb/herald/render"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/table"
)

// A waitStep is a pass.
type waitStep struct {
	at       time.Duration
	routes   string // to be announced; words with spaces between them
	sent     string // to a router
	owns     string // addresses to answer for
	standby  string // those of another node
	answered string
	members  announce.Membership
	want     []string
}

func TestAnnouncementWaits(t *testing.T) {
	addr := netip.MustParseAddr("198.51.100.1")
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	lost := func(at time.Duration, held ...netip.Addr) []announce.Member {
		return []announce.Member{{Node: "n2", Held: held, Lost: start.Add(at)}}
	}
	tests := []struct {
		name  string
		steps []waitStep
	}{
		{"what the agent finds is not measured", []waitStep{
			{at: 0, routes: "192.0.2.1/32", owns: "198.51.100.1"},
			{at: time.Second, routes: "192.0.2.1/32", sent: "192.0.2.1/32", owns: "198.51.100.1", answered: "198.51.100.1"},
		}},
		{"routes", []waitStep{
			{at: 0},
			{at: time.Second, routes: "192.0.2.1/32 192.0.2.2/32 192.0.2.3/32"},
			{at: 2 * time.Second, routes: "192.0.2.1/32 192.0.2.2/32", sent: "192.0.2.1/32", want: []string{"confirm-bgp 192.0.2.1/32 1s"}},
			{at: 5 * time.Second, routes: "192.0.2.1/32 192.0.2.2/32", sent: "192.0.2.1/32 192.0.2.2/32 192.0.2.3/32", want: []string{"confirm-bgp 192.0.2.2/32 4s"}},
			{at: 6 * time.Second, routes: "192.0.2.1/32 192.0.2.2/32"},
			{at: 7 * time.Second, routes: "192.0.2.1/32 192.0.2.2/32", sent: "192.0.2.1/32"}, // the session was down: that is another measure
		}},
		{"an address", []waitStep{
			{at: 0, standby: "198.51.100.1"},
			{at: time.Second, owns: "198.51.100.1", members: announce.Membership{Departed: []announce.Member{{Node: "n2", Held: []netip.Addr{addr}}}}},
			{at: 1100 * time.Millisecond, owns: "198.51.100.1", answered: "198.51.100.1", want: []string{"confirm-layer2 198.51.100.1 100ms"}},
		}},
		{"an address of a node that is lost", []waitStep{
			{at: 0, standby: "198.51.100.1"},
			{at: time.Second, owns: "198.51.100.1", members: announce.Membership{Departed: lost(900*time.Millisecond, addr)}},
			{at: 1100 * time.Millisecond, owns: "198.51.100.1", answered: "198.51.100.1",
				want: []string{"confirm-layer2 198.51.100.1 100ms", "failover 198.51.100.1 200ms"}},
		}},
		{"of a node that was lost long ago", []waitStep{
			{at: 0},
			{at: time.Hour, owns: "198.51.100.1", members: announce.Membership{Departed: lost(time.Second, addr)}},
			{at: time.Hour + time.Second, owns: "198.51.100.1", answered: "198.51.100.1", want: []string{"confirm-layer2 198.51.100.1 1s"}},
		}},
		{"of a node that is lost, and that another one has taken over", []waitStep{
			{at: 0},
			{at: time.Second, owns: "198.51.100.1", members: announce.Membership{
				Members: []announce.Member{{Node: "n3", Held: []netip.Addr{addr}}}, Departed: lost(0, addr),
			}},
			{at: 2 * time.Second, owns: "198.51.100.1", answered: "198.51.100.1", want: []string{"confirm-layer2 198.51.100.1 1s"}},
		}},
		{"given up before", []waitStep{
			{at: 0},
			{at: time.Second, owns: "198.51.100.1"},
			{at: 2 * time.Second, standby: "198.51.100.1"},
			{at: 3 * time.Second, standby: "198.51.100.1", answered: "198.51.100.1"},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var w announcementWaits
			for _, s := range tt.steps {
				var took []string
				now := announced{networks: routesOf(s.routes, &render.Class{}), sent: routesOf(s.sent, []status.PeerID{{}}),
					answers: answersOf(s.owns, s.standby), answered: addrsOf(s.answered, []string{"eth0"})}
				w.next(now, s.members, start.Add(s.at), func(span status.Span, subject string, d time.Duration) {
					took = append(took, fmt.Sprintf("%s %s %s", span, subject, d))
				})
				if diff := cmp.Diff(s.want, took); diff != "" {
					t.Errorf("after %v (-want +got):\n%s", s.at, diff)
				}
			}
			if len(w.addrs) > 0 {
				t.Errorf("it waits for %v", slices.Collect(maps.Keys(w.addrs)))
			}
		})
	}
}

// routesOf and addrsOf return tables in which all keys have the same value.
func routesOf[V any](words string, v V) table.Table[netip.Prefix, V] {
	all := map[netip.Prefix]V{}
	for _, word := range strings.Fields(words) {
		all[netip.MustParsePrefix(word)] = v
	}
	return table.Of(maps.All(all))
}

func addrsOf[V any](words string, v V) table.Table[netip.Addr, V] {
	all := map[netip.Addr]V{}
	for _, word := range strings.Fields(words) {
		all[netip.MustParseAddr(word)] = v
	}
	return table.Of(maps.All(all))
}

// answersOf returns what a node is to answer for: as the owner, and instead of it.
func answersOf(owns, standby string) handover.Answers {
	out := addrsOf(owns, &handover.Answer{}).Edit()
	for addr, a := range addrsOf(standby, &handover.Answer{Standby: true}).All() {
		out.Set(addr, a)
	}
	return out.Table()
}
