// SPDX-License-Identifier: Apache-2.0

package frr_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/e2e"
)

// Acceptance: B030, B031, B074, B078-B081.
func TestBGPSessionKinds(t *testing.T) { e2e.VersionsAtOnce(t, testBGPSessionKinds) }

func testBGPSessionKinds(t *testing.T, v lab.Version) {
	lab.Need(t, e2e.Network...)
	top := lab.New(t, lab.Options{Nodes: 2, FRRRoot: v.Root})
	n1, n2 := top.Nodes[0], top.Nodes[1]
	peer := func(asn uint32, a netip.Addr) config.Peer {
		return config.Peer{Name: "router", MyASN: 64512, PeerASN: asn, Address: a}
	}

	t.Run("dual stack", func(t *testing.T) {
		s := newSessionTest(t, top, n1)
		four := s.gobgp(lab.GoBGPOptions{ASN: 64601, Listen: []netip.Addr{e2e.OnLAN(161)}})
		six := s.gobgp(lab.GoBGPOptions{ASN: 64512, Listen: []netip.Addr{e2e.OnLAN6(162)}})
		p, q := peer(64601, e2e.OnLAN(161)), peer(64512, e2e.OnLAN6(162))
		p.DualStack, q.DualStack, q.Name = true, true, "inside"
		s.configure(config.Config{Peers: []config.Peer{p, q}})
		s.paths(four, sent(e2e.Service, n1.Addr4, n1.Addr4, 64512), sent(e2e.Service6, n1.Addr4, n1.Addr6, 64512))
		s.paths(six, sentInside(e2e.Service, n1.Addr6, n1.Addr4), sentInside(e2e.Service6, n1.Addr6, n1.Addr6))
	})

	t.Run("dynamic AS", func(t *testing.T) {
		s := newSessionTest(t, top, n1)
		outside := s.gobgp(lab.GoBGPOptions{ASN: 64601, Listen: []netip.Addr{e2e.OnLAN(163)}})
		inside := s.gobgp(lab.GoBGPOptions{ASN: 64512, Listen: []netip.Addr{e2e.OnLAN(164)}})
		outside6 := s.gobgp(lab.GoBGPOptions{ASN: 64601, Listen: []netip.Addr{e2e.OnLAN6(183)}})
		inside6 := s.gobgp(lab.GoBGPOptions{ASN: 64512, Listen: []netip.Addr{e2e.OnLAN6(184)}})
		wrong := map[netip.Addr]config.DynamicASN{
			e2e.OnLAN(165): config.Internal, e2e.OnLAN(166): config.External,
			e2e.OnLAN6(165): config.Internal, e2e.OnLAN6(166): config.External,
		}
		s.gobgp(lab.GoBGPOptions{ASN: 64601, Listen: []netip.Addr{e2e.OnLAN(165), e2e.OnLAN6(165)}})
		s.gobgp(lab.GoBGPOptions{ASN: 64512, Listen: []netip.Addr{e2e.OnLAN(166), e2e.OnLAN6(166)}})
		peers := []config.Peer{
			{Name: "outside", MyASN: 64512, DynamicASN: config.External, Address: e2e.OnLAN(163)},
			{Name: "inside", MyASN: 64512, DynamicASN: config.Internal, Address: e2e.OnLAN(164)},
			{Name: "outside6", MyASN: 64512, DynamicASN: config.External, Address: e2e.OnLAN6(183)},
			{Name: "inside6", MyASN: 64512, DynamicASN: config.Internal, Address: e2e.OnLAN6(184)},
		}
		for a, kind := range wrong {
			peers = append(peers, config.Peer{Name: "wrong " + a.String(), MyASN: 64512, DynamicASN: kind, Address: a})
		}
		s.configure(config.Config{Peers: peers})
		s.paths(outside, sent(e2e.Service, n1.Addr4, n1.Addr4, 64512))
		s.paths(inside, sentInside(e2e.Service, n1.Addr4, n1.Addr4))
		s.paths(outside6, sent(e2e.Service6, n1.Addr6, n1.Addr6, 64512))
		s.paths(inside6, sentInside(e2e.Service6, n1.Addr6, n1.Addr6))
		for a := range wrong {
			s.session(n1, peerAt(a), func(f frr.Session) error {
				if f.Up || !strings.Contains(f.LastError, "Bad Peer AS") {
					return fmt.Errorf("it is %s, last error %q, want a bad AS", f.State, f.LastError)
				}
				return nil
			})
		}
	})

	t.Run("local AS", func(t *testing.T) {
		s := newSessionTest(t, top, n1)
		other := s.gobgp(lab.GoBGPOptions{ASN: 64601, PeerASN: 64700, Listen: []netip.Addr{e2e.OnLAN(167)}})
		inside := s.gobgp(lab.GoBGPOptions{ASN: 64512, Listen: []netip.Addr{e2e.OnLAN(168)}})
		other6 := s.gobgp(lab.GoBGPOptions{ASN: 64601, PeerASN: 64700, Listen: []netip.Addr{e2e.OnLAN6(187)}})
		p, p6, q := peer(64601, e2e.OnLAN(167)), peer(64601, e2e.OnLAN6(187)), peer(64512, e2e.OnLAN(168))
		p.LocalASN, p6.LocalASN, p6.Name, q.Name = 64700, 64700, "six", "inside"
		s.configure(config.Config{
			Peers:             []config.Peer{p, p6, q},
			BGPAdvertisements: []config.BGPAdvertisement{{Name: "long", Prepend: 2}},
		})
		s.paths(other, sent(e2e.Service, n1.Addr4, n1.Addr4, 64700, 64700, 64700))
		s.paths(other6, sent(e2e.Service6, n1.Addr6, n1.Addr6, 64700, 64700, 64700))
		s.paths(inside, sentInside(e2e.Service, n1.Addr4, n1.Addr4))
	})

	t.Run("connect time", func(t *testing.T) {
		s := newSessionTest(t, top, n1)
		p, q := peer(64601, e2e.OnLAN(169)), peer(64601, e2e.OnLAN(170))
		p.ConnectTime, q.Name = new(time.Second), "default"
		s.configure(config.Config{Peers: []config.Peer{p, q}})
		for a, want := range map[netip.Addr]int{e2e.OnLAN(169): 1, e2e.OnLAN(170): 10} {
			conf := e2e.Running(t, n1.FRR, "bgpd")
			if line := fmt.Sprintf(" neighbor %s timers connect %d\n", a, want); !strings.Contains(conf, line) {
				t.Errorf("no line %q in:\n%s", line, conf)
			}
		}
		// bgpd says how many whole seconds it still waits. The longest is seen when a
		// wait begins; at first both begin at the same time.
		longest := map[netip.Addr]time.Duration{}
		ctx := e2e.Deadline(t)
		for longest[e2e.OnLAN(170)] < 7*time.Second {
			for _, a := range []netip.Addr{e2e.OnLAN(169), e2e.OnLAN(170)} {
				due, _ := e2e.NeighborJSON(t, n1.FRR, a.String())["nextConnectTimerDueInMsecs"].(float64)
				longest[a] = max(longest[a], time.Duration(due)*time.Millisecond)
			}
			if ctx.Err() != nil {
				t.Fatalf("until the next attempt it is at most %v", longest)
			}
		}
		if longest[e2e.OnLAN(169)] > time.Second || longest[e2e.OnLAN(170)] > 10*time.Second {
			t.Errorf("until the next attempt it is up to %v", longest)
		}
		// Routers that come later have their sessions soon. FRR's own default is 120 s.
		start := time.Now()
		for _, a := range []netip.Addr{e2e.OnLAN(170), e2e.OnLAN(169)} {
			s.gobgp(lab.GoBGPOptions{ASN: 64601, Listen: []netip.Addr{a}})
		}
		for _, a := range []netip.Addr{e2e.OnLAN(169), e2e.OnLAN(170)} {
			s.session(n1, peerAt(a), established)
			t.Logf("%s has its session after %v", a, time.Since(start).Round(time.Millisecond))
		}
	})

	// Timers are agreed on when a session is opened: a change waits for the next
	// time, which comes soon after the router has reset the session.
	t.Run("timers", func(t *testing.T) {
		s := newSessionTest(t, top, n1)
		p := peer(64513, top.Router.Addr4)
		p.HoldTime, p.KeepaliveTime, p.ConnectTime = new(180*time.Second), new(60*time.Second), new(2*time.Second)
		router := func(commands ...string) {
			t.Helper()
			if _, err := top.Router.FRR.Vtysh(e2e.Deadline(t), commands...); err != nil {
				t.Fatal(err)
			}
		}
		router("configure terminal", "router bgp 64513", "neighbor nodes timers 70 200")
		defer router("configure terminal", "router bgp 64513", "neighbor nodes timers 3 9")
		agreed := func() string {
			info := e2e.NeighborJSON(t, top.Router.FRR, n1.Addr4.String())
			return fmt.Sprint(info["bgpTimerHoldTimeMsecs"], " ", info["bgpTimerKeepAliveIntervalMsecs"])
		}
		s.configure(config.Config{Peers: []config.Peer{p}})
		before := s.session(n1, peerAt(p.Address), established)
		if got := agreed(); got != "180000 60000" {
			t.Errorf("r1 has agreed on %s", got)
		}
		p.HoldTime, p.KeepaliveTime = new(30*time.Second), new(10*time.Second)
		s.configure(config.Config{Peers: []config.Peer{p}})
		if conf, want := e2e.Running(t, n1.FRR, "bgpd"), fmt.Sprintf(" neighbor %s timers 10 30\n", p.Address); !strings.Contains(conf, want) {
			t.Errorf("no line %q in:\n%s", want, conf)
		}
		if f := s.session(n1, peerAt(p.Address), established); f.Established != before.Established || agreed() != "180000 60000" {
			t.Errorf("the change alone: established %d times, then %d, r1 has agreed on %s", before.Established, f.Established, agreed())
		}
		start := time.Now()
		router("clear bgp *")
		s.session(n1, peerAt(p.Address), func(f frr.Session) error {
			if f.Established == before.Established {
				return errors.New("it was not reset")
			}
			return established(f)
		})
		took := time.Since(start)
		t.Logf("the session is back after %v", took.Round(time.Millisecond))
		if limit := 2*(*p.ConnectTime) + 6*time.Second; took > limit {
			t.Errorf("the session is back after %v, want at most twice its connect time of %v", took, *p.ConnectTime)
		}
		if got := agreed(); got != "30000 10000" {
			t.Errorf("r1 has agreed on %s", got)
		}
	})

	t.Run("one address, other nodes", func(t *testing.T) {
		s := newSessionTest(t, top, n1, n2)
		g := s.gobgp(lab.GoBGPOptions{ASN: 64601, Peers: []netip.Addr{n1.Addr4}, Listen: []netip.Addr{e2e.OnLAN(171)}})
		h := s.gobgp(lab.GoBGPOptions{ASN: 64601, Peers: []netip.Addr{n2.Addr4}, PeerASN: 64700, Listen: []netip.Addr{e2e.OnLAN(172)}})
		var peers []config.Peer
		for i, n := range []*lab.Node{n1, n2} {
			p := peer(64601, e2e.OnLAN(171+i))
			p.Name, p.MyASN, p.NodeSelectors = n.Name, []uint32{64512, 64700}[i], onNode(t, n)
			peers = append(peers, p)
		}
		// The same address, for the node that it is not wrong for.
		again := peers[1]
		again.Name, again.Address, again.PeerASN = "again", e2e.OnLAN(171), 64999
		s.configure(config.Config{Peers: append(peers, again)})
		s.paths(g, sent(e2e.Service, n1.Addr4, n1.Addr4, 64512))
		s.paths(h, sent(e2e.Service, n2.Addr4, n2.Addr4, 64700))
	})

	t.Run("attributes", func(t *testing.T) {
		s := newSessionTest(t, top, n1)
		outside := s.gobgp(lab.GoBGPOptions{ASN: 64601, Listen: []netip.Addr{e2e.OnLAN(173)}})
		inside := s.gobgp(lab.GoBGPOptions{ASN: 64512, Listen: []netip.Addr{e2e.OnLAN(174)}})
		p, q := peer(64601, e2e.OnLAN(173)), peer(64512, e2e.OnLAN(174))
		p.Name, q.Name = "outside", "inside"
		var known []config.Community
		for _, c := range []string{"65535:666", "65535:65281", "65535:65282", "65535:65283", "65535:65284", "large:65010:1:2"} {
			parsed, err := config.ParseCommunity(c)
			if err != nil {
				t.Fatal(err)
			}
			known = append(known, parsed)
		}
		ad := config.BGPAdvertisement{Name: "all", LocalPref: 150, MED: new(uint32(70)), Prepend: 3, GracefulShutdown: true}
		out, in := sent(e2e.Service, n1.Addr4, n1.Addr4, 64512, 64512, 64512, 64512), sentInside(e2e.Service, n1.Addr4, n1.Addr4)
		out.MED, in.MED, in.LocalPref = new(uint32(70)), new(uint32(70)), new(uint32(0))
		out.Communities, in.Communities = []string{"65535:0"}, []string{"65535:0"}
		s.configure(config.Config{Peers: []config.Peer{p, q}, BGPAdvertisements: []config.BGPAdvertisement{ad}})
		s.paths(outside, out)
		s.paths(inside, in)

		before := []frr.Session{s.session(n1, peerAt(e2e.OnLAN(173)), established), s.session(n1, peerAt(e2e.OnLAN(174)), established)}
		ad = config.BGPAdvertisement{Name: "all", Peers: []string{"inside"}, Communities: known, MED: new(uint32(0))}
		in = sentInside(e2e.Service, n1.Addr4, n1.Addr4)
		in.Communities = []string{"65535:666", "65535:65281", "65535:65282", "65535:65283", "65535:65284"}
		in.LargeCommunities = []string{"65010:1:2"}
		s.configure(config.Config{Peers: []config.Peer{p, q}, BGPAdvertisements: []config.BGPAdvertisement{ad}})
		s.paths(inside, in)
		s.paths(outside)
		for i, a := range []netip.Addr{e2e.OnLAN(173), e2e.OnLAN(174)} {
			if f := s.session(n1, peerAt(a), established); f.Established != before[i].Established {
				t.Errorf("session with %s was reset", a)
			}
		}
	})

	t.Run("nothing accepted, nothing leaks", func(t *testing.T) {
		s := newSessionTest(t, top, n1)
		liar := s.gobgp(lab.GoBGPOptions{ASN: 64601, Listen: []netip.Addr{e2e.OnLAN(175)}})
		other := s.gobgp(lab.GoBGPOptions{ASN: 64602, Listen: []netip.Addr{e2e.OnLAN(176)}})
		p, q := peer(64601, e2e.OnLAN(175)), peer(64602, e2e.OnLAN(176))
		p.DualStack, q.DualStack, q.Name = true, true, "other"
		s.configure(config.Config{
			Peers:             []config.Peer{p, q},
			BGPAdvertisements: []config.BGPAdvertisement{{Name: "one", Peers: []string{"router"}}},
		})
		s.paths(liar, sent(e2e.Service, n1.Addr4, n1.Addr4, 64512), sent(e2e.Service6, n1.Addr4, n1.Addr6, 64512))
		s.session(n1, peerAt(e2e.OnLAN(176)), established)
		lies := []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("2001:db8:bad::/48")}
		for i, lie := range lies {
			if err := liar.Inject(e2e.Deadline(t), lie, []netip.Addr{top.Router.Addr4, top.Router.Addr6}[i]); err != nil {
				t.Fatal(err)
			}
		}
		for _, lie := range lies {
			e2e.Hears(t, n1, 64512, e2e.OnLAN(175), lie)
		}
		e2e.Refuses(t, n1, e2e.OnLAN(175))
		routes, err := n1.Routes()
		if err != nil {
			t.Fatal(err)
		}
		for _, lie := range lies {
			if hops, ok := routes[lie]; ok {
				t.Errorf("n1 has a route to %s via %v", lie, hops)
			}
		}
		nothing := func() {
			t.Helper()
			if got, err := other.Paths(e2e.Deadline(t)); err != nil || len(got) > 0 {
				t.Errorf("a router for which there is nothing has %v, %v", got, err)
			}
		}
		nothing()
		// Raw configuration can add an entry to the map; they
		// are still for the node alone.
		if _, err := n1.FRR.Vtysh(e2e.Deadline(t), "configure terminal", "route-map herald-in permit 5"); err != nil {
			t.Fatal(err)
		}
		ctx := e2e.Deadline(t)
		for accepted := ""; !strings.Contains(accepted, `"paths"`); {
			if accepted, err = n1.FRR.Vtysh(ctx, "show bgp ipv4 unicast "+lies[0].String()+" json"); err != nil {
				t.Fatal(err)
			}
		}
		for end := time.Now().Add(time.Second); time.Now().Before(end); {
			nothing()
		}
	})

	t.Run("password", func(t *testing.T) {
		s := newSessionTest(t, top, n1)
		opts := lab.GoBGPOptions{ASN: 64601, Password: "first", Listen: []netip.Addr{e2e.OnLAN(177)}}
		first := s.gobgp(opts)
		opts.Password, opts.Listen = "second", []netip.Addr{e2e.OnLAN(178)}
		second := s.gobgp(opts)
		p, q := peer(64601, e2e.OnLAN(177)), peer(64601, e2e.OnLAN(178))
		p.Password, q.Password = config.NewSecret("first"), config.NewSecret("first")
		q.ConnectTime, q.Name = new(time.Second), "second"
		s.configure(config.Config{Peers: []config.Peer{p, q}})
		s.paths(first, sent(e2e.Service, n1.Addr4, n1.Addr4, 64512))
		s.session(n1, peerAt(e2e.OnLAN(178)), func(f frr.Session) error {
			if f.State != "Active" && f.State != "Connect" {
				return fmt.Errorf("it is %s", f.State)
			}
			return nil
		})
		// The router has another password now. Only its session has to do with that.
		q.Password = config.NewSecret("second")
		s.configure(config.Config{Peers: []config.Peer{p, q}})
		s.paths(second, sent(e2e.Service, n1.Addr4, n1.Addr4, 64512))
		if f := s.session(n1, peerAt(e2e.OnLAN(177)), established); f.Established != 1 {
			t.Errorf("the other session was established %d times", f.Established)
		}
	})
}

// onNode selects a node.
func onNode(t *testing.T, n *lab.Node) []config.Selector {
	t.Helper()
	sel, err := config.NewSelector(metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/hostname": n.Name}})
	if err != nil {
		t.Fatal(err)
	}
	return []config.Selector{sel}
}
