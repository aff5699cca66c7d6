// SPDX-License-Identifier: Apache-2.0

package node

import (
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/l2"
	"github.com/heraldlb/herald/l2/members"
	"github.com/heraldlb/herald/status"
)

// A claim names the node whose agent made it, if one is known, and when and where it was heard.
func TestClaimShown(t *testing.T) {
	l := New(Options{Node: "n1", Changed: func() {}, Logger: slog.New(slog.DiscardHandler)})
	at := time.Now()
	l.agents.learn(members.View{Members: []members.Member{{Name: "n2", State: members.State{MACs: []members.MAC{{2, 0, 0, 0, 0, 7}}}}}}, []*cluster.Node{{Name: "n2"}}, at)
	for _, tt := range []struct {
		mac  l2.MAC
		want status.Claim
	}{
		{l2.MAC{2, 0, 0, 0, 0, 7}, status.Claim{MAC: "02:00:00:00:00:07", Node: "n2", Interface: "eth0", At: at}},
		{l2.MAC{2, 0, 0, 0, 0, 9}, status.Claim{MAC: "02:00:00:00:00:09", Interface: "eth0", At: at}},
	} {
		if got := l.claim(l2.Claim{MAC: tt.mac, Interface: "eth0", At: at}); *got != tt.want {
			t.Errorf("%+v, want %+v", *got, tt.want)
		}
	}
}

// The members of a report are those of the view, each with what gossip knows of its agent.
func TestMembersShown(t *testing.T) {
	bind := netip.MustParseAddrPort("192.0.2.1:7946")
	l := New(Options{Node: "n2", Bind: bind, Version: "v1", Changed: func() {}, Logger: slog.New(slog.DiscardHandler)})
	got := l.membersOf(members.View{Members: []members.Member{
		{Name: "n1", Damped: true}, {Name: "n2", State: members.State{Leaving: true, Held: []netip.Addr{bind.Addr()}}},
	}})
	want := []status.Member{{Node: "n1", Damped: true}, {Node: "n2", Leaving: true, Held: 1, Address: bind, Version: "v1"}}
	if diff := cmp.Diff(want, got, values); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
}
