// SPDX-License-Identifier: Apache-2.0

package announcetest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/port"
	"github.com/heraldlb/herald/status"
)

// began is when the first of several nodes began to drain.
var began = time.Unix(1_700_000_000, 0)

// A History is a random cluster and what an agent knows, which change step by step. No
// object is ever edited: each change makes another one.
type History struct {
	*rand.Rand
	Members   announce.Membership
	Options   announce.Options    // without Members
	Announced map[netip.Addr]bool // what Options.Announces says

	t    *testing.T
	calm bool

	configs   []*config.Config
	config    *config.Config
	services  map[cluster.Key]*cluster.Service
	endpoints map[cluster.Key][]cluster.Endpoint
	nodes     []*cluster.Node
	overdue   map[netip.Addr]bool
}

// NewHistory returns the History of a seed. A calm one has no changes but of Services and
// endpoints.
func NewHistory(t *testing.T, seed uint64, calm bool) *History {
	h := &History{
		Rand: rand.New(rand.NewPCG(seed, 1)), t: t, calm: calm,
		services: map[cluster.Key]*cluster.Service{}, endpoints: map[cluster.Key][]cluster.Endpoint{},
		Announced: map[netip.Addr]bool{}, overdue: map[netip.Addr]bool{},
	}
	for range 4 {
		h.configs = append(h.configs, h.newConfig())
	}
	h.config = h.configs[0]
	for i := range 4 {
		h.nodes = append(h.nodes, &cluster.Node{Name: fmt.Sprintf("n%d", i+1), Labels: map[string]string{"rack": h.pick("a", "b")}})
	}
	h.gossip()
	return h
}

func (h *History) pick(of ...string) string { return of[h.IntN(len(of))] }
func (h *History) often(percent int) bool   { return h.IntN(100) < percent }

// some returns selectors, of labels that few objects have, or none: all.
func (h *History) some(key string, values ...string) []config.Selector {
	if h.often(50) {
		return nil
	}
	return Selects(h.t, key, h.pick(values...))
}

func (h *History) scope() config.Scope {
	s := config.Scope{MinReady: max(h.IntN(6)-3, 0), NodeSelectors: h.some("rack", "a", "b", "c"), ServiceSelectors: h.some("app", "x", "y")}
	if h.often(50) {
		s.Probe = probes[h.IntN(len(probes))]
	}
	return s
}

// probes are those of advertisements.
var probes = []config.Probe{{Protocol: config.ProbeTCP}, {Protocol: config.ProbeHTTP, Withdraw: true}}

// failing returns some probes of the Services that there are.
func (h *History) failing() map[announce.ProbeID]string {
	out := map[announce.ProbeID]string{}
	for _, key := range slices.SortedFunc(maps.Keys(h.services), cluster.Key.Compare) {
		for _, text := range h.services[key].Ingress {
			addr, err := netip.ParseAddr(text)
			for _, p := range probes {
				if err == nil && h.often(50) {
					out[announce.ProbeID{ServiceAddr: announce.ServiceAddr{Service: key.String(), Addr: addr}, Probe: p}] = h.pick("refused", "silent")
				}
			}
		}
	}
	return out
}

// probe has other probes fail, on n2 and on other nodes.
func (h *History) probe() {
	h.Options.Readiness.Failing, h.Options.Readiness.Unknown = h.failing(), h.failing()
	h.Members.Members = slices.Clone(h.Members.Members)
	for i := range h.Members.Members {
		if m := &h.Members.Members[i]; m.Node == "n2" {
			m.Faults, m.Unjudged = h.Options.Readiness.Faults(h.announces), false
		} else if h.often(50) {
			m.Faults, m.Unjudged = h.faults(), h.often(20)
		}
	}
}

// faults returns the faults of a node.
func (h *History) faults() []announce.Fault {
	return announce.Readiness{Failing: h.failing(), Unknown: h.failing()}.Faults(h.announces)
}

func (h *History) newConfig() *config.Config {
	c := &config.Config{}
	for i, text := range []string{"192.0.2.0/28", "198.51.100.0/28", "2001:db8::/120"} {
		r, err := config.ParseRange(text)
		if err != nil {
			h.t.Fatal(err)
		}
		c.Pools = append(c.Pools, config.Pool{Name: fmt.Sprintf("p%d", i), Addresses: []config.Range{r}})
	}
	for i := range 3 {
		p := config.Peer{Name: fmt.Sprintf("r%d", i), MyASN: 64512, PeerASN: 64513, Address: netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}), DualStack: h.often(70)}
		if h.often(30) {
			p.PeerASN = 64512
		}
		if h.often(30) {
			p.NodeSelectors = Selects(h.t, "rack", "a")
		}
		c.Peers = append(c.Peers, p)
	}
	for i := range 1 + h.IntN(3) {
		ad := config.BGPAdvertisement{
			Name: fmt.Sprintf("bgp%d", i), AggregationLength: 32, AggregationLengthV6: 128,
			LocalPref: uint32(100 * h.IntN(3)), Scope: h.scope(),
		}
		if h.often(40) {
			ad.AggregationLength = 30
		}
		if h.often(30) {
			ad.Peers = []string{"r1"}
		}
		if h.often(30) {
			med := uint32(h.IntN(2))
			ad.MED = &med
		}
		if h.often(30) {
			ad.Pools = []string{h.pick("p0", "p1", "p2")}
		}
		c.BGPAdvertisements = append(c.BGPAdvertisements, ad)
	}
	for i := range h.IntN(3) {
		ad := config.L2Advertisement{Name: fmt.Sprintf("l2%d", i), Scope: h.scope()}
		if h.often(40) {
			ad.Interfaces = []string{h.pick("eth0", "eth1")}
		}
		if h.often(30) {
			ad.PreferredNodes = []config.PreferredNode{{Selector: Selects(h.t, "rack", "a")[0], Weight: 10}}
		}
		c.L2Advertisements = append(c.L2Advertisements, ad)
	}
	return c
}

