// SPDX-License-Identifier: Apache-2.0

package members_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heraldlb/herald/l2/members"
)

// address is one that an agent announces.
func address(i int) netip.Addr { return netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}) }

// announceAll has each agent announce an address, and waits until all know.
func announceAll(agents []*agent) {
	for i, a := range agents {
		a.Publish(members.State{Held: []netip.Addr{address(i)}})
	}
	for _, a := range agents {
		a.await("what all announce", func(v members.View) bool { return len(v.Held()) == len(agents) })
	}
	time.Sleep(2 * time.Second) // all are watched
}

// goneAfter cuts an agent off, and returns when each of these others knows.
func (c *cluster) goneAfter(i int, others []*agent) (out []time.Duration) {
	start := time.Now()
	c.wires.Part(i+1, c.addr(i))
	for len(out) < len(others) {
		time.Sleep(time.Millisecond)
		synctest.Wait()
		n := 0
		for _, a := range others {
			if !slices.Contains(a.View().Alive(), c.name(i)) {
				n++
			}
		}
		for range n - len(out) {
			out = append(out, time.Since(start))
		}
		if time.Since(start) > 20*time.Second {
			c.tb.Fatalf("%d agents know after 20 s", n)
		}
	}
	return out
}

// crowd is one more number of agents for TestDetection. 100 take half a minute.
var crowd = flag.Int("detection.agents", 0, "so many agents for TestDetection")

// An agent that announces addresses, and is cut off, is lost to all within 0.25 s, in a
// network that delays packets and loses some, also a moment after another one was back. The clock is virtual: the times do not depend
// on the machine.
func TestDetection(t *testing.T) {
	crashes := map[int]int{3: 20, 10: 5}
	if *crowd > 0 {
		crashes[*crowd] = 30
	}
	for size, n := range crashes {
		t.Run(fmt.Sprint(size), func(t *testing.T) { inBubble(t, func(t *testing.T) { detection(t, size, n) }) })
	}
}

func detection(t *testing.T, size, crashes int) {
	c := newCluster(t, size)
	random := rand.New(rand.NewPCG(1, 2))
	c.wires.Delay(func() time.Duration { return time.Duration(100+random.IntN(900)) * time.Microsecond })
	c.wires.Lose(func(_, _ netip.Addr) bool { return random.IntN(1000) == 0 })
	a := c.startAll(func(o *members.Options) { o.Logger = nil })
	announceAll(a)
	before := c.wires.Sent(c.addr(0))
	time.Sleep(2 * time.Second)
	after := c.wires.Sent(c.addr(0))
	t.Logf("%d agents: each sends %d packets and %d bytes a second", size, (after.Packets-before.Packets)/2, (after.Bytes-before.Bytes)/2)
	var first, all []time.Duration
	rest := a
	for n := range crashes {
		i := n / 2 % size
		time.Sleep(rand.N(200 * time.Millisecond))
		others := slices.DeleteFunc(slices.Clone(rest), func(o *agent) bool { return o == a[i] })
		times := c.goneAfter(i, others)
		first, all = append(first, times[0]), append(all, times[len(times)-1])
		if size > 10 { // those that are cut off stay so: it takes less time
			rest = others
			continue
		}
		time.Sleep(time.Second)
		c.wires.Part(0, c.addr(i))
		for _, one := range a {
			one.await("all alive again", func(v members.View) bool { return len(v.Members) == size })
		}
		if n%2 == 0 { // the next one soon
			time.Sleep(rand.N(400 * time.Millisecond))
		} else {
			time.Sleep(3 * time.Second)
		}
	}
	slices.Sort(first)
	slices.Sort(all)
	median, most := all[len(all)/2], all[len(all)-1]
	t.Logf("%d agents: known to the first after %v, to all after %v, at most %v", size, first[len(first)/2], median, most)
	if median > 170*time.Millisecond || most > 250*time.Millisecond {
		t.Error("want at most 170ms, and never more than 250ms")
	}
}

