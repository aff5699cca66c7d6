// SPDX-License-Identifier: Apache-2.0

package frr_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/e2e"
	"github.com/heraldlb/herald/lab/process"
	"github.com/heraldlb/herald/render"
	"github.com/heraldlb/herald/status"
)

// A secured is an end, and who sets the TTL of its packets and checks it. RFC 5082.
type secured struct {
	end
	node, far uint8 // the distance that each side allows in hops; 0: it neither sets nor checks
	through   int   // how many machines forward its packets
	live      bool  // it is switched on and off
}

// comesUp reports whether the session can be established.
func (s secured) comesUp() bool {
	return (s.node == 0) == (s.far == 0) && (s.node == 0 || int(s.node) > s.through)
}

func (s secured) String() string {
	to := "GoBGP"
	if s.router != nil {
		to = s.router.Name
	}
	return fmt.Sprintf("%s to %s (%s, %d and %d hops, through %d)", s.end.node.Name, to, s.peering, s.node, s.far, s.through)
}

// A ttlTest is nodes and routers of each version of FRR with sessions that differ in TTL
// security. Each node has all kinds of them with each router.
type ttlTest struct {
	*optionsTest
	top     *lab.Topology
	routers []*lab.Node
	all     []secured
}

// A session with TTL security comes up if both ends have it and are no further apart than
// they say. It comes up at neither end if the router's packets come from too far away, or
// do not say from how far. It can be switched on and off while it is up.
func TestTTLSecurity(t *testing.T) {
	o := newTTLTest(t)
	before := o.upAtBoth("at first")

	o.routersSet("", "ttl-security hops 1")
	o.change(func(s secured) uint8 { return 1 })
	on := o.upAtBoth("switched on")
	for s, n := range on {
		if s.live && n <= before[s] {
			t.Errorf("%s: its session goes on without TTL security", s)
		}
		if !s.live && n != before[s] {
			t.Errorf("%s: its session was reset", s)
		}
	}
	// Another distance is no other session. FRR takes none but 1 for an unnumbered one.
	o.change(func(s secured) uint8 {
		if s.link == "interface" {
			return 1
		}
		return 2
	})
	o.unreset("another number of hops", on)

	// The router's packets no longer say from how far they come.
	o.routersSet("no", "ttl-security hops 1")
	o.down("the router alone is switched off")
	o.change(func(secured) uint8 { return 0 })
	o.upAtBoth("switched off")

	// Nothing else has come up meanwhile, and it was for the TTL.
	for _, s := range o.all {
		if s.comesUp() || s.live {
			continue
		}
		if f := o.session(s.end.node, s.id()); s.node != 0 && f.Established > 0 {
			t.Errorf("%s: the node's session was up %d times", s, f.Established)
		}
		if s.router == nil {
			continue
		}
		if f := o.session(s.router, s.ofRouter()); f.State == "" || f.Established > 0 {
			t.Errorf("%s: the router's session was up %d times, and is %q", s, f.Established, f.State)
		}
	}
	for _, m := range slices.Concat(o.nodes, o.routers) {
		if n := ttlDrops(t, m); n == 0 {
			t.Errorf("%s has dropped no packet for its TTL", m.Name)
		}
	}
}

