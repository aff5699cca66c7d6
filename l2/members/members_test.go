// SPDX-License-Identifier: Apache-2.0

package members_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/l2/members"
)

func TestJoinCrashAndReturn(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3)
		a := c.startAll()

		c.wires.part(1, c.addr(2)) // its cable is pulled
		for _, s := range a[:2] {
			s.await("the third dead", alive("n01", "n02"))
		}
		a[2].await("the third alone", alive("n03"))
		if a[2].Stale() {
			t.Error("an agent that lost all others does not go on")
		}

		c.wires.part(0, c.addr(2))
		for _, s := range a {
			s.await("all alive again", alive("n01", "n02", "n03"))
		}
	})
}

// An agent that was cut off still says that the others are dead when it is back. They deny
// it, and nobody counts them as dead meanwhile.
func TestReturnHarmsNobody(t *testing.T) {
	for _, cut := range []time.Duration{time.Second, 1450 * time.Millisecond, 1600 * time.Millisecond, 1750 * time.Millisecond, 1900 * time.Millisecond, 30 * time.Second} {
		t.Run(cut.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				c := newCluster(t, 4)
				a := c.startAll()
				c.wires.part(1, c.addr(3))
				time.Sleep(cut)
				c.wires.part(0, c.addr(3))
				for range 1000 {
					time.Sleep(5 * time.Millisecond)
					for i, s := range a[:3] {
						if v := s.View().Alive(); len(v) < 3 || v[2] != "n03" {
							t.Fatalf("agent %d sees %v", i+1, v)
						}
					}
				}
				a[0].await("all", alive("n01", "n02", "n03", "n04"))
			})
		})
	}
}

func TestPartitionAndHeal(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 5)
		a := c.startAll()
		held := netip.MustParseAddr("192.0.2.1")
		a[0].Publish(members.State{Held: []netip.Addr{held}})
		for _, s := range a {
			s.await("the address held", func(v members.View) bool { return len(v.Held()[held]) == 1 })
		}

		c.wires.part(1, c.addr(3), c.addr(4))
		for _, s := range a[:3] {
			s.await("the larger side by itself", alive("n01", "n02", "n03"))
		}
		for _, s := range a[3:] {
			v := s.await("the smaller side by itself", alive("n04", "n05"))
			if got := v.Held()[held]; got != nil {
				t.Errorf("the smaller side thinks that %v holds the address", got)
			}
			if len(v.Departed) == 0 || !cmp.Equal(v.Departed[0].Held, []netip.Addr{held}, addrs) {
				t.Errorf("the smaller side has forgotten who held the address: %+v", v.Departed)
			}
		}
		a[4].Publish(members.State{Held: []netip.Addr{held}})

		c.wires.part(0, c.addr(3), c.addr(4))
		for _, s := range a {
			s.await("both holders of the address", func(v members.View) bool {
				return len(v.Members) == 5 && slices.Equal(v.Held()[held], []string{"n01", "n05"})
			})
		}
		a[4].Publish(members.State{})
		for _, s := range a {
			s.await("one holder of the address", func(v members.View) bool {
				return slices.Equal(v.Held()[held], []string{"n01"})
			})
		}
	})
}

func TestPublishedStateReachesAll(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3)
		a := c.startAll()
		want := members.State{Interfaces: []string{"eth0", "eth1"}, MACs: []members.MAC{{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}}}
		for i := range 700 { // several packets
			want.Held = append(want.Held, netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))
		}
		want.Held = append(want.Held, netip.MustParseAddr("2001:db8::1"))
		a[0].Publish(want)
		for _, s := range a {
			s.await("the state", func(v members.View) bool { return cmp.Equal(want, v.Members[0].State, addrs) })
		}

		want = members.State{Leaving: true, Interfaces: []string{"eth1"}, MACs: want.MACs[1:], Held: want.Held[:1]}
		a[0].Publish(want)
		for _, s := range a {
			s.await("the next state", func(v members.View) bool { return cmp.Equal(want, v.Members[0].State, addrs) })
		}
		before := a[0].View().Generation
		a[0].Publish(want)
		if after := a[0].View().Generation; after != before {
			t.Errorf("the same state again is generation %d, was %d", after, before)
		}
	})
}

