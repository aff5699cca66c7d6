// SPDX-License-Identifier: Apache-2.0

package l2

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// deafEngine returns an engine with two interfaces on which nothing is heard.
func deafEngine() (*Announcer, *engine) {
	a := New(Options{Network: deaf{}})
	a.change(func(in *input) bool {
		in.links = []Link{
			{Index: 2, Name: "eth0", MAC: own, LinkLocal: ownLL, Up: true, Broadcast: true},
			{Index: 3, Name: "eth1", MAC: other, Up: true, Broadcast: true},
		}
		return true
	})
	e := newEngine(a, &errgroup.Group{})
	e.begun = time.Now()
	return a, e
}

// does returns what an engine does about all addresses, as text.
func (e *engine) does() string {
	var lines []string
	for addr, rec := range e.records {
		for _, p := range rec.presences {
			lines = append(lines, fmt.Sprintf("%s on %s: %s, round %d, due %t", addr, p.station.link.Name, p.phase, rec.want.Round, p.queue != nil))
		}
		if len(rec.presences) == 0 {
			lines = append(lines, addr.String()+" nowhere")
		}
	}
	for _, st := range e.stations {
		for i := range st.socket {
			if s := &st.socket[i]; s.responder != nil {
				var answered []string
				for addr, r := range s.responder.view.Load().roles {
					answered = append(answered, fmt.Sprintf("%s %t %t", addr, r.silent.Load(), r.standby.Load()))
				}
				slices.Sort(answered)
				lines = append(lines, fmt.Sprintf("%s %s: %s", st.link.Name, Protocol(i), strings.Join(answered, ", ")))
			}
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// An engine that amends what has changed does the same as one that looks at everything.
func TestAmend(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		a, e := deafEngine()
		b, all := deafEngine()
		now, amended := time.Now(), 0
		want := map[netip.Addr]Announcement{}
		for step := range 60 {
			for range 1 + r.IntN(3) {
				addr := netip.AddrFrom4([4]byte{10, 0, 0, byte(r.IntN(6))})
				if r.IntN(3) == 0 {
					addr = netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", r.IntN(3)))
				}
				if r.IntN(3) == 0 {
					delete(want, addr)
					continue
				}
				w := Announcement{Addr: addr, Fresh: r.IntN(2) == 0, Quiet: r.IntN(4) == 0, Round: uint64(r.IntN(3))}
				if r.IntN(3) == 0 {
					w.Interfaces = []string{[]string{"eth0", "eth1", "eth2"}[r.IntN(3)]}
				}
				if r.IntN(4) == 0 {
					w.Standby = []string{"eth0"}
				}
				want[addr] = w
			}
			var list []Announcement
			for _, w := range want {
				list = append(list, w)
			}
			now = now.Add(time.Duration(r.IntN(500)) * time.Millisecond)
			for _, x := range []struct {
				*Announcer
				*engine
			}{{a, e}, {b, all}} {
				x.Set(list)
				before := x.engine.in
				x.engine.in = x.take()
				if x.engine == e && before.site == e.in.site && e.amend(before.want, now) {
					amended++
				} else {
					x.reconcile(now)
				}
				x.send(now)
			}
			if got, want := e.does(), all.does(); got != want {
				t.Fatalf("seed %d, step %d: it does\n%s\nwant\n%s", seed, step, got, want)
			}
		}
		if amended < 20 {
			t.Errorf("seed %d: amended %d times", seed, amended)
		}
	}
}
