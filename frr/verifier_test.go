// SPDX-License-Identifier: Apache-2.0

package frr_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/frr/vty"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/table"
)

// A ribs is an FRR with peers, and the routes that they were sent.
type ribs struct {
	mu     sync.Mutex // guards the fields below
	sent   map[status.PeerID]map[netip.Prefix]bool
	err    error
	single int // questions about one route
	whole  int // questions about all that a peer was sent
}

func (r *ribs) Sessions(context.Context, time.Time) ([]frr.Session, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := []frr.Session{{Peer: status.PeerID{Interface: "eth0"}}, {Peer: at("10.0.0.99")}}
	for peer := range r.sent {
		out = append(out, frr.Session{Peer: peer, Up: true})
	}
	slices.SortFunc(out, func(a, b frr.Session) int { return a.Peer.Compare(b.Peer) })
	return out, r.err
}

func (r *ribs) AdvertisedTo(_ context.Context, vrf string, p netip.Prefix) (peers []status.PeerID, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.single++
	for peer, routes := range r.sent {
		if peer.VRF == vrf && routes[p] {
			peers = append(peers, peer)
		}
	}
	slices.SortFunc(peers, status.PeerID.Compare)
	return peers, r.err
}

func (r *ribs) Advertised(_ context.Context, peer status.PeerID, v6 bool) (map[netip.Prefix]bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.whole++
	out := map[netip.Prefix]bool{}
	for p := range r.sent[peer] {
		if p.Addr().Is6() == v6 {
			out[p] = true
		}
	}
	return out, r.err
}

func (r *ribs) Close() error { return nil }

// asked returns how many questions there were.
func (r *ribs) asked() (single, whole int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.single, r.whole
}

func (r *ribs) change(f func()) {
	r.mu.Lock()
	f()
	r.mu.Unlock()
}

func TestVerifier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p1, p2 := netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("2001:db8::/64")
		a, b := at("10.0.0.1"), status.PeerID{VRF: "red", Interface: "eth1"}
		r := &ribs{sent: map[status.PeerID]map[netip.Prefix]bool{a: {}, b: {}}}
		var changes atomic.Int64
		v := frr.NewVerifier(frr.VerifierOptions{Sessions: r.Sessions, Prober: r, Changed: func() { changes.Add(1) }})
		go v.Run(t.Context())
		is := func(when string, p netip.Prefix, want ...status.PeerID) {
			t.Helper()
			synctest.Wait()
			if diff := cmp.Diff(want, v.SentTo(p), cmpopts.EquateComparable(status.PeerID{}), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s: %s was sent to (-want +got):\n%s", when, p, diff)
			}
			if v.Sent(p) != (len(want) > 0) {
				t.Errorf("%s: sent: %t", when, v.Sent(p))
			}
		}
		v.Expect(routes(p1, p2))
		is("at first", p1)
		r.change(func() { r.sent[b][p1], r.sent[b][p2] = true, true })
		<-time.After(200 * time.Millisecond)
		is("soon", p1, b)
		is("soon", p2, b)
		if changes.Load() == 0 {
			t.Error("Changed was not called")
		}
		r.change(func() { r.sent[a][p2] = true })
		<-time.After(2 * time.Second)
		is("a moment later", p2, a, b) // though nobody said so
		r.change(func() { delete(r.sent[a], p2) })
		v.Look()
		is("taken back", p2, b)
		r.change(func() { r.sent[a][p1] = true })
		v.Look()
		is("after a look", p1, a, b)
		r.change(func() { r.sent[a], r.sent[b] = nil, nil; r.single = 0 })
		<-time.After(time.Minute)
		is("after a minute", p1)
		if single, _ := r.asked(); single > 200 {
			t.Errorf("%d questions in a minute", single)
		}
		r.change(func() { r.sent[a], r.sent[b] = map[netip.Prefix]bool{p1: true}, nil })
		v.Look()
		is("again", p1, a)
		r.change(func() { r.err = fmt.Errorf("dial: %w", vty.ErrUnavailable) })
		v.Look()
		is("without bgpd", p1)
		r.change(func() { r.err = nil })
		v.Look()
		is("with bgpd", p1, a)
		v.Expect(routes(p2))
		is("of no interest", p1)
	})
}

