// SPDX-License-Identifier: Apache-2.0

package frr_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/frr/conf"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/e2e"
	"github.com/heraldlb/herald/lab/process"
	"github.com/heraldlb/herald/render"
	"github.com/heraldlb/herald/status"
)

// Whatever options a peer has, its session comes up: when FRR starts from frr.conf,
// once more when it is started again and the router remembers, when the agent adds
// the peer to an FRR that runs, and when it changes the peer. All combinations of
// two options are there, between all versions of FRR that the lab has.
func TestBGPPeerOptions(t *testing.T) {
	lab.Need(t, e2e.Network...)
	versions := lab.Versions(t)
	// A node, a router outside the nodes' AS and one inside, of each version.
	var frrs []lab.NodeFRR
	for _, kind := range []bool{false, true, true} {
		for _, v := range versions {
			frrs = append(frrs, lab.NodeFRR{Root: v.Root, Listens: kind})
		}
	}
	top := lab.New(t, lab.Options{Nodes: len(frrs), NodeFRR: frrs, NoFRR: true})
	v := len(versions)
	nodes, outside, inside := top.Nodes[:v], top.Nodes[v:2*v], top.Nodes[2*v:]
	var ends []end
	number := 0
	for _, p := range pairwise(peerings(), peering.columns) {
		routers := outside
		if p.inside() {
			routers = inside
		}
		for _, r := range routers {
			number++
			for _, n := range nodes {
				ends = append(ends, newEnd(p, n, r, number))
			}
		}
	}
	if err := wire(e2e.Deadline(t), ends); err != nil {
		t.Fatal(err)
	}
	var start errgroup.Group
	for i, r := range slices.Concat(outside, inside) {
		asn := routerAS
		if i >= v {
			asn = nodesAS
		}
		start.Go(func() error {
			if err := r.FRR.Configure(routerConf(r, asn, ends)); err != nil {
				return err
			}
			return r.FRR.Start(e2e.Deadline(t))
		})
	}
	if err := start.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d of %d combinations, %d sessions", number/v, len(peerings()), len(ends))

	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	o := &optionsTest{t: t, nodes: nodes, ends: ends, host: host, life: t.Context(), appliers: make([]*frr.Applier, len(nodes)), end: make([]func(), len(nodes))}
	whole := func(e end) render.Neighbor { return e.neighbor() }
	phase := func(name string, plain time.Duration, change func()) {
		t.Run(name, func(t *testing.T) {
			o.t = t
			change()
			o.up(ends, plain)
		})
	}
	phase("start", e2e.Patience, func() { o.start(whole) })
	phase("start again", e2e.Patience, func() { o.start(whole) })
	phase("added", e2e.Patience, func() {
		o.apply(nil)
		o.apply(whole)
	})
	phase("changed from nothing but an address", soon, func() {
		o.apply(func(e end) render.Neighbor {
			n := e.neighbor()
			return render.Neighbor{Address: n.Address, Interface: n.Interface, ASN: n.ASN, DynamicASN: n.DynamicASN}
		})
		o.apply(whole)
	})
	o.t = t
	o.settled(whole)
	phase("put right", soon, func() {
		o.apply(wrong)
		o.refused()
		o.apply(whole)
	})
	t.Run("BFD taken away", func(t *testing.T) {
		o.t = t
		o.takeBFD(slices.Concat(outside, inside))
	})
}

// soon is how long a session may take that was changed while it was down. bgpd would
// wait for up to twice as long after the refusals that it has had by then.
const soon = 8 * time.Second

// wrong returns a neighbor with one option that is not as the router wants it.
func wrong(e end) render.Neighbor {
	n := e.neighbor()
	all := []func(){func() { n.ASN, n.DynamicASN, n.LocalASN = wrongAS, "", 0 }}
	if n.EBGPMultiHop && !e.inside() {
		all = append(all, func() { n.EBGPMultiHop = false })
	}
	if n.TTLSecurity != 0 {
		all = append(all, func() { n.TTLSecurity = 0 })
	}
	if n.LocalASN != 0 {
		all = append(all, func() { n.LocalASN = 0 })
	}
	if n.SourceAddress.IsValid() {
		all = append(all, func() { n.SourceAddress = netip.Addr{} })
	}
	if !n.Password.IsZero() {
		all = append(all, func() { n.Password = config.Secret{} })
	}
	if n.BFDProfile != "" {
		all = append(all, func() { n.BFDProfile = "" })
	}
	all[e.number%len(all)]()
	return n
}

// An optionsTest is some nodes with sessions of all kinds.
type optionsTest struct {
	t        *testing.T
	nodes    []*lab.Node
	appliers []*frr.Applier // of the nodes
	end      []func()       // ends that of a node; nil: there is none
	ends     []end
	life     context.Context // of the appliers
	host     string          // the host's name, which FRR shows unless it is told another
	since    time.Time       // the last change
}