// watchedCluster is agents that announce addresses, and are watched.
func watchedCluster(t *testing.T, size int, adjust ...func(*members.Options)) (*cluster, []*agent) {
	c := newCluster(t, size)
	a := c.startAll(adjust...)
	announceAll(a)
	return c, a
}

// lossesOf returns the sum of what agents have lost.
func lossesOf(agents ...*agent) (sum members.Losses) {
	for _, a := range agents {
		l := a.Losses()
		sum.Missed, sum.Probed, sum.Returned = sum.Missed+l.Missed, sum.Probed+l.Probed, sum.Returned+l.Returned
	}
	return sum
}

// An agent that waits for a processor sends nothing, but its kernel answers: it is not
// lost before memberlist has made up its mind.
func TestBusyAgentIsNotLost(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, a := watchedCluster(t, 3)
		for range 20 {
			c.wires.Lose(func(from, _ netip.Addr) bool { return from == c.addr(2) })
			time.Sleep(250 * time.Millisecond)
			c.wires.Lose(nil)
			time.Sleep(time.Second)
		}
		if l := lossesOf(a...); l.Missed > 0 {
			t.Errorf("lost: %+v", l)
		}
	})
}

// One watcher that does not reach an agent loses it neither, whether nothing gets through
// or connections do.
func TestOneWatcherIsNotEnough(t *testing.T) {
	for _, name := range []string{"nothing", "connections"} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				c, a := watchedCluster(t, 4)
				if name == "nothing" {
					c.wires.Separate(true, c.addr(0), c.addr(2))
				} else {
					c.wires.Lose(func(from, to netip.Addr) bool { return from == c.addr(2) && to == c.addr(0) })
				}
				time.Sleep(time.Minute)
				if l := lossesOf(a...); l.Missed > 0 {
					t.Errorf("lost: %+v", l)
				}
			})
		})
	}
}

// Each side of a partition loses the other one, also agents that have only one watcher
// left there.
func TestSidesLoseEachOther(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, a := watchedCluster(t, 12)
		var other []netip.Addr
		for i := range 6 {
			other = append(other, c.addr(i))
		}
		start := time.Now()
		c.wires.Part(1, other...)
		for i, s := range a {
			s.await("its side alone", func(v members.View) bool { return len(v.Members) == 6 })
			if took := time.Since(start); took > 500*time.Millisecond {
				t.Errorf("%s knows after %v", c.name(i), took)
			}
		}
	})
}

// If an agent's process ends, its kernel says so: the others know sooner still. So do two
// agents alone.
func TestKilledAgent(t *testing.T) {
	for _, size := range []int{2, 3, 5} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				c, a := watchedCluster(t, size)
				time.Sleep(10 * time.Millisecond) // not while it sends heartbeats: one watcher may get the last one
				start := time.Now()
				c.wires.Kill(c.peers[0])
				for _, one := range a[1:] {
					v := one.await("the first gone", func(v members.View) bool { return !slices.Contains(v.Alive(), "n01") })
					if took := time.Since(start); took > 150*time.Millisecond {
						t.Errorf("it took %v", took)
					}
					if len(v.Departed) != 1 || !slices.Equal(v.Departed[0].Held, []netip.Addr{address(0)}) {
						t.Errorf("departed: %+v", v.Departed)
					}
					// The last heartbeat was up to 55 ms before.
					if lost := v.Departed[0].Lost.Sub(start); lost < -60*time.Millisecond || lost > 100*time.Millisecond {
						t.Errorf("its last sign of life was %v after it was killed", lost)
					}
				}
				time.Sleep(2 * time.Second)
				if l := lossesOf(a[1:]...); l != (members.Losses{Missed: uint64(size - 1)}) {
					t.Errorf("each agent has lost one, by heartbeats: %+v", l)
				}
			})
		})
	}
}

