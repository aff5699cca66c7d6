// SPDX-License-Identifier: Apache-2.0

package handover_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/heraldlb/herald/handover"
)

const (
	none   = handover.Protocols(0)
	bgp    = handover.ViaBGP
	layer2 = handover.ViaLayer2
	both   = bgp | layer2
)

func TestSwitch(t *testing.T) {
	type step struct {
		at   time.Duration // since the start
		in   handover.Input
		want handover.Protocols
		next time.Duration // since the start; 0: no need to look again
		soft bool          // layer 2 is quiet
	}
	// want protocols over which this node announces, all confirmed.
	is := func(p handover.Protocols) handover.Input {
		return handover.Input{Wanted: p, Own: p, MayAnnounce: true, Confirmed: p}
	}
	// The same, but only these are confirmed yet.
	to := func(p, confirmed handover.Protocols) handover.Input {
		in := is(p)
		in.Confirmed = confirmed
		return in
	}
	unable := func(in handover.Input) handover.Input {
		in.MayAnnounce, in.Own = false, none
		return in
	}
	elsewhere := func(in handover.Input) handover.Input {
		in.Own &^= layer2
		return in
	}
	heard := func(in handover.Input) handover.Input {
		in.Successor = true
		return in
	}
	blind := func(in handover.Input) handover.Input {
		in.MembersUnknown = true
		return in
	}
	last := func(in handover.Input) handover.Input {
		in.Last = true
		return in
	}
	drains := func(in handover.Input) handover.Input {
		in.Draining, in.Own, in.MayAnnounce = true, none, false
		return in
	}
	audible := func(in handover.Input) handover.Input {
		in = elsewhere(in)
		in.Claimed = true
		return in
	}
	deserted := func(in handover.Input) handover.Input {
		in = elsewhere(in)
		in.NoOther = true
		return in
	}
	handsOver := func(in handover.Input) handover.Input {
		in = elsewhere(in)
		in.Drains = true
		return in
	}
	left := func(in handover.Input) handover.Input {
		in.Own &^= bgp
		in.Left = true
		return in
	}
	taken := func(in handover.Input) handover.Input {
		in = left(in)
		in.Taken = true
		return in
	}
	const s, ms = time.Second, time.Millisecond
	tests := []struct {
		name  string
		steps []step
	}{
		{"nothing changes", []step{
			{0, is(bgp), bgp, 0, false},
			{time.Hour, is(bgp), bgp, 0, false},
		}},
		{"a node that drains withdraws what others announced all the time", []step{
			{0, is(bgp), bgp, 0, false},
			{10 * s, drains(is(bgp)), none, 0, false},
		}},
		{"the last one that drains stays until others are followed", []step{
			{0, last(is(bgp)), bgp, 0, false},
			{time.Hour, last(is(bgp)), bgp, 0, false},
			{time.Hour + s, drains(is(bgp)), bgp, time.Hour + 11*s, false},
			{time.Hour + 11*s - ms, drains(is(bgp)), bgp, time.Hour + 11*s, false},
			{time.Hour + 11*s, drains(is(bgp)), none, 0, false},
			{time.Hour + 12*s, drains(is(bgp)), none, 0, false},
		}},
		{"also if others come back just before its time is over", []step{
			{0, last(is(bgp)), bgp, 0, false},
			{9 * s, is(bgp), bgp, 0, false},
			{10 * s, drains(is(bgp)), bgp, 19 * s, false},
			{19 * s, drains(is(bgp)), none, 0, false},
		}},
		{"and for ever if they go again", []step{
			{0, last(is(bgp)), bgp, 0, false},
			{s, drains(is(bgp)), bgp, 11 * s, false},
			{2 * s, last(is(bgp)), bgp, 0, false},
			{time.Hour, last(is(bgp)), bgp, 0, false},
		}},
		{"not what has no endpoints any more", []step{
			{0, last(is(bgp)), bgp, 0, false},
			{s, unable(is(bgp)), none, 0, false},
		}},
		{"a new address is announced at once, confirmed or not", []step{
			{0, to(bgp, none), bgp, 0, false},
		}},
		{"layer2 to bgp: layer2 stays until bgp is confirmed, and 5 s", []step{
			{0, is(layer2), layer2, 0, false},
			{10 * s, to(bgp, layer2), both, 40 * s, false},
			{12 * s, to(bgp, both), both, 17 * s, false},
			{16 * s, to(bgp, both), both, 17 * s, false},
			{17 * s, to(bgp, both), bgp, 0, false},
			{18 * s, is(bgp), bgp, 0, false},
		}},
		{"bgp to layer2, confirmed at once", []step{
			{0, is(bgp), bgp, 0, false},
			{10 * s, to(layer2, both), both, 15 * s, false},
			{15 * s, to(layer2, both), layer2, 0, false},
		}},
		{"bgp to layer2 on a node that is not elected: bgp stays until the owner is heard, and 5 s", []step{
			{0, is(bgp), bgp, 0, false},
			{10 * s, elsewhere(to(layer2, bgp)), bgp, 40 * s, false},
			{11 * s, heard(elsewhere(to(layer2, both))), bgp, 16 * s, false},
			{16 * s, heard(elsewhere(to(layer2, both))), none, 0, false},
		}},
		{"a protocol that is never confirmed keeps the other for 30 s", []step{
			{0, is(layer2), layer2, 0, false},
			{10 * s, to(bgp, layer2), both, 40 * s, false},
			{40*s - 1, to(bgp, layer2), both, 40 * s, false},
			{40 * s, to(bgp, layer2), bgp, 0, false},
			{41 * s, to(bgp, layer2), bgp, 0, false},
		}},
		{"a confirmation that is lost again starts the hold time again", []step{
			{0, is(layer2), layer2, 0, false},
			{10 * s, to(bgp, both), both, 15 * s, false},
			{12 * s, to(bgp, layer2), both, 40 * s, false},
			{14 * s, to(bgp, both), both, 19 * s, false},
			{19 * s, to(bgp, both), bgp, 0, false},
		}},
		{"a confirmation that comes and goes does not prolong the limit", []step{
			{0, is(layer2), layer2, 0, false},
			{10 * s, to(bgp, layer2), both, 40 * s, false},
			{38 * s, to(bgp, both), both, 40 * s, false},
			{40 * s, to(bgp, both), bgp, 0, false},
		}},
		{"adding a protocol takes nothing away", []step{
			{0, is(layer2), layer2, 0, false},
			{10 * s, to(both, layer2), both, 0, false},
			{90 * s, to(both, layer2), both, 0, false},
		}},
		{"of two protocols one goes: the other was confirmed, so after 5 s", []step{
			{0, is(both), both, 0, false},
			{10 * s, to(bgp, both), both, 15 * s, false},
			{15 * s, to(bgp, both), bgp, 0, false},
		}},
		{"the change is taken back in the middle", []step{
			{0, is(layer2), layer2, 0, false},
			{10 * s, to(bgp, layer2), both, 40 * s, false},
			{12 * s, to(layer2, layer2), both, 17 * s, false},
			{17 * s, is(layer2), layer2, 0, false},
			// And made again: it has all its time.
			{18 * s, to(bgp, layer2), both, 48 * s, false},
		}},
		{"the Service is deleted in the middle", []step{
			{0, is(layer2), layer2, 0, false},
			{10 * s, to(bgp, layer2), both, 40 * s, false},
			{11 * s, is(none), none, 0, false},
		}},
		{"the Service is deleted", []step{
			{0, is(both), both, 0, false},
			{1 * s, is(none), none, 0, false},
		}},
		{"the node loses its endpoints in the middle", []step{
			{0, is(layer2), layer2, 0, false},
			{10 * s, to(bgp, layer2), both, 40 * s, false},
			{11 * s, unable(to(bgp, layer2)), none, 0, false},
		}},
		{"the node loses its endpoints, other nodes go on", []step{
			{0, is(bgp), bgp, 0, false},
			{10 * s, unable(is(bgp)), none, 0, false},
		}},
		{"another owner: quiet until it is heard", []step{
			{0, is(layer2), layer2, 0, false},
			{10 * s, elsewhere(is(layer2)), layer2, 40 * s, true},
			{10*s + 50*ms, heard(elsewhere(is(layer2))), none, 0, false},
			{10*s + 60*ms, elsewhere(is(layer2)), none, 0, false},
		}},
		{"another owner that is not heard: quiet for 30 s", []step{
			{0, is(layer2), layer2, 0, false},
			{10 * s, elsewhere(is(layer2)), layer2, 40 * s, true},
			{40*s - ms, elsewhere(is(layer2)), layer2, 40 * s, true},
			{40 * s, elsewhere(is(layer2)), none, 0, false},
			{41 * s, elsewhere(is(layer2)), none, 0, false},
		}},
		{"what nobody may answer for by the rules goes after a second", []step{
			{0, is(layer2), layer2, 0, false},
			{10 * s, deserted(is(layer2)), layer2, 11 * s, true},
			{11*s - ms, deserted(is(layer2)), layer2, 11 * s, true},
			{11 * s, deserted(is(layer2)), none, 0, false},
		}},
		{"another owner that gossip does not reach, but is heard: quiet for a second", []step{
			{0, is(layer2), layer2, 0, false},
			{10 * s, audible(is(layer2)), layer2, 11 * s, true},
			{11 * s, audible(is(layer2)), none, 0, false},
		}},
		{"another owner of a node that drains: quiet until it holds the address", []step{
			{0, is(layer2), layer2, 0, false},
			{10 * s, handsOver(is(layer2)), layer2, 11 * s, true},
			{11 * s, handsOver(is(layer2)), layer2, 0, true},
			{time.Hour, handsOver(is(layer2)), layer2, 0, true},
			{time.Hour + s, heard(handsOver(is(layer2))), none, 0, false},
		}},
		{"a route that is left to others stays until one of them is seen to announce it, and a second", []step{
			{0, is(bgp), bgp, 0, false},
			{10 * s, left(is(bgp)), bgp, 310 * s, false},
			{20 * s, left(is(bgp)), bgp, 310 * s, false},
			{60 * s, taken(is(bgp)), bgp, 61 * s, false},
			{61 * s, taken(is(bgp)), none, 0, false},
			{62 * s, taken(is(bgp)), none, 0, false},
		}},
		{"it stays for 5 minutes if none of them is", []step{
			{0, is(bgp), bgp, 0, false},
			{10 * s, left(is(bgp)), bgp, 310 * s, false},
			{310*s - ms, left(is(bgp)), bgp, 310 * s, false},
			{310 * s, left(is(bgp)), none, 0, false},
			{311 * s, left(is(bgp)), none, 0, false},
		}},
		{"a session of the others that comes and goes starts the second again, not the 5 minutes", []step{
			{0, is(bgp), bgp, 0, false},
			{10 * s, left(is(bgp)), bgp, 310 * s, false},
			{60 * s, taken(is(bgp)), bgp, 61 * s, false},
			{60*s + ms, left(is(bgp)), bgp, 310 * s, false},
			{310*s - ms, taken(is(bgp)), bgp, 310 * s, false},
			{310 * s, taken(is(bgp)), none, 0, false},
		}},
		{"the node is selected again in the middle", []step{
			{0, is(bgp), bgp, 0, false},
			{10 * s, left(is(bgp)), bgp, 310 * s, false},
			{20 * s, is(bgp), bgp, 0, false},
			{30 * s, left(is(bgp)), bgp, 330 * s, false},
		}},
		{"what is left to others goes with its Service, or its endpoints", []step{
			{0, is(bgp), bgp, 0, false},
			{10 * s, left(is(bgp)), bgp, 310 * s, false},
			{20 * s, unable(is(bgp)), none, 0, false},
		}},
		{"a node that never announced a route has none to leave", []step{
			{0, left(is(bgp)), none, 0, false},
		}},
		{"layer2 to bgp on other nodes: layer2 stays until one of them is seen to announce it, and 5 s", []step{
			{0, is(layer2), layer2, 0, false},
			{10 * s, left(to(bgp, none)), layer2, 40 * s, false},
			{20 * s, taken(to(bgp, bgp)), layer2, 25 * s, false},
			{25 * s, taken(to(bgp, bgp)), none, 0, false},
		}},
		{"another owner, and back: loud again", []step{
			{0, is(layer2), layer2, 0, false},
			{10 * s, elsewhere(is(layer2)), layer2, 40 * s, true},
			{10*s + 500*ms, is(layer2), layer2, 0, false},
			{20 * s, elsewhere(is(layer2)), layer2, 50 * s, true},
		}},
		{"a node that never answered has nothing to hand over", []step{
			{0, elsewhere(is(layer2)), none, 0, false},
		}},
		{"another owner of an address that is announced over bgp too", []step{
			{0, is(both), both, 0, false},
			{10 * s, elsewhere(is(both)), both, 40 * s, true},
			{40 * s, elsewhere(is(both)), bgp, 0, false},
		}},
		{"who does not know who is alive does not answer", []step{
			{0, is(layer2), layer2, 0, false},
			{10 * s, blind(elsewhere(is(layer2))), none, 0, false},
			{11 * s, is(layer2), layer2, 0, false},
		}},
		{"who does not know who is alive keeps its routes", []step{
			{0, is(both), both, 0, false},
			{10 * s, blind(elsewhere(is(both))), bgp, 0, false},
			{11 * s, blind(to(bgp, bgp)), bgp, 0, false},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			start := time.Unix(1_000_000, 0)
			var sw handover.Switch
			for i, step := range tt.steps {
				var got handover.Output
				sw, got = sw.Step(step.in, start.Add(step.at), handover.DefaultTimes)
				want := handover.Output{Announce: step.want, Quiet: step.soft, Last: got.Last, GivenUp: got.GivenUp} // see TestSwitchGivesUp
				if step.next != 0 {
					want.Next = start.Add(step.next)
				}
				if got != want {
					t.Errorf("step %d, at %v: announces %q, quiet %t, looks again at %v; want %q, %t, %v",
						i, step.at, got.Announce, got.Quiet, since(got.Next, start), step.want, step.soft, step.next)
				}
			}
		})
	}
}

