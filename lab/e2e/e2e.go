// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/process"
)

// Patience is how long an end-to-end test waits for anything. What should take
// a tenth of a second is measured by the benchmark, not by tests.
const Patience = time.Minute

// Addresses of the routers that the nodes may peer with.
var (
	IBGP4 = netip.MustParseAddr("10.10.0.200")
	IBGP6 = netip.MustParseAddr("fd00:10:10::200")
	EBGP4 = netip.MustParseAddr("10.10.0.201")
	EBGP6 = netip.MustParseAddr("fd00:10:10::201")
)

// AllPeers is the configuration of sessions with r1 and both GoBGPs, over both
// families.
const AllPeers = `
peers:
- {my-asn: 64512, peer-asn: 64513, peer-address: 10.10.0.254}
- {my-asn: 64512, peer-asn: 64513, peer-address: "fd00:10:10::254"}
- {my-asn: 64512, peer-asn: 64512, peer-address: 10.10.0.200}
- {my-asn: 64512, peer-asn: 64512, peer-address: "fd00:10:10::200"}
- {my-asn: 64512, peer-asn: 64514, peer-address: 10.10.0.201}
- {my-asn: 64512, peer-asn: 64514, peer-address: "fd00:10:10::201"}
`

// A Test is a test of the whole product. Its Services live in a namespace of
// their own and are deleted when the test ends.
type Test struct {
	*lab.Stack
	T          *testing.T
	IBGP, EBGP *lab.GoBGP
	Routes     *lab.RouteWatch // r1's kernel
	Namespace  string
}

// OnVersions runs a part of a test on a node with each version of FRR, on all at the
// same time.
func (e *Test) OnVersions(test func(e *Test, n *lab.Node)) {
	e.T.Helper()
	VersionsAtOnce(e.T, func(t *testing.T, v lab.Version) {
		part := *e
		part.T = t
		test(&part, part.NodeWith(v))
	})
}

// EachVersion runs a test with each version of FRR, one after the other.
func EachVersion(t *testing.T, test func(t *testing.T, v lab.Version)) {
	t.Helper()
	for _, v := range lab.Versions(t) {
		t.Run(v.Name, func(t *testing.T) { test(t, v) })
	}
}

// VersionsAtOnce runs a test with each version of FRR, at the same time: on networks of
// their own, or on different nodes.
func VersionsAtOnce(t *testing.T, test func(t *testing.T, v lab.Version)) {
	t.Helper()
	var all sync.WaitGroup
	for _, v := range lab.Versions(t) {
		all.Go(func() { t.Run(v.Name, func(t *testing.T) { test(t, v) }) })
	}
	all.Wait()
}

// NodeWith returns the first node with a version of FRR.
func (e *Test) NodeWith(v lab.Version) *lab.Node {
	return e.Nodes[slices.IndexFunc(e.Nodes, func(n *lab.Node) bool { return n.FRR.Runs(v) })]
}

// watch starts the watch of r1's routes and arranges for the end of the test.
func (e *Test) watch() {
	e.T.Helper()
	var err error
	if e.Routes, err = e.Router.WatchRoutes(); err != nil {
		e.T.Fatal(err)
	}
	e.T.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), Patience)
		defer cancel()
		e.Routes.Close()
		if e.T.Failed() { // before what there is to see is cleaned up
			e.Dump(ctx, e.T.Output())
		}
		ctx, cancel = context.WithTimeout(context.Background(), Patience)
		defer cancel()
		if err := e.cleanUp(ctx); err != nil {
			e.T.Error(err)
		}
	})
}

