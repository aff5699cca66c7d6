// SPDX-License-Identifier: Apache-2.0

package lab_test

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
)

// patience is how long an end-to-end test waits for anything. What should take
// a tenth of a second is measured by the benchmark, not by tests.
const patience = time.Minute

// A sharedStack is a Stack that end-to-end tests run on, one after the other:
// building one takes longer than most tests.
type sharedStack struct {
	once  sync.Once
	stack *lab.Stack
	ibgp  *lab.GoBGP // AS 64512, as the nodes
	ebgp  *lab.GoBGP // AS 64514
	err   error
}

// shared is what most tests run on, sidecars has agents and FRR in containers.
var shared, sidecars sharedStack

// Addresses of the routers that the nodes may peer with.
var (
	ibgp4 = netip.MustParseAddr("10.10.0.200")
	ibgp6 = netip.MustParseAddr("fd00:10:10::200")
	ebgp4 = netip.MustParseAddr("10.10.0.201")
	ebgp6 = netip.MustParseAddr("fd00:10:10::201")
)

// allPeers is the configuration of sessions with r1 and both GoBGPs, over both
// families.
const allPeers = `
peers:
- {my-asn: 64512, peer-asn: 64513, peer-address: 10.10.0.254}
- {my-asn: 64512, peer-asn: 64513, peer-address: "fd00:10:10::254"}
- {my-asn: 64512, peer-asn: 64512, peer-address: 10.10.0.200}
- {my-asn: 64512, peer-asn: 64512, peer-address: "fd00:10:10::200"}
- {my-asn: 64512, peer-asn: 64514, peer-address: 10.10.0.201}
- {my-asn: 64512, peer-asn: 64514, peer-address: "fd00:10:10::201"}
`

// An e2e is a test of the whole product. Its Services live in a namespace of
// their own and are deleted when the test ends.
type e2e struct {
	*lab.Stack
	t          *testing.T
	ibgp, ebgp *lab.GoBGP
	routes     *lab.RouteWatch // r1's kernel
	namespace  string
}

// newE2E returns the shared Stack for a test. Its nodes run different versions of FRR.
func newE2E(t *testing.T) *e2e {
	t.Helper()
	lab.Need(t, "zebra", "bgpd", "bfdd", "nft")
	versions := lab.Versions(t)
	return shared.e2e(t, lab.StackOptions{Network: lab.Mixed(versions, versions[0]), Controllers: 2})
}

// e2e returns the Stack for a test, the first of which starts it.
func (s *sharedStack) e2e(t *testing.T, opts lab.StackOptions) *e2e {
	t.Helper()
	s.once.Do(func() { s.err = s.start(context.Background(), opts) })
	if s.err != nil {
		t.Fatal(s.err)
	}
	e := &e2e{
		Stack: s.stack, t: t, ibgp: s.ibgp, ebgp: s.ebgp,
		namespace: strings.ToLower(strings.NewReplacer("/", "-", "_", "-", "#", "-", ".", "-").Replace(t.Name())),
	}
	e.watch()
	return e
}

// onVersions runs a part of a test on a node with each version of FRR, on all at the
// same time.
func (e *e2e) onVersions(test func(e *e2e, n *lab.Node)) {
	e.t.Helper()
	versionsAtOnce(e.t, func(t *testing.T, v lab.Version) {
		part := *e
		part.t = t
		test(&part, part.nodeWith(v))
	})
}

// eachVersion runs a test with each version of FRR, one after the other.
func eachVersion(t *testing.T, test func(t *testing.T, v lab.Version)) {
	t.Helper()
	for _, v := range lab.Versions(t) {
		t.Run(v.Name, func(t *testing.T) { test(t, v) })
	}
}

// versionsAtOnce runs a test with each version of FRR, at the same time: on networks of
// their own, or on different nodes.
func versionsAtOnce(t *testing.T, test func(t *testing.T, v lab.Version)) {
	t.Helper()
	var all sync.WaitGroup
	for _, v := range lab.Versions(t) {
		all.Go(func() { t.Run(v.Name, func(t *testing.T) { test(t, v) }) })
	}
	all.Wait()
}

// nodeWith returns the first node with a version of FRR.
func (e *e2e) nodeWith(v lab.Version) *lab.Node {
	return e.Nodes[slices.IndexFunc(e.Nodes, func(n *lab.Node) bool { return n.FRR.Runs(v) })]
}

