// SPDX-License-Identifier: Apache-2.0

package reconcile_test

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/announce/announcetest"
	"github.com/heraldlb/herald/cluster"
)

// A node that drains while no other session is up goes on announcing, says why, and
// withdraws once another node has sent the route, and routers have had time.
func TestAgentDrainsUnseen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newDrainScene(t)
		w.network.members[1].Sent = nil
		stop := runAgent(t, w.scene)
		defer stop()
		w.node(cluster.Drain{})
		asks := func(when string, want bool) {
			t.Helper()
			w.look(func() {
				if w.network.asks != want {
					t.Errorf("%s: it asks: %v", when, w.network.asks)
				}
			})
		}
		asks("a node that does not drain", false)
		w.node(cluster.Drain{Since: time.Now()})
		time.Sleep(time.Hour)
		w.is("no other session is up", true, true, true)
		asks("a node that drains", true)
		w.look(func() {
			if d := w.report.Decisions[0]; !d.Last || !strings.Contains(d.Detail, "no other node's session that carries it is up: n2") {
				t.Errorf("decision %+v", d)
			}
		})
		w.change(func() { w.network.members[1] = announcetest.Sends("n2", "peer1", "198.51.100.1") })
		time.Sleep(cluster.DefaultDrainHold - 2*time.Second)
		w.is("routers may not have followed", true, true, true)
		time.Sleep(2 * time.Second)
		w.is("routers have followed", false, false, true)

		w.change(func() { w.network.members[1].Sent = nil })
		w.is("the other session is down for a second", false, false, true)
		time.Sleep(3 * time.Second)
		w.is("the other session is down for long", true, true, true)
		w.node(cluster.Drain{})
		asks("a node that drains no more", false)
	})
}

// A route stays on a node that an advertisement no longer selects until another node
// has sent it; so it does if that never answers, but not for ever.
func TestAgentLeavesRoutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newDrainScene(t)
		w.network.members[1].Sent = nil
		stop := runAgent(t, w.scene)
		defer stop()
		w.node(cluster.Drain{})
		exclude := func(on bool) {
			w.change(func() {
				w.set(cluster.Drain{})
				w.snapshot.Nodes[0].Labels = map[string]string{}
				if on {
					w.snapshot.Nodes[0].Labels[announce.LabelExcludeNode] = ""
				}
			})
		}
		exclude(true)
		time.Sleep(4 * time.Minute)
		w.is("no other session is up", true, false, false)
		w.change(func() { w.network.members[1] = announcetest.Sends("n2", "peer1", "198.51.100.1") })
		time.Sleep(time.Second)
		w.is("another has sent it", false, false, false)
		w.look(func() {
			if w.network.asks {
				t.Error("it asks though it has left all")
			}
		})
		exclude(false)
		w.change(func() { w.network.members[1] = announce.Member{Node: "n2"} })
		exclude(true)
		time.Sleep(4 * time.Minute)
		w.is("the other does not answer", true, false, false)
		time.Sleep(time.Minute)
		w.is("the other never answered", false, false, false)
	})
}

// An agent says what it has sent, while others ask.
func TestAgentTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newDrainScene(t)
		stop := runAgent(t, w.scene)
		defer stop()
		w.node(cluster.Drain{})
		w.look(func() {
			if w.network.told != nil {
				t.Errorf("told %v though nobody asks", w.network.told)
			}
		})
		addr := netip.MustParseAddr("198.51.100.1")
		says := func(when string, want []announce.Sent) {
			t.Helper()
			w.look(func() {
				if diff := cmp.Diff(want, w.network.told, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
					t.Errorf("%s: told (-want +got):\n%s", when, diff)
				}
			})
		}
		w.mu.Lock()
		w.network.asked = true
		w.mu.Unlock()
		w.wake()
		time.Sleep(5 * time.Millisecond)
		says("before a look at what was sent", nil)
		settle()
		says("asked", []announce.Sent{{Peers: []string{"peer1"}, Runs: [][2]netip.Addr{{addr, addr}}}})
		w.change(func() { w.snapshot.Endpoints = nil })
		says("without endpoints", nil)
	})
}

// An agent that starts on a node that was drained long ago waits for what the others
// have sent, but not for ever: agents of the version before do not say.
func TestAgentStartsDrainedUnanswered(t *testing.T) {
	for _, answers := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w := newDrainScene(t)
			w.network.members[1].Answered = false
			w.set(cluster.Drain{Since: time.Now().Add(-time.Hour)})
			stop := runAgentOn(t, w.scene)
			defer stop()
			time.Sleep(9 * time.Second)
			w.look(func() {
				if w.conf != nil {
					t.Errorf("at first FRR is told:\n%s", w.conf)
				}
			})
			if answers {
				w.change(func() { w.network.members[1].Answered = true })
				w.is("the other has answered", false, false, true)
				return
			}
			time.Sleep(2 * time.Second)
			w.is("the other does not answer", true, true, true)
		})
	}
}

// An agent that stops says how much of what it announces others are able to announce
// and were not seen to.
func TestAgentAlone(t *testing.T) {
	for _, tt := range []struct {
		name   string
		others []announce.Member
		last   int
	}{
		{"another has sent the route", []announce.Member{announcetest.Sends("n2", "peer1", "198.51.100.1")}, 0},
		{"another has not", []announce.Member{announcetest.Sends("n2", "peer1")}, 1},
		{"there is no other", nil, 0},
		{"the other stops as well", []announce.Member{{Node: "n2", Leaving: true}}, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newDrainScene(t)
			w.network.members = append([]announce.Member{{Node: "n1"}}, tt.others...)
			stop := runAgent(t, w.scene)
			defer stop()
			w.node(cluster.Drain{})
			w.look(func() {
				if w.network.alone != nil {
					t.Errorf("%s: says %v before it stops", tt.name, w.network.alone)
				}
			})
			w.change(func() { w.network.leaving = true })
			w.is(tt.name, true, false, false)
			w.look(func() {
				if n := len(w.network.alone); n == 0 || w.network.alone[n-1] != tt.last {
					t.Errorf("%s: says %v, want %d at last", tt.name, w.network.alone, tt.last)
				}
			})
		})
	}
}