// cleanUp deletes the test's Services and waits until their routes are gone.
func (e *Test) cleanUp(ctx context.Context) error {
	list, err := e.Cluster.Services(ctx, e.Namespace)
	if err != nil {
		return err
	}
	var g errgroup.Group
	g.SetLimit(8)
	for _, name := range list {
		g.Go(func() error { return e.Cluster.DeleteService(ctx, e.Namespace, name) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	_, err = e.IBGP.WaitPaths(ctx, func(paths []lab.Path) error {
		if len(paths) > 0 {
			return fmt.Errorf("%s still announces %s after the test", paths[0].Peer, paths[0].Prefix)
		}
		return nil
	})
	return err
}

// Configure replaces Herald's configuration.
func (e *Test) Configure(document string) {
	e.T.Helper()
	if err := e.Stack.Configure(e.T.Context(), document); err != nil {
		e.T.Fatal(err)
	}
}

// Expose makes a Service in the test's namespace with a backend on each of the
// nodes, no nodes meaning all, and returns its addresses.
func (e *Test) Expose(opts controlplane.ServiceOptions, nodes ...*lab.Node) []netip.Addr {
	e.T.Helper()
	opts.Namespace = e.Namespace
	if _, err := e.Stack.Expose(e.T.Context(), opts, nodes...); err != nil {
		e.T.Fatal(err)
	}
	addrs, err := e.Cluster.WaitAddress(e.T.Context(), e.Namespace, opts.Name)
	if err != nil {
		e.T.Fatal(err)
	}
	return addrs
}

// Eventually waits until check reports no error.
func (e *Test) Eventually(what string, check func(ctx context.Context) error) {
	e.T.Helper()
	ctx, cancel := context.WithTimeout(e.T.Context(), Patience)
	defer cancel()
	if err := process.Poll(ctx, 20*time.Millisecond, func() error { return check(ctx) }); err != nil {
		e.T.Fatalf("%s: %v", what, err)
	}
}

// VersionNodes returns a node with each version of FRR, and a list of node selectors in
// YAML that selects them, with this key for labels.
func (e *Test) VersionNodes(labels string) (nodes []*lab.Node, selectors string) {
	e.T.Helper()
	var each []string
	for _, v := range lab.Versions(e.T) {
		n := e.NodeWith(v)
		nodes = append(nodes, n)
		each = append(each, fmt.Sprintf("{%s: {kubernetes.io/hostname: %s}}", labels, n.Name))
	}
	return nodes, "[" + strings.Join(each, ", ") + "]"
}

// OthersThan returns the nodes but for the first with a version of FRR.
func (e *Test) OthersThan(v lab.Version) []*lab.Node {
	first := e.NodeWith(v)
	return slices.DeleteFunc(slices.Clone(e.Nodes), func(n *lab.Node) bool { return n == first })
}

// Route is the route to one address.
func Route(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// Announced waits until exactly these nodes announce the route, no nodes
// meaning all, to r1's kernel and to both GoBGPs.
func (e *Test) Announced(p netip.Prefix, nodes ...*lab.Node) {
	e.T.Helper()
	if len(nodes) == 0 {
		nodes = e.Nodes
	}
	e.Learned(e.IBGP, p, nodes)
	e.Learned(e.EBGP, p, nodes)
	e.InKernel(p, nodes)
}

// Withdrawn waits until nobody announces the route.
func (e *Test) Withdrawn(p netip.Prefix) {
	e.T.Helper()
	e.Learned(e.IBGP, p, nil)
	e.Learned(e.EBGP, p, nil)
	e.InKernel(p, nil)
}

// InKernel waits until r1's kernel has the route via exactly these nodes.
func (e *Test) InKernel(p netip.Prefix, nodes []*lab.Node) {
	e.T.Helper()
	want := lab.Absent()
	switch {
	case len(nodes) > 0 && p.Addr().Is4():
		want = lab.Via(Addrs4(nodes)...)
	case len(nodes) > 0:
		// The kernel has the link-local next hops. RFC 2545, Section 3.
		want = lab.Hops(len(nodes))
	}
	ctx, cancel := context.WithTimeout(e.T.Context(), Patience)
	defer cancel()
	if _, err := e.Routes.Wait(ctx, p, time.Now(), want); err != nil {
		e.T.Fatal(err)
	}
}

// Learned waits until a GoBGP has the route from exactly these nodes, by one
// session or by several, and returns the paths.
func (e *Test) Learned(g *lab.GoBGP, p netip.Prefix, nodes []*lab.Node) []lab.Path {
	e.T.Helper()
	var want []netip.Addr
	for _, n := range nodes {
		want = append(want, LANAddr(n, p))
	}
	slices.SortFunc(want, netip.Addr.Compare)
	var found []lab.Path
	ctx, cancel := context.WithTimeout(e.T.Context(), Patience)
	defer cancel()
	_, err := g.WaitPaths(ctx, func(all []lab.Path) error {
		found = slices.DeleteFunc(slices.Clone(all), func(q lab.Path) bool { return q.Prefix != p })
		var have []netip.Addr
		for _, q := range found {
			have = append(have, q.NextHop)
		}
		slices.SortFunc(have, netip.Addr.Compare)
		if have = slices.Compact(have); !slices.Equal(have, want) {
			return fmt.Errorf("%s has next hops %v, want %v", p, have, want)
		}
		return nil
	})
	if err != nil {
		e.T.Fatal(err)
	}
	return found
}

// LANAddr is a node's address in the family of a prefix.
func LANAddr(n *lab.Node, p netip.Prefix) netip.Addr {
	if p.Addr().Is4() {
		return n.Addr4
	}
	return n.Addr6
}

func Addrs4(nodes []*lab.Node) []netip.Addr {
	var all []netip.Addr
	for _, n := range nodes {
		all = append(all, n.Addr4)
	}
	return all
}

// Reached asks the Service from behind r1 until the answers came from exactly
// these nodes' backends, no nodes meaning all.
func (e *Test) Reached(a netip.Addr, nodes ...*lab.Node) {
	e.T.Helper()
	e.ReachedFrom(e.Client, a, nodes...)
}

// Established waits until a GoBGP has a session with exactly these nodes, over
// both families.
func (e *Test) Established(g *lab.GoBGP, nodes []*lab.Node) {
	e.T.Helper()
	var want []netip.Addr
	for _, n := range nodes {
		want = append(want, n.Addr4, n.Addr6)
	}
	slices.SortFunc(want, netip.Addr.Compare)
	e.Eventually("sessions", func(ctx context.Context) error {
		all, err := g.Sessions(ctx)
		if err != nil {
			return err
		}
		var have []netip.Addr
		for _, s := range all {
			if s.Established {
				have = append(have, s.Peer)
			}
		}
		slices.SortFunc(have, netip.Addr.Compare)
		if !slices.Equal(have, want) {
			return fmt.Errorf("established with %v, want %v", have, want)
		}
		return nil
	})
}

// A Session is what a node's bgpd says of one of its sessions.
type Session struct {
	State         string `json:"bgpState"`
	Established   int    `json:"connectionsEstablished"` // how often
	LocalAS       uint32 `json:"localAs"`
	HoldTimeMs    int    `json:"bgpTimerHoldTimeMsecs"`
	KeepaliveMs   int    `json:"bgpTimerKeepAliveIntervalMsecs"`
	RemotePort    int    `json:"portForeign"`
	LocalHost     string `json:"hostLocal"`
	LocalRouterID string `json:"localRouterId"`
	NextHop6      string `json:"nexthopGlobal"`
}

// lost reports whether the session, one with an IPv6 peer, has outlived that its interface
// was down. The agent is about to reset it.
func (s Session) lost(peer string) bool {
	a, err := netip.ParseAddr(peer)
	hop, hopErr := netip.ParseAddr(s.NextHop6)
	return err == nil && a.Is6() && hopErr == nil && (hop.IsUnspecified() || hop.Is4In6())
}

// Sessions returns a node's sessions by the peer's address.
func (e *Test) Sessions(n *lab.Node) map[string]Session {
	e.T.Helper()
	out, err := n.FRR.Vtysh(e.T.Context(), "show bgp neighbors json")
	if err != nil {
		e.T.Fatal(err)
	}
	all := map[string]Session{}
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		e.T.Fatalf("sessions of %s: %v in %s", n.Name, err, out)
	}
	return all
}

// Connections waits until every session of the nodes is established, to stay so, and
// counts how often each was.
func (e *Test) Connections() map[string]int {
	e.T.Helper()
	var counts map[string]int
	e.Eventually("all sessions", func(ctx context.Context) error {
		counts = map[string]int{}
		for _, n := range e.Nodes {
			for peer, s := range e.Sessions(n) {
				name := n.Name + " to " + peer
				if s.State != "Established" {
					return fmt.Errorf("the session of %s with %s is %q", n.Name, peer, s.State)
				}
				if s.lost(peer) {
					return fmt.Errorf("the session of %s with %s has no next hop", n.Name, peer)
				}
				counts[name] = s.Established
			}
		}
		return nil
	})
	return counts
}

// InRange reports an address that is not in a pool's range, a prefix or "a-b".
func InRange(a netip.Addr, text string) error {
	first, last, ok := strings.Cut(text, "-")
	if !ok {
		p := netip.MustParsePrefix(text)
		if !p.Contains(a) {
			return fmt.Errorf("%s is not in %s", a, p)
		}
		return nil
	}
	if a.Compare(netip.MustParseAddr(first)) < 0 || a.Compare(netip.MustParseAddr(last)) > 0 {
		return errors.New(a.String() + " is not in " + text)
	}
	return nil
}

// Stays looks again and again, for a time, whether something is still so.
func (e *Test) Stays(d time.Duration, check func()) {
	e.T.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(d); time.Now().Before(end); <-tick.C {
		check()
	}
}