// watch starts the watch of r1's routes and arranges for the end of the test.
func (e *e2e) watch() {
	e.t.Helper()
	var err error
	if e.routes, err = e.Router.WatchRoutes(); err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		e.routes.Close()
		if e.t.Failed() { // before what there is to see is cleaned up
			e.Dump(ctx, e.t.Output())
		}
		ctx, cancel = context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := e.cleanUp(ctx); err != nil {
			e.t.Error(err)
		}
	})
}

// start builds the Stack, with a backend on each node and the two GoBGPs.
func (s *sharedStack) start(ctx context.Context, opts lab.StackOptions) (err error) {
	if s.stack, err = lab.UpStack(ctx, opts); err != nil {
		return err
	}
	for _, n := range s.stack.Nodes {
		if _, err := n.StartBackend(ctx); err != nil {
			return err
		}
	}
	s.ibgp, err = s.stack.StartGoBGP(ctx, lab.GoBGPOptions{Name: "ibgp", ASN: 64512, Listen: []netip.Addr{ibgp4, ibgp6}})
	if err != nil {
		return err
	}
	s.ebgp, err = s.stack.StartGoBGP(ctx, lab.GoBGPOptions{Name: "ebgp", ASN: 64514, Listen: []netip.Addr{ebgp4, ebgp6}})
	return err
}

// stop takes the Stack down, if a test has started it.
func (s *sharedStack) stop() error {
	if s.stack == nil {
		return nil
	}
	return s.stack.Down(context.Background())
}