func (h *History) addr() netip.Addr {
	switch h.IntN(4) {
	case 0:
		return netip.AddrFrom4([4]byte{192, 0, 2, byte(h.IntN(10))})
	case 1:
		return netip.AddrFrom4([4]byte{198, 51, 100, byte(h.IntN(18))}) // two are of no pool
	case 2:
		return netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", h.IntN(4)))
	}
	return netip.AddrFrom4([4]byte{192, 0, 2, byte(h.IntN(2))}) // shared by many
}

func (h *History) addrs() (out []netip.Addr) {
	for range h.IntN(6) {
		out = append(out, h.addr())
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out)
}

func (h *History) service() {
	key := cluster.Key{Namespace: h.pick("a", "a-b"), Name: fmt.Sprintf("s%d", h.IntN(12))}
	if h.often(15) {
		delete(h.services, key)
		return
	}
	svc := &cluster.Service{Key: key, LoadBalancer: !h.often(5), Local: h.often(30), Labels: map[string]string{"app": h.pick("x", "y", "z")}}
	if h.often(5) {
		svc.Class = "other"
	}
	svc.Ports = port.NewSet(port.Port{Protocol: "TCP", Number: 80})
	for range h.IntN(3) {
		svc.Ingress = append(svc.Ingress, h.addr().String())
	}
	if h.often(5) {
		svc.Ingress = append(svc.Ingress, "host.example")
	}
	h.services[key] = svc
}

func (h *History) endpoint() {
	key := cluster.Key{Namespace: h.pick("a", "a-b"), Name: fmt.Sprintf("s%d", h.IntN(12))}
	h.endpoints = maps.Clone(h.endpoints)
	delete(h.endpoints, key)
	for range h.IntN(6) {
		h.endpoints[key] = append(h.endpoints[key], cluster.Endpoint{Node: h.pick("n1", "n2", "n3"), IPv6: h.often(40), Terminating: h.often(25)})
	}
}

func (h *History) node() {
	h.nodes = slices.Clone(h.nodes)
	i := h.IntN(len(h.nodes))
	n := *h.nodes[i]
	switch h.IntN(5) {
	case 0:
		n.NetworkUnavailable = !n.NetworkUnavailable
	case 1:
		if n.Drain.IsZero() && h.often(60) {
			n.Drain = cluster.Drain{Since: began.Add(time.Duration(h.IntN(3)) * time.Hour), Force: h.often(30)}
		} else {
			n.Drain = cluster.Drain{}
		}
	default:
		n.Labels = map[string]string{"rack": h.pick("a", "b", "c")}
		if h.often(10) {
			n.Labels[announce.LabelExcludeNode] = ""
		}
	}
	if h.nodes[i] = &n; h.often(10) {
		h.nodes = slices.Delete(h.nodes, i, i+1)
	}
	if h.often(50) && len(h.nodes) < 4 {
		h.nodes = nil
		for i := range 4 {
			h.nodes = append(h.nodes, &cluster.Node{Name: fmt.Sprintf("n%d", i+1), Labels: map[string]string{"rack": h.pick("a", "b")}})
		}
	}
}

// member returns a node as gossip knows it.
func (h *History) member(name string) announce.Member {
	m := announce.Member{Node: name, Leaving: h.often(10), Damped: h.often(10), Interfaces: []string{"eth0"}, Held: h.addrs(), Answered: h.often(80), Faults: h.faults(), Unjudged: h.often(15)}
	if h.often(20) {
		m.Interfaces = []string{"eth1"}
	}
	for _, peer := range []string{"r0", "r1"} {
		var s announce.Sent
		for _, a := range h.addrs() {
			s.Peers, s.Runs = []string{peer}, append(s.Runs, [2]netip.Addr{a, a})
		}
		if s.Peers != nil {
			m.Sent = append(m.Sent, s)
		}
	}
	return m
}

func (h *History) gossip() {
	if len(h.Members.Members) > 0 && h.often(70) { // one member has news
		h.Members.Members = slices.Clone(h.Members.Members)
		i := h.IntN(len(h.Members.Members))
		m := &h.Members.Members[i]
		if h.often(20) {
			m.Faults = h.faults()
		}
		if m.Held = h.addrs(); h.often(20) {
			*m = h.member(m.Node)
		}
		return
	}
	h.Members = announce.Membership{Disabled: h.often(10), Stale: h.often(10)}
	for i := range 4 {
		if m := h.member(fmt.Sprintf("n%d", i+1)); h.often(85) {
			h.Members.Members = append(h.Members.Members, m)
		} else {
			h.Members.Departed = append(h.Members.Departed, m)
		}
	}
}