// What goes though nobody was seen to announce it instead is said, once; and of a node
// that drains, that the other should have answered by now.
func TestSwitchGivesUp(t *testing.T) {
	is := handover.Input{Wanted: both, Own: both, MayAnnounce: true, Confirmed: both}
	left := is
	left.Own, left.Left = none, true
	handsOver := left
	handsOver.Drains = true
	for _, tt := range []struct {
		name    string
		in      handover.Input
		after   time.Duration
		givenUp handover.Protocols
		last    bool
	}{
		{"both stay at first", left, 29 * time.Second, none, false},
		{"layer 2 goes", left, 30 * time.Second, layer2, false},
		{"both go", left, 5 * time.Minute, both, false},
		{"nothing on layer 2 from a node that drains", handsOver, 30 * time.Second, none, true},
		{"a protocol that none replaces", handover.Input{Wanted: bgp, Own: bgp, MayAnnounce: true}, 30 * time.Second, layer2, false},
		{"one that another replaces", handover.Input{Wanted: bgp, Own: bgp, MayAnnounce: true, Confirmed: bgp}, 5 * time.Second, none, false},
		{"a Service that is deleted", handover.Input{}, 0, none, false},
	} {
		start := time.Unix(1_000_000, 0)
		sw, _ := handover.Switch{}.Step(is, start, handover.DefaultTimes)
		sw, _ = sw.Step(tt.in, start, handover.DefaultTimes)
		sw, got := sw.Step(tt.in, start.Add(tt.after), handover.DefaultTimes)
		if got.GivenUp != tt.givenUp || got.Last != tt.last {
			t.Errorf("%s: given up %q, last %t; want %q, %t", tt.name, got.GivenUp, got.Last, tt.givenUp, tt.last)
		}
		if _, again := sw.Step(tt.in, start.Add(tt.after+time.Second), handover.DefaultTimes); got.GivenUp != none && again.GivenUp&got.GivenUp != none {
			t.Errorf("%s: given up twice", tt.name)
		}
	}
}