// cleanUp deletes the test's Services and waits until their routes are gone.
func (e *e2e) cleanUp(ctx context.Context) error {
	list, err := e.Cluster.Services(ctx, e.namespace)
	if err != nil {
		return err
	}
	var g errgroup.Group
	g.SetLimit(8)
	for _, name := range list {
		g.Go(func() error { return e.Cluster.DeleteService(ctx, e.namespace, name) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	_, err = e.ibgp.WaitPaths(ctx, func(paths []lab.Path) error {
		if len(paths) > 0 {
			return fmt.Errorf("%s still announces %s after the test", paths[0].Peer, paths[0].Prefix)
		}
		return nil
	})
	return err
}

// configure replaces Herald's configuration.
func (e *e2e) configure(document string) {
	e.t.Helper()
	if err := e.Configure(e.t.Context(), document); err != nil {
		e.t.Fatal(err)
	}
}

// expose makes a Service in the test's namespace with a backend on each of the
// nodes, no nodes meaning all, and returns its addresses.
func (e *e2e) expose(opts lab.ServiceOptions, nodes ...*lab.Node) []netip.Addr {
	e.t.Helper()
	opts.Namespace = e.namespace
	if _, err := e.Expose(e.t.Context(), opts, nodes...); err != nil {
		e.t.Fatal(err)
	}
	addrs, err := e.Cluster.WaitAddress(e.t.Context(), e.namespace, opts.Name)
	if err != nil {
		e.t.Fatal(err)
	}
	return addrs
}

// eventually waits until check reports no error.
func (e *e2e) eventually(what string, check func(ctx context.Context) error) {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), patience)
	defer cancel()
	if err := lab.Poll(ctx, 20*time.Millisecond, func() error { return check(ctx) }); err != nil {
		e.t.Fatalf("%s: %v", what, err)
	}
}

// versionNodes returns a node with each version of FRR, and a list of node selectors in
// YAML that selects them, with this key for labels.
func (e *e2e) versionNodes(labels string) (nodes []*lab.Node, selectors string) {
	e.t.Helper()
	var each []string
	for _, v := range lab.Versions(e.t) {
		n := e.nodeWith(v)
		nodes = append(nodes, n)
		each = append(each, fmt.Sprintf("{%s: {kubernetes.io/hostname: %s}}", labels, n.Name))
	}
	return nodes, "[" + strings.Join(each, ", ") + "]"
}

// othersThan returns the nodes but for the first with a version of FRR.
func (e *e2e) othersThan(v lab.Version) []*lab.Node {
	first := e.nodeWith(v)
	return slices.DeleteFunc(slices.Clone(e.Nodes), func(n *lab.Node) bool { return n == first })
}

// route is the route to one address.
func route(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// announced waits until exactly these nodes announce the route, no nodes
// meaning all, to r1's kernel and to both GoBGPs.
func (e *e2e) announced(p netip.Prefix, nodes ...*lab.Node) {
	e.t.Helper()
	if len(nodes) == 0 {
		nodes = e.Nodes
	}
	e.learned(e.ibgp, p, nodes)
	e.learned(e.ebgp, p, nodes)
	e.inKernel(p, nodes)
}

// withdrawn waits until nobody announces the route.
func (e *e2e) withdrawn(p netip.Prefix) {
	e.t.Helper()
	e.learned(e.ibgp, p, nil)
	e.learned(e.ebgp, p, nil)
	e.inKernel(p, nil)
}

// inKernel waits until r1's kernel has the route via exactly these nodes.
func (e *e2e) inKernel(p netip.Prefix, nodes []*lab.Node) {
	e.t.Helper()
	want := lab.Absent()
	switch {
	case len(nodes) > 0 && p.Addr().Is4():
		want = lab.Via(addrs4(nodes)...)
	case len(nodes) > 0:
		// The kernel has the link-local next hops. RFC 2545, Section 3.
		want = lab.Hops(len(nodes))
	}
	ctx, cancel := context.WithTimeout(e.t.Context(), patience)
	defer cancel()
	if _, err := e.routes.Wait(ctx, p, time.Now(), want); err != nil {
		e.t.Fatal(err)
	}
}

// learned waits until a GoBGP has the route from exactly these nodes, by one
// session or by several, and returns the paths.
func (e *e2e) learned(g *lab.GoBGP, p netip.Prefix, nodes []*lab.Node) []lab.Path {
	e.t.Helper()
	var want []netip.Addr
	for _, n := range nodes {
		want = append(want, lanAddr(n, p))
	}
	slices.SortFunc(want, netip.Addr.Compare)
	var found []lab.Path
	ctx, cancel := context.WithTimeout(e.t.Context(), patience)
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
		e.t.Fatal(err)
	}
	return found
}

// lanAddr is a node's address in the family of a prefix.
func lanAddr(n *lab.Node, p netip.Prefix) netip.Addr {
	if p.Addr().Is4() {
		return n.Addr4
	}
	return n.Addr6
}

func addrs4(nodes []*lab.Node) []netip.Addr {
	var all []netip.Addr
	for _, n := range nodes {
		all = append(all, n.Addr4)
	}
	return all
}

// reached asks the Service from behind r1 until the answers came from exactly
// these nodes' backends, no nodes meaning all.
func (e *e2e) reached(a netip.Addr, nodes ...*lab.Node) {
	e.t.Helper()
	e.reachedFrom(e.Client, a, nodes...)
}

// established waits until a GoBGP has a session with exactly these nodes, over
// both families.
func (e *e2e) established(g *lab.GoBGP, nodes []*lab.Node) {
	e.t.Helper()
	var want []netip.Addr
	for _, n := range nodes {
		want = append(want, n.Addr4, n.Addr6)
	}
	slices.SortFunc(want, netip.Addr.Compare)
	e.eventually("sessions", func(ctx context.Context) error {
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

// A session is what a node's bgpd says of one of its sessions.
type session struct {
	State         string `json:"bgpState"`
	Established   int    `json:"connectionsEstablished"` // how often
	LocalAS       uint32 `json:"localAs"`
	HoldTimeMs    int    `json:"bgpTimerHoldTimeMsecs"`
	KeepaliveMs   int    `json:"bgpTimerKeepAliveIntervalMsecs"`
	RemotePort    int    `json:"portForeign"`
	LocalHost     string `json:"hostLocal"`
	LocalRouterID string `json:"localRouterId"`
}

// sessions returns a node's sessions by the peer's address.
func (e *e2e) sessions(n *lab.Node) map[string]session {
	e.t.Helper()
	out, err := n.FRR.Vtysh(e.t.Context(), "show bgp neighbors json")
	if err != nil {
		e.t.Fatal(err)
	}
	all := map[string]session{}
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		e.t.Fatalf("sessions of %s: %v in %s", n.Name, err, out)
	}
	return all
}

// connections waits until every session of the nodes is established, and counts
// how often each was.
func (e *e2e) connections() map[string]int {
	e.t.Helper()
	var counts map[string]int
	e.eventually("all sessions", func(context.Context) error {
		counts = map[string]int{}
		for _, n := range e.Nodes {
			for peer, s := range e.sessions(n) {
				if s.State != "Established" {
					return fmt.Errorf("the session of %s with %s is %q", n.Name, peer, s.State)
				}
				counts[n.Name+" to "+peer] = s.Established
			}
		}
		return nil
	})
	return counts
}

// inRange reports an address that is not in a pool's range, a prefix or "a-b".
func inRange(a netip.Addr, text string) error {
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
