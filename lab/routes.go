// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// routeBuffer is the size of a watch's socket buffer: room for the news of
// some 50,000 routes that come faster than they are read.
const routeBuffer = 32 << 20

// Routes returns the routes of the machine's main table and their next hops,
// in order. A route to a connected network has none.
func (m *Machine) Routes() (map[netip.Prefix][]netip.Addr, error) {
	nl, err := m.Namespace.netlink()
	if err != nil {
		return nil, err
	}
	defer nl.Close()
	list, err := nl.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil, fmt.Errorf("list routes of %s: %w", m.Name, err)
	}
	routes := make(map[netip.Prefix][]netip.Addr)
	for _, r := range list {
		routes[destination(r)] = nextHops(r)
	}
	return routes, nil
}

// A RouteChange is one change of a prefix's route in a kernel.
type RouteChange struct {
	Time     time.Time
	Present  bool
	NextHops []netip.Addr // in order; empty if the route is not there, or is to a connected network
}

// A RouteWatch records the changes of a kernel's routes, with the time at which
// the kernel told of each: some ten microseconds after it was made, on an idle
// machine.
type RouteWatch struct {
	machine *Machine
	done    chan struct{} // closed by Close

	mu      sync.Mutex // guards the fields below
	history map[netip.Prefix][]RouteChange
	changed chan struct{} // closed and replaced at each change
	err     error         // why the watch has ended
}

// WatchRoutes starts to record the changes of the machine's main table. What is
// there already counts as a change at the time of the call. The caller closes
// the watch.
func (m *Machine) WatchRoutes() (*RouteWatch, error) {
	h, err := netns.GetFromName(m.Namespace.Name)
	if err != nil {
		return nil, fmt.Errorf("watch routes of %s: %w", m.Name, err)
	}
	defer h.Close()
	w := &RouteWatch{
		machine: m,
		done:    make(chan struct{}),
		history: make(map[netip.Prefix][]RouteChange),
		changed: make(chan struct{}),
	}
	updates := make(chan netlink.RouteUpdate, 64)
	err = netlink.RouteSubscribeWithOptions(updates, w.done, netlink.RouteSubscribeOptions{
		Namespace:              &h,
		ReceiveBufferSize:      routeBuffer,
		ReceiveBufferForceSize: true,
		ErrorCallback:          w.fail,
	})
	if err != nil {
		return nil, fmt.Errorf("watch routes of %s: %w", m.Name, err)
	}
	// Listed after the subscription, so that nothing falls between the two; a
	// route that is in both is recorded twice, and harmlessly.
	existing, err := m.Routes()
	if err != nil {
		w.Close()
		return nil, err
	}
	now := time.Now()
	for p, hops := range existing {
		w.history[p] = []RouteChange{{Time: now, Present: true, NextHops: hops}}
	}
	go func() {
		for u := range updates {
			w.record(time.Now(), u)
		}
		w.fail(errors.New("the kernel's news has ended"))
	}()
	return w, nil
}

// record enters one update.
func (w *RouteWatch) record(now time.Time, u netlink.RouteUpdate) {
	if u.Table != unix.RT_TABLE_MAIN {
		return
	}
	c := RouteChange{Time: now}
	if u.Type == unix.RTM_NEWROUTE {
		c.Present, c.NextHops = true, nextHops(u.Route)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	p := destination(u.Route)
	w.history[p] = append(w.history[p], c)
	close(w.changed)
	w.changed = make(chan struct{})
}

// fail records why the watch has ended. The first reason counts.
func (w *RouteWatch) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
		close(w.changed)
		w.changed = make(chan struct{})
	}
}

// Close ends the watch.
func (w *RouteWatch) Close() {
	select {
	case <-w.done:
	default:
		close(w.done)
	}
}

// History returns the recorded changes of a prefix's route, oldest first.
func (w *RouteWatch) History(p netip.Prefix) []RouteChange {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.history[p])
}

// A RouteState is a state of a route that one can wait for.
type RouteState struct {
	what string
	is   func(RouteChange) bool
}

// Present is the state of a route that is there, whatever its next hops.
func Present() RouteState {
	return RouteState{"present", func(c RouteChange) bool { return c.Present }}
}

// Absent is the state of a route that is not there.
func Absent() RouteState {
	return RouteState{"absent", func(c RouteChange) bool { return !c.Present }}
}

// Via is the state of a route that has exactly these next hops.
func Via(hops ...netip.Addr) RouteState {
	want := slices.SortedFunc(slices.Values(hops), netip.Addr.Compare)
	return RouteState{fmt.Sprintf("via %v", want), func(c RouteChange) bool {
		return c.Present && slices.Equal(c.NextHops, want)
	}}
}

// Hops is the state of a route that has so many next hops.
func Hops(n int) RouteState {
	return RouteState{fmt.Sprintf("via %d next hops", n), func(c RouteChange) bool {
		return c.Present && len(c.NextHops) == n
	}}
}

// Wait waits until the route is in a state, and returns when it entered that
// state. That is since itself if the route was in it at that time. What was
// before the watch counts as absent.
func (w *RouteWatch) Wait(ctx context.Context, p netip.Prefix, since time.Time, want RouteState) (time.Time, error) {
	for {
		w.mu.Lock()
		at, last, ok := search(w.history[p], since, want)
		changed, err := w.changed, w.err
		w.mu.Unlock()
		if ok {
			return at, nil
		}
		if err != nil {
			return time.Time{}, fmt.Errorf("wait for route to %s on %s: %w", p, w.machine.Name, err)
		}
		select {
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("wait for route to %s on %s: want %s, have %s: %w", p, w.machine.Name, want.what, last, context.Cause(ctx))
		case <-changed:
		}
	}
}

// search finds when a route was first in a state since a time. If it never was,
// search returns the route's last change.
func search(history []RouteChange, since time.Time, want RouteState) (at time.Time, last RouteChange, ok bool) {
	i, _ := slices.BinarySearchFunc(history, since, func(c RouteChange, t time.Time) int { return c.Time.Compare(t) })
	last = RouteChange{Time: since}
	if i > 0 {
		last = history[i-1]
		last.Time = since
	}
	if want.is(last) {
		return last.Time, last, true
	}
	for _, c := range history[i:] {
		if last = c; want.is(c) {
			return c.Time, c, true
		}
	}
	return time.Time{}, last, false
}

// String says what the route is.
func (c RouteChange) String() string {
	switch {
	case !c.Present:
		return "absent"
	case len(c.NextHops) == 0:
		return "connected"
	default:
		return fmt.Sprintf("via %v", c.NextHops)
	}
}

// destination returns a route's prefix. The kernel leaves that of a default
// route out.
func destination(r netlink.Route) netip.Prefix {
	if r.Dst == nil {
		if r.Family == netlink.FAMILY_V6 {
			return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	bits, _ := r.Dst.Mask.Size()
	return netip.PrefixFrom(addrOf(r.Dst.IP), bits)
}

// nextHops returns a route's gateways, in order.
func nextHops(r netlink.Route) []netip.Addr {
	var hops []netip.Addr
	if gw := addrOf(r.Gw); gw.IsValid() {
		hops = append(hops, gw)
	}
	if via, ok := r.Via.(*netlink.Via); ok {
		hops = append(hops, addrOf(via.Addr))
	}
	for _, n := range r.MultiPath {
		if gw := addrOf(n.Gw); gw.IsValid() {
			hops = append(hops, gw)
		}
		if via, ok := n.Via.(*netlink.Via); ok {
			hops = append(hops, addrOf(via.Addr))
		}
	}
	slices.SortFunc(hops, netip.Addr.Compare)
	return hops
}