// Turnover has one agent stop, die or come back, or say something else of its node.
func (h *History) Turnover() {
	m := h.Members
	name := fmt.Sprintf("n%d", 1+h.IntN(4))
	is := func(o announce.Member) bool { return o.Node == name }
	gone := slices.IndexFunc(m.Members, is)
	h.Members.Departed = slices.DeleteFunc(slices.Clone(m.Departed), is)
	h.Members.Members = slices.DeleteFunc(slices.Clone(m.Members), is)
	if gone >= 0 && h.often(60) {
		h.Members.Departed = append(h.Members.Departed, m.Members[gone])
		return
	}
	h.Members.Members = append(h.Members.Members, h.member(name))
	slices.SortFunc(h.Members.Members, func(a, b announce.Member) int { return strings.Compare(a.Node, b.Node) })
}

// claim has other addresses claimed by nodes that gossip does not reach.
func (h *History) claim() {
	h.Members.Claims = map[netip.Addr][]announce.Claim{}
	for range 3 {
		for _, a := range h.addrs() {
			h.Members.Claims[a] = []announce.Claim{{Node: h.pick("n1", "n3", "n4"), Interface: h.pick("eth0", "eth1"), Partly: h.often(30), At: began.Add(time.Duration(h.IntN(3)))}}
		}
	}
}

// ready has the data plane serve other addresses.
func (h *History) ready() {
	r := announce.Readiness{Settled: true, Failing: h.Options.Readiness.Failing, Unknown: h.Options.Readiness.Unknown, Waits: map[announce.ServiceAddr]string{}, Waived: map[announce.ServiceAddr]string{}}
	for i, m := range []map[announce.ServiceAddr]string{r.Waits, r.Waived} {
		for range h.IntN(30) {
			m[announce.ServiceAddr{Service: fmt.Sprintf("a/s%d", h.IntN(12)), Addr: h.addr()}] = h.pick("slow", "late") + fmt.Sprint(i)
		}
	}
	h.Options.Readiness = r
}

func (h *History) options() {
	switch h.IntN(8) {
	case 7:
		h.ready()
	case 0:
		h.Options.Drained = !h.Options.Drained
	case 1:
		h.Options.Leaving = !h.Options.Leaving
	case 2:
		if h.Options.Kept = nil; h.often(50) {
			h.Options.Kept = []string{h.pick("r0", "r1", "r2")}
		}
	case 3:
		h.Options.Damped = nil
		for _, a := range h.addrs() {
			if h.Options.Damped == nil {
				h.Options.Damped = map[announce.Announcement]bool{}
			}
			for _, p := range []status.Protocol{status.BGP, status.Layer2} {
				h.Options.Damped[announce.Announcement{Service: fmt.Sprintf("a/s%d", h.IntN(12)), Addr: a, Protocol: p}] = true
			}
		}
	case 4:
		h.Options.Announces, h.Options.Resumes = nil, nil
		if h.often(75) {
			h.Options.Announces = h.announces
		} else {
			h.Options.Resumes = func(netip.Prefix) string { return "class" }
		}
	case 5:
		h.Options.Overdue = func(a netip.Addr) bool { return h.overdue[a] }
	case 6:
		if h.Options.Gone = nil; h.often(50) {
			h.Options.Gone = &cluster.Node{Name: "n2", Labels: map[string]string{"rack": "a"}}
		}
	}
}

func (h *History) announces(a netip.Addr) bool { return h.Announced[a] }

// Step changes something, mostly one thing.
func (h *History) Step() {
	for more := true; more; more = h.often(30) {
		n := h.IntN(100)
		if h.calm {
			n %= 65
		}
		switch {
		case n < 40:
			if h.service(); !h.calm && h.often(30) {
				h.probe()
			}
		case n < 65:
			h.endpoint()
		case n < 72:
			h.node()
		case n < 75:
			h.gossip()
		case n < 80:
			h.claim()
		case n < 85:
			h.options()
		case n < 91:
			h.probe()
		case n < 94:
			h.config = h.configs[h.IntN(len(h.configs))]
		case n < 97:
			a := h.addr()
			h.Announced[a] = !h.Announced[a]
		default:
			a := h.addr()
			h.overdue[a] = !h.overdue[a]
		}
	}
}

// Snapshot returns the cluster as it is now.
func (h *History) Snapshot() cluster.Snapshot {
	s := cluster.Snapshot{Config: h.config, Nodes: h.nodes, Endpoints: map[cluster.Key][]cluster.Endpoint{}}
	for _, key := range slices.SortedFunc(maps.Keys(h.services), cluster.Key.Compare) {
		s.Services = append(s.Services, h.services[key])
	}
	for key, of := range h.endpoints {
		if len(of) > 0 {
			s.Endpoints[key] = of
		}
	}
	return s
}