// each runs fn for all nodes at once.
func (o *optionsTest) each(fn func(int, *lab.Node) error) {
	o.t.Helper()
	o.since = time.Now()
	var g errgroup.Group
	for i, n := range o.nodes {
		g.Go(func() error { return fn(i, n) })
	}
	if err := g.Wait(); err != nil {
		o.t.Fatal(err)
	}
}

// start starts the nodes' FRR from nothing but frr.conf, for the agent to find that
// there is nothing to change.
func (o *optionsTest) start(as func(end) render.Neighbor) {
	o.t.Helper()
	o.each(func(i int, n *lab.Node) error {
		if o.end[i] != nil {
			o.end[i]() // it would put back what it was told when it looks for drift
		}
		text := o.text(n, as)
		ctx := e2e.Deadline(o.t)
		err := startFresh(ctx, n, text)
		// FRR 8.4 refuses graceful restart while bgpd has not found zebra yet.
		for err != nil && ctx.Err() == nil && strings.Contains(err.Error(), "graceful-restart") {
			err = startFresh(ctx, n, text)
		}
		if err != nil {
			return err
		}
		a := frr.New(frr.Options{RunDir: n.FRR.RunDir})
		o.appliers[i] = a
		life, end := context.WithCancel(o.life)
		done := make(chan struct{})
		go func() {
			defer close(done)
			a.Run(life) // it returns nil
		}()
		o.end[i] = func() {
			end()
			<-done
		}
		return o.set(a, text)
	})
}

// apply has the nodes change their peers to what as makes of them; none if it is nil.
func (o *optionsTest) apply(as func(end) render.Neighbor) {
	o.t.Helper()
	o.each(func(i int, n *lab.Node) error { return o.set(o.appliers[i], o.text(n, as)) })
}

// set has an applier put a configuration in force, and waits until it is.
func (o *optionsTest) set(a *frr.Applier, text []byte) error {
	a.Set(frr.PlainText(text))
	return process.Poll(e2e.Deadline(o.t), 10*time.Millisecond, func() error {
		if s := a.State(); !s.Applied {
			return fmt.Errorf("not applied: %w", s.Err)
		}
		return nil
	})
}

// text returns a node's frr.conf. Besides the peers there is one in a VRF, which
// the kernel does not have: it must not be in the way of others.
func (o *optionsTest) text(n *lab.Node, as func(end) render.Neighbor) []byte {
	c := render.Config{Hostname: o.host, ASN: nodesAS, RouterID: n.Addr4, BFDProfiles: bfdProfiles()}
	var class render.Class
	if as != nil {
		for _, e := range o.ends {
			if e.node == n {
				c.Neighbors = append(c.Neighbors, as(e))
			}
		}
		c.VRFs = []render.VRF{{Name: "blue", ASN: nodesAS}}
		c.Neighbors = append(c.Neighbors, render.Neighbor{
			Address: netip.MustParseAddr("10.99.0.1"), VRF: "blue", ASN: routerAS, BFDProfile: "plain", EBGPMultiHop: true, DualStack: true,
		})
	}
	slices.SortFunc(c.Neighbors, func(a, b render.Neighbor) int { return a.ID().Compare(b.ID()) })
	for _, n := range c.Neighbors {
		class.Attributes = append(class.Attributes, render.Attributes{Neighbor: n.ID()})
	}
	c.Classes = []render.Class{class}
	c.Networks = []render.Network{{Prefix: e2e.Service}, {Prefix: e2e.Service6}}
	text, err := render.FRR(c)
	if err != nil {
		panic(err) // the table above is wrong
	}
	return text
}