var addrs = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

func TestPlannedStop(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3)
		a := c.startAll()
		for range 4 { // a crash as often would be damped
			if err := a[2].stop(); err != nil {
				t.Fatal(err)
			}
			for _, s := range a[:2] {
				s.await("the third gone", alive("n01", "n02"))
			}
			a[2] = c.start(2)
			for _, s := range a {
				v := s.await("the third back", alive("n01", "n02", "n03"))
				if m := v.Members[2]; m.Damped || m.Leaving {
					t.Fatalf("after a planned stop the third is %+v", m)
				}
			}
		}
	})
}

// A node that flaps is damped at about its third return: where its stale gossip makes others
// look dead for a moment, a return counts twice or not at all. TestDamping has the exact rule.
func TestFlappingNodeIsDamped(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 4)
		a := c.startAll()
		damped := func(s *agent) bool { v := s.View(); return len(v.Members) == 4 && v.Members[3].Damped }
		for i := 0; !damped(a[0]); i++ {
			if i == 8 {
				t.Fatalf("not damped after %d returns", i)
			}
			c.wires.part(1, c.addr(3))
			for _, s := range a[:3] {
				s.await("the fourth dead", alive("n01", "n02", "n03"))
			}
			a[3].await("the fourth alone", alive("n04"))
			c.wires.part(0, c.addr(3))
			for _, s := range a {
				s.await("the fourth back", alive("n01", "n02", "n03", "n04"))
			}
			time.Sleep(time.Second) // it and the others learn that it is damped
			if damped(a[0]) && i == 0 {
				t.Fatal("damped after one return")
			}
		}
		for i, s := range a {
			if !damped(s) {
				t.Errorf("%s does not know: %+v", c.name(i), s.View())
			}
		}
	})
}

func TestWrongKeyIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3)
		var out logged
		first := c.start(0, func(o *members.Options) { o.Logger = out.logger() })
		second := c.start(1)
		c.start(2, func(o *members.Options) { o.Keys = [][]byte{members.Key("another secret")} })
		first.await("the agent with the same key", alive("n01", "n02"))
		second.await("the agent with the same key", alive("n01", "n02"))
		out.await(t, "the agents need the same secret")
		if diff := cmp.Diff([]string{"n01", "n02"}, first.View().Alive()); diff != "" {
			t.Errorf("alive (-want +got):\n%s", diff)
		}
	})
}

func TestKey(t *testing.T) {
	for _, secret := range []string{"", "x", strings.Repeat("long", 40)} {
		if n := len(members.Key(secret)); n != 32 {
			t.Errorf("the key of %q has %d bytes", secret, n)
		}
	}
	// The first bytes of the secret alone are not the key.
	same := strings.Repeat("s", 32)
	if cmp.Equal(members.Key(same+"a"), members.Key(same+"b")) {
		t.Error("two secrets with the same beginning have one key")
	}
}

// Until another agent has answered, or none does, an agent must not take all addresses.
func TestStaleUntilHeard(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 2)
		first := c.start(0) // the other one does not run
		first.await("alone after trying", func(v members.View) bool { return !v.Stale && len(v.Members) == 1 })

		second := members.New(c.options(1))
		if !second.Stale() || !second.View().Stale {
			t.Error("an agent that knows no peers yet is not stale")
		}
	})
}

// A gap in an agent's own time, as after SIGSTOP, shows from the first instant after it.
// Other nodes do not rely on the agent's addresses until it publishes them again.
func TestGap(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3)
		var skipped atomic.Int64
		start := time.Now()
		clock := func() time.Duration { return time.Since(start) + time.Minute + time.Duration(skipped.Load()) }
		first := c.start(0, func(o *members.Options) { *o = members.WithClock(*o, clock) })
		second, third := c.start(1), c.start(2)
		held := netip.MustParseAddr("192.0.2.1")
		holds := func(v members.View) bool { return len(v.Held()[held]) == 1 }
		for _, s := range []*agent{first, second, third} {
			s.await("all", alive("n01", "n02", "n03"))
		}
		first.await("fresh", func(v members.View) bool { return !v.Stale })
		first.Publish(members.State{Held: []netip.Addr{held}})
		second.await("the address held", holds)

		skipped.Add(int64(2 * time.Second))
		if !first.Stale() {
			t.Error("a gap of 2 s does not show at once")
		}
		v := first.await("the gap over", func(v members.View) bool { return v.Gaps == 1 && !v.Stale })
		if len(v.Members) != 3 {
			t.Errorf("after the gap the view is %+v", v)
		}
		for _, s := range []*agent{second, third} {
			s.await("the address not held", func(v members.View) bool { return !holds(v) })
		}
		first.Publish(members.State{})
		first.Publish(members.State{Held: []netip.Addr{held}})
		for _, s := range []*agent{second, third} {
			s.await("the address held again", holds)
		}
	})
}