// An agent of two that is cut off is lost too: nobody else can confirm it, and its kernel
// is asked twice.
func TestCutOffOfTwo(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, a := watchedCluster(t, 2)
		if took := c.goneAfter(0, a[1:])[0]; took < 150*time.Millisecond || took > 220*time.Millisecond {
			t.Errorf("it took %v", took)
		}
	})
}

// An agent that is cut off for a moment is back a moment after that, before memberlist has
// noticed anything. If that happens again and again, the node is damped.
func TestShortOutage(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, a := watchedCluster(t, 4)
		for n := range uint64(3) {
			c.goneAfter(2, []*agent{a[0], a[1], a[3]})
			c.wires.Part(0, c.addr(2))
			start := time.Now()
			for _, one := range a {
				one.await("all", alive("n01", "n02", "n03", "n04"))
			}
			if took := time.Since(start); took > 100*time.Millisecond {
				t.Errorf("it was back after %v", took)
			}
			if l := lossesOf(a[0], a[1], a[3]); l.Missed != 3*(n+1) || l.Returned < l.Missed {
				t.Errorf("losses: %+v", l)
			}
			a[2].await("that it was lost, and what happened since", func(v members.View) bool { return v.Gaps == int(n)+1 && !v.Stale })
			if v := a[0].View(); v.Members[2].Damped != (n == 2) {
				t.Errorf("after %d outages the third is %+v", n+1, v.Members[2])
			}
			time.Sleep(3 * time.Second)
		}
	})
}

// An agent that sends no heartbeats, as one of an earlier version, is not missed, and its
// death is found.
func TestAgentsWithoutHeartbeats(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3)
		fast := func(*members.Options) {}
		var a []*agent
		for i, adjust := range []func(*members.Options){fast, fast, func(o *members.Options) { o.Profile = members.Normal }} {
			a = append(a, c.start(i, adjust))
		}
		for _, one := range a {
			one.await("all", alive("n01", "n02", "n03"))
		}
		announceAll(a)
		time.Sleep(time.Minute)
		if l := lossesOf(a...); l != (members.Losses{}) {
			t.Errorf("losses: %+v", l)
		}
		if took := c.goneAfter(2, a[:2]); took[1] > 1500*time.Millisecond {
			t.Errorf("its death was found after %v", took)
		}
	})
}

// What announces nothing is not watched: there is no traffic for it.
func TestNothingToWatch(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3)
		a := c.startAll()
		rate := func() int {
			time.Sleep(3 * time.Second)
			before := c.wires.Sent(c.addr(0))
			time.Sleep(10 * time.Second)
			after := c.wires.Sent(c.addr(0))
			t.Logf("%d bytes a second", (after.Bytes-before.Bytes)/10)
			return (after.Packets - before.Packets) / 10
		}
		idle := rate()
		a[0].Publish(members.State{Held: []netip.Addr{address(0)}})
		announcing := rate()
		a[0].Publish(members.State{})
		after := rate()
		t.Logf("%d packets a second, %d with an address, %d without it again", idle, announcing, after)
		if idle > 25 || after > 25 || announcing < idle+35 || announcing > idle+50 {
			t.Errorf("want about 20, 60 and 20")
		}
	})
}

// A planned stop is no loss.
func TestPlannedStopIsNoLoss(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		_, a := watchedCluster(t, 3)
		if err := a[2].stop(); err != nil {
			t.Fatal(err)
		}
		for _, s := range a[:2] {
			v := s.await("the third gone", alive("n01", "n02"))
			if len(v.Departed) != 1 || !v.Departed[0].Lost.IsZero() {
				t.Errorf("departed: %+v", v.Departed)
			}
		}
		time.Sleep(time.Second)
		if l := lossesOf(a[:2]...); l != (members.Losses{}) {
			t.Errorf("losses: %+v", l)
		}
	})
}
