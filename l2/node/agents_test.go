// SPDX-License-Identifier: Apache-2.0

package node

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/l2"
	"github.com/heraldlb/herald/l2/members"
)

func mac(b byte) l2.MAC { return l2.MAC{2, 0, 0, 0, 0, b} }

func member(name string, macs ...byte) members.Member {
	m := members.Member{Name: name}
	for _, b := range macs {
		m.MACs = append(m.MACs, members.MAC(mac(b)))
	}
	return m
}

func named(names ...string) (out []*cluster.Node) {
	for _, name := range names {
		out = append(out, &cluster.Node{Name: name})
	}
	return out
}

// Hardware addresses of agents are remembered when the agents are gone, and belong to
// the agent that is alive where two had the same. Those of Nodes that the cluster does
// not have any more are forgotten, and so are those that a node has replaced.
func TestAgents(t *testing.T) {
	var a agents
	if got := a.node(mac(1)); got != "" {
		t.Errorf("before any was seen, an agent is on %q", got)
	}
	a.learn(members.View{Members: []members.Member{member("n1", 1), member("n2", 2, 3)}}, named("n1", "n2", "n4"), time.Now())
	a.learn(members.View{Members: []members.Member{member("n1", 1), member("n4", 3)}, Departed: []members.Member{member("n2", 2, 3)}}, named("n1", "n2", "n4"), time.Now())
	a.learn(members.View{Members: []members.Member{member("n1", 1)}}, named("n1", "n2", "n4"), time.Now())
	for b, want := range map[byte]string{1: "n1", 2: "n2", 3: "n4", 5: ""} {
		if got := a.node(mac(b)); got != want {
			t.Errorf("%v is on %q, want %q", mac(b), got, want)
		}
	}
	others, _ := a.except("n1")
	slices.SortFunc(others, func(a, b l2.MAC) int { return slices.Compare(a[:], b[:]) })
	if diff := cmp.Diff([]l2.MAC{mac(2), mac(3)}, others); diff != "" {
		t.Errorf("all but n1 (-want +got):\n%s", diff)
	}

	a.learn(members.View{Members: []members.Member{member("n1", 6), {Name: "n4"}}}, named("n1", "n4"), time.Now())
	for b, want := range map[byte]string{1: "", 2: "", 3: "n4", 6: "n1"} {
		if got := a.node(mac(b)); got != want {
			t.Errorf("later %v is on %q, want %q", mac(b), got, want)
		}
	}
}

// Only the agent of a Node that may have come back can prove that it lives.
func TestAgentsThatMayRun(t *testing.T) {
	start := time.Now()
	nodes := named("alive", "crashed", "drained", "left", "old", "talks")
	nodes[2].Drain = cluster.Drain{Since: start}
	left := member("left", 4)
	left.Leaving = true
	var a agents
	a.learn(members.View{Departed: []members.Member{member("old", 5), member("talks", 6)}}, nodes, start.Add(-lostAge))
	v := members.View{
		Generation: 1, Members: []members.Member{member("alive", 1)},
		Departed: []members.Member{member("crashed", 2), member("drained", 3), left, member("old", 5), member("talks", 6), member("removed", 7)},
	}
	a.learn(v, nodes, start)
	got := a.mayRun(nodes, map[l2.MAC]bool{mac(6): true}, start)
	slices.SortFunc(got, func(a, b l2.MAC) int { return slices.Compare(a[:], b[:]) })
	if diff := cmp.Diff([]l2.MAC{mac(2), mac(6)}, got); diff != "" {
		t.Errorf("those that may run (-want +got):\n%s", diff)
	}
	v = members.View{Generation: 2, Members: []members.Member{member("crashed", 2)}}
	a.learn(v, nodes, start)
	if got := a.mayRun(nodes, nil, start); len(got) != 0 {
		t.Errorf("%v may run, and gossip has lost nobody", got)
	}
}

// BenchmarkAgents measures what a pass does that finds gossip as it was, and one after
// another agent has answered for something.
func BenchmarkAgents(b *testing.B) {
	for _, size := range []int{100, 1000, 5000} {
		v, nodes := members.View{}, []*cluster.Node(nil)
		for i := range size {
			name := fmt.Sprintf("node-%04d", i)
			nodes = append(nodes, &cluster.Node{Name: name})
			v.Members = append(v.Members, members.Member{Name: name, State: members.State{MACs: []members.MAC{{2, 0, 0, 0, byte(i >> 8), byte(i)}}}})
		}
		for _, changes := range []bool{false, true} {
			b.Run(fmt.Sprintf("%d/changes=%t", size, changes), func(b *testing.B) {
				var a agents
				a.learn(v, nodes, time.Now())
				for b.Loop() {
					if changes {
						v.Generation++
					}
					a.learn(v, nodes, time.Now())
				}
			})
		}
	}
}