func since(t, start time.Time) time.Duration {
	if t.IsZero() {
		return 0
	}
	return t.Sub(start)
}

// TestSwitchKeepsAnnouncing lives random lives of one address on one node that
// can always serve it. From the first time that something was confirmed until
// nothing is wanted some protocol that was confirmed is announced, unless the
// new one was not for all of the limit; an old protocol never stays for longer
// than the limit; and when nothing changes any more, what is wanted is what is
// announced.
func TestSwitchKeepsAnnouncing(t *testing.T) {
	times := handover.DefaultTimes
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 2))
		now := time.Unix(1_000_000, 0)
		var sw handover.Switch
		var out handover.Output
		wanted := none
		announcedFor := map[handover.Protocols]time.Time{} // since when without a break
		staleSince := map[handover.Protocols]time.Time{}   // announced, and wanted no more
		wantedSince := now
		confirmDelay := map[handover.Protocols]time.Duration{}
		var log string
		for range 60 {
			if r.IntN(4) == 0 {
				if w := handover.Protocols(r.IntN(4)); w != wanted {
					wanted, wantedSince = w, now
				}
			}
			// What is announced is confirmed after a while, differently each time.
			confirmed := none
			for _, p := range []handover.Protocols{bgp, layer2} {
				if since, ok := announcedFor[p]; ok && now.Sub(since) >= confirmDelay[p] {
					confirmed |= p
				}
			}
			before := out.Announce
			in := handover.Input{Wanted: wanted, Own: wanted, MayAnnounce: true, Confirmed: confirmed}
			sw, out = sw.Step(in, now, times)
			log += fmt.Sprintf("%v: wanted %q, confirmed %q, announces %q\n", now.Sub(time.Unix(1_000_000, 0)), wanted, confirmed, out.Announce)

			if !out.Announce.Has(wanted) {
				t.Fatalf("seed %d: not all that is wanted is announced:\n%s", seed, log)
			}
			if wanted == none && (out.Announce != none || !sw.Idle()) {
				t.Fatalf("seed %d: announced although nothing is wanted:\n%s", seed, log)
			}
			dropped := before &^ out.Announce
			overdue := now.Sub(wantedSince) >= times.Limit
			for _, p := range []handover.Protocols{bgp, layer2} {
				if since, ok := staleSince[p]; ok {
					overdue = overdue || now.Sub(since) >= times.Limit
				}
			}
			if dropped != none && wanted != none && confirmed&out.Announce == none && !overdue {
				t.Fatalf("seed %d: nothing that is confirmed is announced:\n%s", seed, log)
			}
			for _, p := range []handover.Protocols{bgp, layer2} {
				switch since, ok := announcedFor[p]; {
				case !out.Announce.Has(p):
					delete(announcedFor, p)
				case !ok || since.IsZero():
					announcedFor[p] = now
					confirmDelay[p] = time.Duration(r.IntN(40_000)) * time.Millisecond
				}
				if out.Announce.Has(p) && !wanted.Has(p) {
					if _, ok := staleSince[p]; !ok {
						staleSince[p] = now
					}
					if now.Sub(staleSince[p]) >= times.Limit {
						t.Fatalf("seed %d: %q stays for %v:\n%s", seed, p, now.Sub(staleSince[p]), log)
					}
				} else {
					delete(staleSince, p)
				}
			}
			// The agent looks again when it is told to, or when something happens.
			step := time.Duration(r.IntN(10_000)) * time.Millisecond
			if !out.Next.IsZero() {
				if !out.Next.After(now) {
					t.Fatalf("seed %d: looks again at once:\n%s", seed, log)
				}
				step = min(step, out.Next.Sub(now))
			}
			now = now.Add(step)
		}
		for i := 0; !out.Next.IsZero(); i++ {
			if i > 3 {
				t.Fatalf("seed %d: does not come to rest:\n%s", seed, log)
			}
			sw, out = sw.Step(handover.Input{Wanted: wanted, Own: wanted, MayAnnounce: true}, out.Next, times)
		}
		if out.Announce != wanted {
			t.Fatalf("seed %d: in the end announces %q, wanted %q:\n%s", seed, out.Announce, wanted, log)
		}
	}
}