// newTTLTest starts the sessions, those that are switched on later without TTL security.
func newTTLTest(t *testing.T) *ttlTest {
	lab.Need(t, e2e.Network...)
	var frrs []lab.NodeFRR
	for _, listens := range []bool{false, true} {
		for _, v := range lab.Versions(t) {
			frrs = append(frrs, lab.NodeFRR{Root: v.Root, Listens: listens})
		}
	}
	top := lab.New(t, lab.Options{Nodes: len(frrs), NodeFRR: frrs, NoFRR: true})
	v := len(frrs) / 2
	o := &ttlTest{optionsTest: &optionsTest{t: t, nodes: top.Nodes[:v], life: t.Context(), appliers: make([]*frr.Applier, v), end: make([]func(), v)}, top: top, routers: top.Nodes[v:]}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	o.host = host
	direct := peering{link: "direct", as: "number"}
	six, guarded := direct, direct
	six.ipv6, guarded.bfd = true, "plain"
	far := peering{link: "multihop", as: "number"}
	cable := peering{link: "interface", as: "external", ipv6: true}
	kinds := []secured{
		{end: end{peering: direct}, live: true},
		{end: end{peering: guarded}, live: true},
		{end: end{peering: cable}, live: true},
		{end: end{peering: six}, node: 1, far: 1},
		{end: end{peering: far}, node: 2, far: 2, through: 1},
		{end: end{peering: far}, node: 2, far: 2, through: 2},
		{end: end{peering: direct}, node: 1},
		{end: end{peering: direct}, far: 1},
	}
	for _, r := range o.routers {
		for k, s := range kinds {
			number := 1 + r.Number*len(kinds) + k
			for _, n := range o.nodes {
				s.end = newEnd(kinds[k].peering, n, r, number)
				o.all = append(o.all, s)
				o.ends = append(o.ends, s.end)
			}
		}
	}
	if err := wire(e2e.Deadline(t), o.ends); err != nil {
		t.Fatal(err)
	}
	o.detours()
	for _, r := range o.routers {
		ends := make([]end, 0, len(o.all))
		for _, s := range o.all {
			s.end.ttl = s.far != 0
			ends = append(ends, s.end)
		}
		if err := r.FRR.Configure(routerConf(r, routerAS, ends)); err != nil {
			t.Fatal(err)
		}
		if err := r.FRR.Start(e2e.Deadline(t)); err != nil {
			t.Fatal(err)
		}
	}
	// GoBGP has no TTL security here: its packets have the TTL of any other.
	g, err := top.StartGoBGP(e2e.Deadline(t), lab.GoBGPOptions{ASN: routerAS})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range o.nodes {
		e := end{peering: direct, node: n, near: n.Addr4, far: g.Addrs[0]}
		o.all = append(o.all, secured{end: e, node: 1})
		o.ends = append(o.ends, e)
	}
	o.start(func(e end) render.Neighbor { return o.neighbor(e, func(s secured) uint8 { return s.node }) })
	return o
}

// detours has machines between the ends forward packets: r1, or r1 and c2.
func (o *ttlTest) detours() {
	o.t.Helper()
	run := func(m *lab.Machine, script string, args ...any) {
		o.t.Helper()
		if _, err := m.Run(e2e.Deadline(o.t), "sh", "-euc", fmt.Sprintf(script, args...)); err != nil {
			o.t.Fatal(err)
		}
	}
	r1, c2 := o.top.Router.Machine, o.top.LANClient
	for _, m := range []*lab.Machine{r1, c2} {
		run(m, "echo 1 >/proc/sys/net/ipv4/ip_forward; for f in /proc/sys/net/ipv4/conf/*/send_redirects; do echo 0 >$f; done; for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 >$f; done")
	}
	for _, s := range o.all {
		if s.through == 0 {
			continue
		}
		last := r1
		if s.through == 2 {
			last = c2
			run(r1, "ip route replace %s via %s", s.end.far, c2.Addr4)
			run(c2, "ip route replace %s via %s", s.near, r1.Addr4)
		}
		run(s.end.node.Machine, "ip route replace %s via %s src %s", s.end.far, r1.Addr4, s.near)
		run(s.router.Machine, "ip route replace %s via %s", s.near, last.Addr4)
		run(last, "ip route replace %s via %s", s.end.far, s.router.Addr4)
		run(r1, "ip route replace %s via %s", s.near, s.end.node.Addr4)
	}
}

// neighbor returns the node's side of a session, with as many hops as of says.
func (o *ttlTest) neighbor(e end, of func(secured) uint8) render.Neighbor {
	i := slices.IndexFunc(o.all, func(s secured) bool { return s.end == e })
	n := e.neighbor()
	n.TTLSecurity = of(o.all[i])
	n.EBGPMultiHop = n.EBGPMultiHop && n.TTLSecurity == 0
	n.ConnectTime = new(time.Second)
	n.HoldTime, n.KeepaliveTime = new(9*time.Second), new(3*time.Second)
	return n
}

// change has the nodes change how far the sessions that are switched go.
func (o *ttlTest) change(of func(secured) uint8) {
	o.t.Helper()
	for i, s := range o.all {
		if s.live {
			o.all[i].node = of(s)
		}
	}
	o.apply(func(e end) render.Neighbor { return o.neighbor(e, func(s secured) uint8 { return s.node }) })
}