// A look that was asked for is made, and Changed is called after it whatever it
// finds. One that fails is repeated.
func TestVerifierLooked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &ribs{sent: map[status.PeerID]map[netip.Prefix]bool{at("10.0.0.1"): {netip.MustParsePrefix("192.0.2.1/32"): true}}}
		var changed atomic.Int32
		v := frr.NewVerifier(frr.VerifierOptions{Sessions: r.Sessions, Prober: r, Changed: func() { changed.Add(1) }})
		go func() { _ = v.Run(t.Context()) }()
		v.Expect(routes(netip.MustParsePrefix("192.0.2.1/32")))
		time.Sleep(20 * time.Second)
		for _, failing := range []time.Duration{0, 500 * time.Millisecond} {
			r.mu.Lock()
			if failing > 0 {
				r.err = fmt.Errorf("busy")
			}
			r.mu.Unlock()
			asked, before := time.Now(), changed.Load()
			v.Look()
			time.Sleep(failing)
			synctest.Wait()
			if over := !v.Looked().Before(asked); over != (failing == 0) || (changed.Load() > before) != over {
				t.Errorf("failing for %v: the look is over: %v, Changed was called %d times", failing, over, changed.Load()-before)
			}
			r.mu.Lock()
			r.err = nil
			r.mu.Unlock()
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if v.Looked().Before(asked) || changed.Load() == before {
				t.Errorf("failing for %v: the last look was begun %v before it was asked for", failing, asked.Sub(v.Looked()))
			}
		}
	})
}

// A route that goes to other peers after a change of policy is noticed soon, though
// FRR takes a moment to carry the change out.
func TestVerifierRecheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := netip.MustParsePrefix("192.0.2.1/32")
		a, b := at("10.0.0.1"), at("10.0.0.2")
		r := &ribs{sent: map[status.PeerID]map[netip.Prefix]bool{a: {p: true}, b: {}}}
		v := frr.NewVerifier(frr.VerifierOptions{Sessions: r.Sessions, Prober: r})
		go v.Run(t.Context())
		v.Expect(routes(p))
		<-time.After(10 * time.Second) // the route is old now
		for _, delay := range []time.Duration{0, 100 * time.Millisecond, 500 * time.Millisecond} {
			v.Recheck([]netip.Prefix{p})
			<-time.After(delay)
			r.change(func() { r.sent[a], r.sent[b] = r.sent[b], r.sent[a] })
			<-time.After(time.Second)
			synctest.Wait()
			want := []status.PeerID{a}
			if r.sent[b][p] {
				want[0] = b
			}
			if got := v.SentTo(p); !slices.Equal(got, want) {
				t.Errorf("a second after a change that took %s it was sent to %v, want %v", delay, got, want)
			}
			<-time.After(10 * time.Second)
		}
		single, _ := r.asked()
		v.Recheck([]netip.Prefix{netip.MustParsePrefix("192.0.2.2/32")}) // which nobody expects
		<-time.After(10 * time.Second)
		if now, _ := r.asked(); now > single+1 {
			t.Errorf("a route that is not expected is %d questions", now-single)
		}
	})
}

// Many routes cost a question a peer, and are looked at rarely once they are sent.
func TestVerifierOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := at("10.0.0.1")
		r := &ribs{sent: map[status.PeerID]map[netip.Prefix]bool{a: {}}}
		var all []netip.Prefix
		addr := netip.MustParseAddr("192.0.2.0")
		for range 1000 {
			all = append(all, netip.PrefixFrom(addr, 32))
			addr = addr.Next()
		}
		for _, p := range all[1:] {
			r.sent[a][p] = true
		}
		v := frr.NewVerifier(frr.VerifierOptions{Sessions: r.Sessions, Prober: r})
		go v.Run(t.Context())
		v.Expect(routes(all...))
		synctest.Wait()
		if v.Sent(all[0]) || !v.Sent(all[999]) {
			t.Errorf("sent: %t and %t", v.Sent(all[0]), v.Sent(all[999]))
		}
		r.change(func() { r.sent[a][all[0]] = true })
		<-time.After(time.Second)
		synctest.Wait()
		if _, whole := r.asked(); !v.Sent(all[0]) || whole > 8 {
			t.Errorf("the last one: sent %t, after %d questions about all", v.Sent(all[0]), whole)
		}
		<-time.After(time.Hour)
		if single, whole := r.asked(); whole > 140 || single > 60 {
			t.Errorf("%d and %d questions in an hour", whole, single)
		}
		_, before := r.asked()
		for n := range 100 { // routes go, and one that FRR has not sent yet comes and goes
			v.Expect(routes(all[n+1:]...))
			<-time.After(100 * time.Millisecond)
			v.Expect(routes(append(all[n+1:len(all):len(all)], netip.PrefixFrom(addr, 32))...))
			<-time.After(10 * time.Millisecond)
		}
		if _, whole := r.asked(); whole-before > 1 {
			t.Errorf("%d questions about all routes while 100 are withdrawn in 11 s", whole-before)
		}
		r.change(func() { delete(r.sent[a], all[500]) })
		<-time.After(time.Minute)
		synctest.Wait()
		if v.Sent(all[500]) {
			t.Error("a route that FRR has dropped counts as sent while another one is never sent")
		}
	})
}

// routes returns a table with these keys.
func routes(all ...netip.Prefix) table.Table[netip.Prefix, string] {
	var e table.Editor[netip.Prefix, string]
	for _, p := range all {
		e.Set(p, "")
	}
	return e.Table()
}