// A restarted process whose clock was set back is believed nevertheless.
func TestClockSetBack(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 2)
		a := c.startAll()
		a[1].Publish(members.State{Interfaces: []string{"old"}})
		a[0].await("the old process", func(v members.View) bool { return slices.Equal(v.Members[1].Interfaces, []string{"old"}) })
		if err := a[1].stop(); err != nil {
			t.Fatal(err)
		}
		a[0].await("it gone", alive("n01"))

		opts := c.options(1)
		again := &agent{tb: t, changed: make(chan struct{}, 1), List: members.New(opts)}
		members.SetEpoch(again.List, 1)
		again.SetNodes(c.nodes())
		again.Publish(members.State{Interfaces: []string{"new"}})
		var wg sync.WaitGroup
		wg.Go(func() { _ = again.Run(t.Context()) })
		a[0].await("the new process", func(v members.View) bool {
			return len(v.Members) == 2 && slices.Equal(v.Members[1].Interfaces, []string{"new"})
		})
		t.Cleanup(wg.Wait)
	})
}

func TestParseProfile(t *testing.T) {
	for _, name := range []string{"fast", "normal", "wan"} {
		if p, err := members.ParseProfile(name); err != nil || string(p) != name {
			t.Errorf("%s: %q, %v", name, p, err)
		}
	}
	if _, err := members.ParseProfile("slow"); err == nil || !strings.Contains(err.Error(), `"slow": want fast, normal or wan`) {
		t.Errorf("slow: %v", err)
	}
}

func TestRunWithoutAddress(t *testing.T) {
	l := members.New(members.Options{Node: "n1", Bind: netip.MustParseAddrPort("192.0.2.1:7946")})
	err := l.Run(t.Context())
	if err == nil || !strings.HasPrefix(err.Error(), "gossip on 192.0.2.1:7946: ") {
		t.Errorf("got %v", err)
	}
}

// BenchmarkDetect cuts off one agent, and measures the time until the first and until all
// of the others declare it dead. One op is one crash.
func BenchmarkDetect(b *testing.B) {
	for _, size := range []int{3, 10, 30} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			var first, all []time.Duration
			for b.Loop() {
				b.StopTimer()
				c := newCluster(b, size)
				a := c.startAll()
				// At any moment of the agents' timers, which began together.
				<-time.After(rand.N(300 * time.Millisecond))
				b.StartTimer()
				start := time.Now()
				c.wires.part(1, c.addr(size-1))
				times := make([]time.Duration, size-1)
				var wg sync.WaitGroup
				for i, s := range a[:size-1] {
					wg.Go(func() {
						for len(s.View().Members) == size {
							<-s.changed
						}
						times[i] = time.Since(start)
					})
				}
				wg.Wait()
				b.StopTimer()
				first, all = append(first, slices.Min(times)), append(all, slices.Max(times))
				for _, s := range a {
					if err := s.stop(); err != nil {
						b.Fatal(err)
					}
				}
				b.StartTimer()
			}
			slices.Sort(first)
			slices.Sort(all)
			ms := func(d time.Duration) float64 { return float64(d.Milliseconds()) }
			b.ReportMetric(ms(first[len(first)/2]), "ms-first-median")
			b.ReportMetric(ms(all[len(all)/2]), "ms-all-median")
			b.ReportMetric(ms(all[len(all)-1]), "ms-all-max")
		})
	}
}