// routersSet has the routers change the sessions that are switched. It resets those that
// FRR does not reset by itself.
func (o *ttlTest) routersSet(no, line string) {
	o.t.Helper()
	for _, r := range o.routers {
		commands, resets := []string{"configure terminal", fmt.Sprintf("router bgp %d", routerAS)}, []string{"end"}
		for i, s := range o.all {
			if !s.live || s.router != r {
				continue
			}
			name := s.near.String()
			if s.link == "interface" {
				name = s.cable()
				resets = append(resets, "clear bgp "+name)
			}
			commands = append(commands, strings.TrimSpace(fmt.Sprintf("%s neighbor %s %s", no, name, line)))
			o.all[i].far = map[string]uint8{"": 1}[no]
		}
		if _, err := r.FRR.Vtysh(e2e.Deadline(o.t), append(commands, resets...)...); err != nil {
			o.t.Fatal(err)
		}
	}
}

// session returns a machine's session with a peer.
func (o *ttlTest) session(m *lab.Node, id status.PeerID) frr.Session {
	o.t.Helper()
	_, all, err := sessionsOf(e2e.Deadline(o.t), m)
	if err != nil {
		o.t.Fatal(err)
	}
	return all[id]
}

// ofRouter returns the peer that the node is for the router.
func (s secured) ofRouter() status.PeerID {
	if s.link == "interface" {
		return s.id()
	}
	return status.PeerID{Address: s.near}
}

// upAtBoth waits until the sessions are up at both ends that can be, and returns how often
// they have come up.
func (o *ttlTest) upAtBoth(what string) map[secured]int {
	o.t.Helper()
	var up []end
	for _, s := range o.all {
		if s.comesUp() {
			up = append(up, s.end)
		}
	}
	o.up(up, e2e.Patience)
	counts := make(map[secured]int)
	err := process.Poll(e2e.Deadline(o.t), 50*time.Millisecond, func() error {
		for _, s := range o.all {
			if !s.comesUp() {
				continue
			}
			if f := o.session(s.router, s.ofRouter()); !f.Up {
				return fmt.Errorf("%s: the router's session is %s", s, f.State)
			}
			f := o.session(s.end.node, s.id())
			if !f.Up {
				return fmt.Errorf("%s: the session is %s again", s, f.State)
			}
			counts[s.key()] = f.Established
		}
		return nil
	})
	if err != nil {
		o.t.Fatalf("%s: %v", what, err)
	}
	return counts
}

// key returns a secured that is equal before and after a change.
func (s secured) key() secured {
	if s.live {
		s.node, s.far = 0, 0
	}
	return s
}

// unreset checks that no session is reset within a while.
func (o *ttlTest) unreset(what string, before map[secured]int) {
	o.t.Helper()
	time.Sleep(2 * time.Second)
	for s, n := range o.upAtBoth(what) {
		if n != before[s] {
			o.t.Errorf("%s: %s resets the session", s, what)
		}
	}
}

// down waits until the sessions that are switched are down, and checks that they stay so.
func (o *ttlTest) down(what string) {
	o.t.Helper()
	check := func() error {
		var errs []error
		for _, s := range o.all {
			if s.live && o.session(s.end.node, s.id()).Up {
				errs = append(errs, fmt.Errorf("%s is up", s))
			}
		}
		return errors.Join(errs...)
	}
	if err := process.Poll(e2e.Deadline(o.t), 50*time.Millisecond, check); err != nil {
		o.t.Fatalf("%s: %v", what, err)
	}
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if err := check(); err != nil {
			o.t.Fatalf("%s: %v", what, err)
		}
	}
}

// ttlDrops returns how many packets a machine's TCP has dropped for their TTL.
func ttlDrops(t *testing.T, m *lab.Node) int {
	t.Helper()
	text, err := m.Run(context.Background(), "cat", "/proc/net/netstat")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		i := slices.Index(names, "TCPMinTTLDrop")
		if i > 0 && i < len(f) {
			n, err := strconv.Atoi(f[i])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		names = f
	}
	t.Fatal("no TCPMinTTLDrop in /proc/net/netstat")
	return 0
}
