// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/l2"
	"github.com/heraldlb/herald/lab"
)

const (
	// lookEvery separates two looks, askWait is how long an answer on layer 2 may take.
	lookEvery = 300 * time.Millisecond
	askWait   = 200 * time.Millisecond

	// perSecond is how many requests a Service gets.
	perSecond = 10

	// pulse is how often this process sees whether it runs. If it did not for longer than
	// stalled, what it observed meanwhile is nobody's fault.
	pulse   = 50 * time.Millisecond
	stalled = 150 * time.Millisecond
)

// A watch observes a rig all the time.
type watch struct {
	rig       *rig
	neighbors *lab.NeighborWatch
	routes    *lab.RouteWatch
	macs      map[l2.MAC]string
	addrs     map[string]netip.Addr // of the stable Services
	loads     map[string]*lab.Load
	cancel    context.CancelFunc
	done      errgroup.Group

	mu    sync.Mutex // guards the fields below
	seen  Observations
	ended []Violation // processes that ended by themselves
	since time.Time   // routes before that were reported
}

// newWatch starts to observe.
func newWatch(ctx context.Context, r *rig) (_ *watch, err error) {
	w := &watch{rig: r, macs: map[l2.MAC]string{}, addrs: map[string]netip.Addr{}, loads: map[string]*lab.Load{}, since: time.Now()}
	for _, n := range r.Nodes {
		mac, err := n.MAC()
		if err != nil {
			return nil, err
		}
		w.macs[mac] = n.Name
	}
	for _, name := range StableServices {
		all, err := r.Cluster.WaitAddress(ctx, namespace, name)
		if err != nil {
			return nil, err
		}
		w.addrs[name] = all[0]
	}
	if w.neighbors, err = r.LANClient.WatchNeighbors(); err != nil {
		return nil, err
	}
	if w.routes, err = r.Router.WatchRoutes(); err != nil {
		w.neighbors.Close()
		return nil, err
	}
	ctx, w.cancel = context.WithCancel(ctx)
	w.done.Go(func() error { w.every(ctx, pulse, w.beat()); return nil })
	w.done.Go(func() error { w.every(ctx, lookEvery, w.read); return nil })
	w.done.Go(func() error { w.every(ctx, lookEvery, w.census); return nil })
	for _, name := range NewWorld().stableIn(poolLAN) {
		w.done.Go(func() error { w.every(ctx, lookEvery, func(ctx context.Context) { w.ask(ctx, name) }); return nil })
	}
	return w, nil
}

// begin starts the loads, and forgets what was seen before: while a lab comes up, all is
// not well yet.
func (w *watch) begin() {
	w.take(time.Now())
	for _, name := range StableServices {
		w.loads[name] = w.load(name)
	}
}

// stop ends observing.
func (w *watch) stop() {
	w.cancel()
	_ = w.done.Wait() // none of them returns an error
	for _, l := range w.loads {
		l.Stop()
	}
	w.routes.Close()
	w.neighbors.Close()
}

func (w *watch) every(ctx context.Context, d time.Duration, look func(context.Context)) {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			look(ctx)
		}
	}
}

// load starts a load on a Service: from its own LAN on one, else through r1.
func (w *watch) load(name string) *lab.Load {
	from := w.rig.Client
	if name == "lan-a" {
		from = w.rig.LANClient
	}
	return from.StartLoad(lab.LoadOptions{URL: url(w.addrs[name]), PerSecond: perSecond, Lost: func(sent time.Time, err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.seen.Lost = append(w.seen.Lost, Lost{Service: name, Time: sent, Error: err.Error()})
	}})
}

// beat notices that this process did not run.
func (w *watch) beat() func(context.Context) {
	last := time.Now()
	return func(context.Context) {
		now := time.Now()
		if now.Sub(last) > stalled {
			w.mu.Lock()
			// Agents that had to wait too were taken for dead, and requests that were under way
			// for lost.
			w.seen.Stalls = merge(w.seen.Stalls, Span{last.Add(-2 * time.Second), now.Add(time.Second + 2*now.Sub(last))})
			w.mu.Unlock()
		}
		last = now
	}
}

// ask asks who has a Service's address.
func (w *watch) ask(ctx context.Context, name string) {
	start := time.Now()
	macs, err := w.neighbors.Ask(ctx, w.addrs[name], askWait)
	if err != nil {
		return // the watch ends
	}
	var owners []string
	for _, m := range macs {
		owner, known := w.macs[m]
		if !known {
			owner = m.String()
		}
		owners = append(owners, owner)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen.Answers = append(w.seen.Answers, Answer{Service: name, Time: start, Owners: owners})
}

// read reads the Services' addresses. An API server that is away says nothing.
func (w *watch) read(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	list, err := w.rig.Cluster.Client().CoreV1().Services(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return
	}
	r := Reading{Time: time.Now(), Addresses: map[string][]netip.Addr{}}
	for _, svc := range list.Items {
		r.Addresses[svc.Name] = addressesOf(&svc)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen.Readings = append(w.seen.Readings, r)
}

// census looks whether all processes run that no step has ended, and starts others
// again, as the kubelet would.
func (w *watch) census(context.Context) {
	for part, d := range w.rig.daemons() {
		select {
		case w.rig.parts[part] <- struct{}{}:
		default:
			continue // a step has it
		}
		if d.Process().Ended() {
			v := Violation{Invariant: InvariantProcess, Subject: d.Name, Time: time.Now(), Evidence: fmt.Sprint(d.Process().Wait())}
			if err := d.Start(); err != nil {
				v.Evidence += "; it cannot be started again: " + err.Error()
			}
			w.mu.Lock()
			w.ended = append(w.ended, v)
			w.mu.Unlock()
		}
		<-w.rig.parts[part]
	}
}

// lossKnown is how long it may take until a request is known to be lost: the load waits 2
// seconds.
const lossKnown = 2500 * time.Millisecond

// take returns what was observed since the last call until now, and what processes ended.
func (w *watch) take(now time.Time) (Observations, []Violation) {
	time.Sleep(time.Until(now.Add(lossKnown)))
	routes := w.changes(now)
	w.mu.Lock()
	defer w.mu.Unlock()
	o, ended := w.seen, w.ended
	o.Routes, o.End = routes, now
	w.seen, w.ended = Observations{}, nil
	return o, ended
}

// changes returns the changes of r1's routes to stable Services, and of their next hops.
// The first of each is the state at the last call.
func (w *watch) changes(now time.Time) []Route {
	var all []Route
	for _, name := range routedServices() {
		history := w.routes.History(route(w.addrs[name]))
		// Of those before, only the last one matters.
		i, _ := slices.BinarySearchFunc(history, w.since, func(c lab.RouteChange, t time.Time) int { return c.Time.Compare(t) })
		for _, c := range history[max(i-1, 0):] {
			at := c.Time
			if at.Before(w.since) {
				at = w.since
			}
			all = append(all, Route{Service: name, Time: at, Present: c.Present})
			for _, n := range w.rig.Nodes {
				all = append(all, Route{Service: name + " via " + n.Name, Time: at, Present: c.Present && leads(c, n)})
			}
		}
	}
	w.since = now
	return all
}

// leads reports whether a route leads to a node.
func leads(c lab.RouteChange, n *lab.Node) bool {
	return slices.ContainsFunc([]netip.Addr{n.Addr4, n.Addr6, n.LinkLocal}, func(a netip.Addr) bool { return slices.Contains(c.NextHops, a) })
}

func route(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }
