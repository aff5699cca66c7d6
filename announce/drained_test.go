// SPDX-License-Identifier: Apache-2.0

package announce_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/announce/announcetest"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/status"
)

func TestDrainageOf(t *testing.T) {
	// What a node that drains says of routes, and what it says on layer 2 when all
	// nodes drain, is what the drain is to end with.
	last := drained(t, true, func(s *cluster.Snapshot, _ *announce.Membership) {
		s.Nodes[1].Drain = cluster.Drain{Since: began.Add(-time.Minute)}
	}).Decisions
	s, m := announcetest.Layer2Cluster(t)
	announcetest.AddService(&s, "a", false, []string{"192.0.2.1"}, "n1", "n2", "n3")
	for _, n := range s.Nodes {
		n.Drain.Since = began
	}
	for _, n := range s.Nodes {
		last = append(last, announce.Layer2(s, n.Name, m, announce.Options{Layer2: true}).Decisions...)
	}
	asIs := func(*cluster.Snapshot, *announce.Membership) {}
	gone := drained(t, true, asIs).Decisions
	handing := []status.Decision{{Service: "ns/a", Addr: netip.MustParseAddr("192.0.2.9"), Protocol: status.Layer2, Announce: true, Reason: status.HandingOver}}
	hit := slices.Clone(last) // another host has the address, which is what its detail says
	hit[len(hit)-1].Detail, hit[0].Detail = "02:00:00:00:00:01 on eth0 has the address", "kept from a peer"
	unseen := slices.Clone(gone) // another node is able to announce it, but was not seen to
	unseen[0].Detail = "no answer yet from n2"
	was := &status.Drain{Wish: "2026-05-01T12:00:00Z", Over: true}
	tests := []struct {
		name      string
		decisions []status.Decision
		applied   bool
		drain     *status.Drain
		left      int
		last      bool
		over      bool
	}{
		{"all is gone", gone, true, was, 0, true, true},
		{"all is gone, but to nobody", unseen, true, was, 0, true, false},
		{"FRR has not done it yet", gone, false, was, 0, true, false},
		{"routers are asked", gone, true, &status.Drain{Wish: was.Wish}, 0, true, false},
		{"the last announcer", last, true, was, 2, true, true},
		{"the last announcer, with something else to say", hit, true, was, 2, true, true},
		{"who is alive is not known", drained(t, true, func(_ *cluster.Snapshot, m *announce.Membership) { m.Stale = true }).Decisions, true, was, 1, true, true},
		{"before the agent knows", drained(t, false, asIs).Decisions, true, nil, 1, false, false},
		{"of the drain before", gone, true, &status.Drain{Wish: "2026-05-01T12:00:00Z hold=1s", Over: true}, 0, true, false},
		{"handing over", append(handing, last...), true, was, 3, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := status.Report{Synced: true, Decisions: tt.decisions, FRR: &status.FRR{Applied: tt.applied}, Drain: tt.drain}
			got, over := announce.DrainProgressOf(r, cluster.Drain{Since: began})
			if len(got.Left) != tt.left || got.Last != tt.last || over != tt.over {
				t.Errorf("left %+v, all of it last: %v, over: %v; want %d, %v, %v", got.Left, got.Last, over, tt.left, tt.last, tt.over)
			}
		})
	}
}
