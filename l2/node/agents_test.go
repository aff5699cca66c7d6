// SPDX-License-Identifier: Apache-2.0

package node

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/l2"
	"github.com/heraldlb/herald/l2/members"
)

// Hardware addresses of agents are remembered when the agents are gone, and belong to
// the agent that is alive where two had the same.
func TestAgents(t *testing.T) {
	mac := func(b byte) l2.MAC { return l2.MAC{2, 0, 0, 0, 0, b} }
	member := func(name string, macs ...byte) members.Member {
		m := members.Member{Name: name}
		for _, b := range macs {
			m.MACs = append(m.MACs, members.MAC(mac(b)))
		}
		return m
	}
	var a agents
	if got := a.node(mac(1)); got != "" {
		t.Errorf("before any was seen, an agent is on %q", got)
	}
	a.learn(members.View{Members: []members.Member{member("n1", 1), member("n2", 2, 3)}})
	a.learn(members.View{Members: []members.Member{member("n1", 1), member("n4", 3)}, Departed: []members.Member{member("n2", 2, 3)}})
	a.learn(members.View{Members: []members.Member{member("n1", 1)}})
	for b, want := range map[byte]string{1: "n1", 2: "n2", 3: "n4", 5: ""} {
		if got := a.node(mac(b)); got != want {
			t.Errorf("%v is on %q, want %q", mac(b), got, want)
		}
	}
	others := a.except("n1")
	slices.SortFunc(others, func(a, b l2.MAC) int { return slices.Compare(a[:], b[:]) })
	if diff := cmp.Diff([]l2.MAC{mac(2), mac(3)}, others); diff != "" {
		t.Errorf("all but n1 (-want +got):\n%s", diff)
	}
}