// up waits until sessions are up, with BFD where it is meant to be, and all routes have
// been sent. Those without BFD, which nothing but bgpd delays, may take so long.
func (o *optionsTest) up(ends []end, plain time.Duration) {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(o.t.Context(), e2e.Patience)
	defer cancel()
	left := slices.Clone(ends)
	slowest := map[bool]time.Duration{} // by whether there is BFD
	stuck := make([]frr.Stuck, len(o.nodes))
	silent := make([]frr.Unanswered, len(o.nodes))
	for {
		var wrong []string
		for i, n := range o.nodes {
			all, sessions, err := sessionsOf(ctx, n)
			if err != nil {
				o.t.Fatal(err)
			}
			for _, p := range stuck[i].Next(all, time.Now()) { // as the agent does
				if _, err := o.appliers[i].Reopen(ctx, p); err != nil {
					o.t.Error(err)
				}
			}
			for _, p := range silent[i].Next(all, time.Now()) { // likewise: GoBGP may leave an OPEN without an answer
				o.t.Logf("%s to %s gets no answer to its OPEN: reset", n.Name, p)
				if _, err := n.FRR.Vtysh(ctx, conf.Clear(p.VRF)+" "+p.Name()); err != nil {
					o.t.Error(err)
				}
			}
			left = slices.DeleteFunc(left, func(e end) bool {
				if e.node != n {
					return false
				}
				if err := e.fine(sessions[e.id()]); err != nil {
					wrong = append(wrong, fmt.Sprintf("%s: %v", e, err))
					return false
				}
				took := time.Since(o.since)
				if e.bfd == "" && took > plain {
					o.t.Errorf("%s: up after %v, want %v", e, took, plain)
				}
				slowest[e.bfd != ""] = took
				return true
			})
		}
		if len(left) == 0 {
			o.t.Logf("up after %v, with BFD after %v", slowest[false].Round(time.Millisecond), slowest[true].Round(time.Millisecond))
			return
		}
		select {
		case <-ctx.Done():
			o.t.Errorf("%d of %d sessions:\n%s", len(left), len(ends), strings.Join(wrong, "\n"))
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// refused waits until each node has been refused by a router for its AS number, and has
// doubled the time between attempts a few times.
func (o *optionsTest) refused() {
	o.t.Helper()
	for _, n := range o.nodes {
		err := process.Poll(e2e.Deadline(o.t), 100*time.Millisecond, func() error {
			all, _, err := sessionsOf(e2e.Deadline(o.t), n)
			if err != nil {
				return err
			}
			if !slices.ContainsFunc(all, func(f frr.Session) bool { return strings.Contains(f.LastError, "Bad Peer AS") }) {
				return fmt.Errorf("%s was not refused", n.Name)
			}
			return nil
		})
		if err != nil {
			o.t.Fatal(err)
		}
	}
	time.Sleep(4 * time.Second) // FRR shows its waits nowhere
}

// drops returns how often each session has gone down.
func (o *optionsTest) drops() map[string]int {
	o.t.Helper()
	drops := map[string]int{}
	for _, n := range o.nodes {
		_, sessions, err := sessionsOf(e2e.Deadline(o.t), n)
		if err != nil {
			o.t.Fatal(err)
		}
		for id, f := range sessions {
			drops[n.Name+" "+id.String()] = f.Dropped
		}
	}
	return drops
}

// takeBFD takes BFD from the nodes' peers, and then from their neighbors on the
// routers. No session without BFD is reset; one that had BFD is back soon, with a router
// that opens none while BFD is down after the second.
func (o *optionsTest) takeBFD(routers []*lab.Node) {
	o.t.Helper()
	var without, soon []end
	for _, e := range o.ends {
		bare := e
		bare.bfd = ""
		without = append(without, bare)
		if !slices.Contains(e.router.FRR.Daemons(), "mgmtd") { // of FRR 10
			soon = append(soon, bare)
		}
	}
	before := o.drops()
	o.apply(func(e end) render.Neighbor {
		n := e.neighbor()
		n.BFDProfile = ""
		return n
	})
	if len(soon) > 0 {
		o.up(soon, e2e.Patience)
	}
	for _, r := range routers {
		if _, err := r.FRR.Vtysh(e2e.Deadline(o.t), withoutBFD(r, o.ends)...); err != nil {
			o.t.Fatal(err)
		}
	}
	o.up(without, e2e.Patience)
	after := o.drops()
	for _, e := range o.ends {
		key := e.node.Name + " " + e.id().String()
		if got := after[key] - before[key]; got > 0 && e.bfd == "" {
			o.t.Errorf("%s: went down %d times", e, got)
		}
	}
}

// fine returns an error unless a session is as it should be.
func (e end) fine(f frr.Session) error {
	switch {
	case f.State == "":
		return errors.New("there is none")
	case !f.Up:
		return fmt.Errorf("%s: %s: BFD %+v", f.State, f.LastError, f.BFD)
	case f.PrefixesSent != e.families():
		return fmt.Errorf("%d routes were sent, want %d", f.PrefixesSent, e.families())
	case (f.BFD != nil && f.BFD.Up) != (e.bfd != ""):
		return fmt.Errorf("BFD is %+v, want %q", f.BFD, e.bfd)
	}
	return nil
}

// sessionsOf returns a node's sessions.
func sessionsOf(ctx context.Context, n *lab.Node) (all []frr.Session, byPeer map[status.PeerID]frr.Session, err error) {
	r := frr.NewReader(n.FRR.RunDir)
	defer r.Close()
	all, err = r.Sessions(ctx)
	byPeer = make(map[status.PeerID]frr.Session, len(all))
	for _, f := range all {
		byPeer[f.Peer] = f
	}
	return all, byPeer, err
}

// settled checks that FRR runs what it is to run.
func (o *optionsTest) settled(as func(end) render.Neighbor) {
	o.t.Helper()
	for _, n := range o.nodes {
		want := conf.Parse(string(o.text(n, as)))
		for _, d := range []string{"bgpd", "bfdd"} {
			rest := conf.Diff(conf.Parse(e2e.Running(o.t, n.FRR, d)), want.For(d))
			rest = slices.DeleteFunc(rest, func(c conf.Command) bool { return isDefault(n.FRR, c.Text) })
			if len(rest) > 0 {
				o.t.Errorf("%s: %s: left to apply: %v", n.Name, d, rest)
			}
		}
	}
}
