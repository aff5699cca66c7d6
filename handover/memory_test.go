// SPDX-License-Identifier: Apache-2.0

package handover_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/announce/announcetest"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/handover"
	"github.com/heraldlb/herald/render"
	"github.com/heraldlb/herald/status"
)

// A switching is a node of layer2Cluster whose pool moves between protocols.
type switching struct {
	s       cluster.Snapshot
	m       announce.Membership
	memory  handover.Memory
	sent    bool
	gaps    int
	now     time.Time
	addr    netip.Addr // that next is about
	failing map[announce.ProbeID]string
}

// next decides on n1 and says what it does about the address.
func (x *switching) next(t *testing.T) (handover.Outcome, string) {
	t.Helper()
	opts := announce.Options{Layer2: true, Members: x.m, Drained: true, Announces: x.memory.Announces, Sends: x.memory.Sends(), Readiness: announce.Readiness{Failing: x.failing}}
	bgp := announce.BGP(x.s, "n1", opts)
	layer2 := announce.Layer2(x.s, "n1", x.m, opts)
	out := x.memory.Next(bgp, layer2, x.gaps, func([]netip.Prefix) bool { return x.sent }, x.now)
	if _, err := render.FRR(out.BGP); err != nil {
		t.Errorf("the outcome cannot be rendered: %v", err)
	}
	if !slices.IsSortedFunc(out.BGP.Networks, func(a, b render.Network) int { return a.Prefix.Compare(b.Prefix) }) {
		t.Errorf("routes are not in order: %v", out.BGP.Networks)
	}
	var does []string
	for _, n := range out.BGP.Networks {
		if n.Prefix.Contains(x.addr) {
			does = append(does, "route to "+n.Prefix.String())
		}
	}
	for _, a := range out.Answers {
		if a.Addr == x.addr {
			switch {
			case a.Standby:
				does = append(does, "listens")
			case a.Quiet:
				does = append(does, "answers")
			default:
				does = append(does, "announces")
			}
		}
	}
	for _, d := range out.Decisions {
		if d.Announce && d.Reason != status.Announced {
			does = append(does, string(d.Protocol)+" "+string(d.Reason))
		}
	}
	return out, strings.Join(does, ", ")
}

// protocols replaces the advertisements.
func (x *switching) protocols(bgp, layer2 bool) {
	c := *x.s.Config
	c.BGPAdvertisements, c.L2Advertisements = nil, nil
	if bgp {
		c.BGPAdvertisements = []config.BGPAdvertisement{{Name: "b", AggregationLength: 28}}
	}
	if layer2 {
		c.L2Advertisements = []config.L2Advertisement{{Name: "l"}}
	}
	x.s.Config = &c
}

func newSwitching(t *testing.T) *switching {
	x := &switching{now: time.Unix(1_000_000, 0), addr: netip.MustParseAddr("192.0.2.1")}
	x.s, x.m = announcetest.Layer2Cluster(t)
	x.m.Members = x.m.Members[:1] // n1 alone
	x.s.Config.Peers = []config.Peer{{Name: "r", MyASN: 1, PeerASN: 2, Address: netip.MustParseAddr("10.0.0.1")}}
	announcetest.AddService(&x.s, "a", false, []string{"192.0.2.1"}, "n1")
	announcetest.AddService(&x.s, "b", false, []string{"192.0.2.77"}, "n1")
	return x
}

func TestMemorySwitches(t *testing.T) {
	x := newSwitching(t)
	n1 := &x.m.Members[0]
	steps := []struct {
		name   string
		change func()
		want   string
	}{
		{"bgp", func() { x.protocols(true, false) }, "route to 192.0.2.0/28"},
		{"sent", func() { x.sent = true }, "route to 192.0.2.0/28"},
		{"switched to layer2", func() { x.protocols(false, true) }, "route to 192.0.2.0/28, announces, bgp Switching, bgp Switching"},
		{"its packets are out", func() { n1.Held = []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.77")} },
			"route to 192.0.2.0/28, announces, bgp Switching, bgp Switching"},
		{"five seconds later", func() { x.now = x.now.Add(5 * time.Second) }, "announces"},
		{"and back", func() { x.sent = false; x.protocols(true, false) }, "route to 192.0.2.0/28, announces, layer2 Switching, layer2 Switching"},
		{"not sent for long", func() { x.now = x.now.Add(29 * time.Second) }, "route to 192.0.2.0/28, announces, layer2 Switching, layer2 Switching"},
		{"not sent for too long", func() { x.now = x.now.Add(time.Second) }, "route to 192.0.2.0/28"},
		{"layer2 once more", func() { x.protocols(false, true) }, "route to 192.0.2.0/28, announces, bgp Switching, bgp Switching"},
		{"the peer goes meanwhile", func() { c := *x.s.Config; c.Peers = nil; x.s.Config = &c }, "announces, bgp Switching, bgp Switching"},
		{"the Service goes", func() { x.s.Services = nil }, ""},
	}
	for _, step := range steps {
		step.change()
		if _, got := x.next(t); got != step.want {
			t.Errorf("%s: %q, want %q", step.name, got, step.want)
		}
	}
}

// A node that drains as the last to announce an address goes on for a while
// once another node announces it too, and asks for other paths all the time.
func TestMemoryDrains(t *testing.T) {
	x := newSwitching(t)
	x.protocols(true, false)
	n1, n2, n3 := x.s.Nodes[0], x.s.Nodes[1], x.s.Nodes[2]
	const route = "route to 192.0.2.0/28"
	both := []string{"192.0.2.1", "192.0.2.77"}
	x.m.Members = []announce.Member{{Node: "n1"}, announcetest.Sends("n2", "r", both...), announcetest.Sends("n3", "r", both...)}
	steps := []struct {
		name   string
		change func()
		want   string
	}{
		{"announced", func() {}, route},
		{"all drain, this node as the last", func() {
			n1.Drain.Since, n2.Drain.Since, n3.Drain.Since = x.now, x.now.Add(-time.Minute), x.now.Add(-time.Minute)
		}, route},
		{"an hour later", func() { x.now = x.now.Add(time.Hour) }, route},
		{"another is back", func() { n2.Drain = cluster.Drain{} }, route + ", bgp HandingOver, bgp HandingOver"},
		{"nearly ten seconds later", func() { x.now = x.now.Add(cluster.DefaultDrainHold - 1) }, route + ", bgp HandingOver, bgp HandingOver"},
		{"ten seconds later", func() { x.now = x.now.Add(1) }, ""},
		{"the others go", func() { x.m.Members = x.m.Members[:1] }, route},
		{"forced", func() { n1.Drain.Force = true }, ""},
	}
	for _, step := range steps {
		step.change()
		out, got := x.next(t)
		if got != step.want {
			t.Errorf("%s: %q, want %q", step.name, got, step.want)
		}
		for _, c := range out.BGP.Classes {
			if drains := !n1.Drain.IsZero(); c.Attributes[0].GracefulShutdown != drains {
				t.Errorf("%s: routers are asked for another path: %v, want %v", step.name, !drains, drains)
			}
		}
	}
}

// An owner that another one replaces answers until that one is heard.
func TestMemoryHandsOver(t *testing.T) {
	x := newSwitching(t)
	addr := netip.MustParseAddr("192.0.2.1")
	if _, got := x.next(t); got != "announces" {
		t.Fatalf("alone: %q", got)
	}
	heir := announce.Member{Node: "n2", Interfaces: []string{"eth0"}}
	x.m.Members[0].Leaving = true
	x.m.Members = append(x.m.Members, heir)
	if _, got := x.next(t); got != "answers, layer2 HandingOver, layer2 HandingOver" {
		t.Errorf("the heir is there: %q", got)
	}
	x.m.Members[1].Held = []netip.Addr{addr, netip.MustParseAddr("192.0.2.77")}
	if _, got := x.next(t); got != "" {
		t.Errorf("the heir holds it: %q", got)
	}
}

// Where only gossip is cut, both sides hear each other on the network, and one of
// them gives way: the one that would not be elected if all were alive.
func TestMemoryGivesWay(t *testing.T) {
	x := newSwitching(t)
	const other = "n2"
	addr := netip.MustParseAddr("192.0.2.100")
	for announce.Owner(addr.String(), []string{"n1", other}) != other {
		addr = addr.Next()
	}
	x.addr = addr
	announcetest.AddService(&x.s, "g", false, []string{addr.String()}, "n1")
	if _, got := x.next(t); got != "announces" {
		t.Fatalf("alone: %q", got)
	}
	x.m.Claims = map[netip.Addr][]announce.Claim{addr: {{Node: other, At: x.now}}}
	if _, got := x.next(t); got != "answers, layer2 HandingOver" {
		t.Errorf("the other is heard: %q", got)
	}
	x.now = x.now.Add(time.Second)
	out, got := x.next(t)
	if got != "listens" {
		t.Errorf("a second later: %q", got)
	}
	for _, d := range out.Decisions {
		if d.Addr == addr && (d.Announce || d.Reason != status.NotOwner || d.Detail != "the owner is "+other) {
			t.Errorf("decision %+v", d)
		}
	}
	x.m.Claims = nil // not heard any more
	if _, got := x.next(t); got != "announces" {
		t.Errorf("the other is heard no more: %q", got)
	}
}

// A node that gossip does not reach may be heard on one interface alone. The owner stays,
// and leaves the address to that node there.
func TestMemoryGivesWayOnOneInterface(t *testing.T) {
	x := newSwitching(t)
	const other, loser = "n2", "n3"
	addr := netip.MustParseAddr("192.0.2.100")
	for announce.Owner(addr.String(), []string{"n1", other}) != other || announce.Owner(addr.String(), []string{"n1", loser}) == loser {
		addr = addr.Next()
	}
	x.addr = addr
	announcetest.AddService(&x.s, "g", false, []string{addr.String()}, "n1")
	heard := func(partly bool, on ...string) {
		x.m.Claims = map[netip.Addr][]announce.Claim{addr: {{Node: loser, Interface: "eth2", Partly: true, At: x.now}}}
		for _, name := range on {
			x.m.Claims[addr] = append(x.m.Claims[addr], announce.Claim{Node: other, Interface: name, Partly: partly, At: x.now})
		}
	}
	for _, step := range []struct {
		name   string
		partly bool
		on     []string
		wait   time.Duration
		want   string
	}{
		{"alone", false, nil, 0, "announces"},
		{"heard on the second network", true, []string{"eth1"}, 0, "announces"},
		{"likewise, later", true, []string{"eth1"}, time.Minute, "announces"},
		{"heard on both", false, []string{"eth1", "eth0"}, 0, "answers, layer2 HandingOver"},
		{"likewise, later", false, []string{"eth0", "eth1"}, time.Second, "listens"},
		{"its cable is cut", true, []string{"eth1"}, 0, "announces"},
		{"not heard", false, nil, 0, "announces"},
	} {
		heard(step.partly, step.on...)
		x.now = x.now.Add(step.wait)
		out, got := x.next(t)
		if got != step.want {
			t.Errorf("%s: %q, want %q", step.name, got, step.want)
		}
		i := slices.IndexFunc(out.Answers, func(a handover.Answer) bool { return a.Addr == addr })
		if a := out.Answers[i]; !a.Quiet && !slices.Equal(a.StandbyOn, slices.Sorted(slices.Values(step.on))) {
			t.Errorf("%s: on standby on %v", step.name, a.StandbyOn)
		}
	}
}

// The side that stays announces again whenever the other is heard.
func TestMemoryIsChallenged(t *testing.T) {
	x := newSwitching(t)
	addr := netip.MustParseAddr("192.0.2.77")
	loser := ""
	for _, n := range []string{"n2", "n3"} {
		if announce.Owner(addr.String(), []string{"n1", n}) == "n1" {
			loser = n
		}
	}
	if loser == "" {
		t.Fatal("n1 loses against both: choose another address")
	}
	round := func() uint64 {
		t.Helper()
		out, _ := x.next(t)
		i := slices.IndexFunc(out.Answers, func(a handover.Answer) bool { return a.Addr == addr && !a.Standby && !a.Quiet })
		if i < 0 {
			t.Fatalf("not announced: %+v", out.Answers)
		}
		return out.Answers[i].Round
	}
	first := round()
	x.m.Claims = map[netip.Addr][]announce.Claim{addr: {{Node: loser, At: x.now}}}
	second := round()
	if second == first {
		t.Error("the other is heard, and the round is the same")
	}
	if third := round(); third != second {
		t.Error("the other is not heard again, and the round is another")
	}
	// A node that may not announce anything has no say.
	x.s.Nodes[1].NetworkUnavailable, x.s.Nodes[2].NetworkUnavailable = true, true
	x.m.Claims = map[netip.Addr][]announce.Claim{addr: {{Node: loser, At: x.now}}, netip.MustParseAddr("192.0.2.1"): {{Node: "n2", At: x.now}}}
	round()
}

// The last to be heard is believed: an owner that has outlasted a rival, or has
// been away, announces from the beginning.
func TestMemoryAnnouncesAnew(t *testing.T) {
	x := newSwitching(t)
	addr := netip.MustParseAddr("192.0.2.1")
	round := func() uint64 {
		out, _ := x.next(t)
		i := slices.IndexFunc(out.Answers, func(a handover.Answer) bool { return a.Addr == addr })
		return out.Answers[i].Round
	}
	// n2 may not announce, but a moment ago it still could.
	x.s.Nodes[1].NetworkUnavailable = true
	x.m.Members = append(x.m.Members, announce.Member{Node: "n2", Interfaces: []string{"eth0"}, Held: []netip.Addr{addr}})
	first := round()
	if again := round(); again != first {
		t.Errorf("round %d without a reason, was %d", again, first)
	}
	x.m.Members[1].Held = nil
	second := round()
	if second == first {
		t.Error("the rival has gone, and the round is the same")
	}
	x.gaps++
	if third := round(); third == second {
		t.Error("the agent was away, and the round is the same")
	}
}

// Ten thousand Services that switch at once cost no more than a few passes.
func BenchmarkSwitch10000(b *testing.B) {
	t := &testing.T{}
	x := newSwitching(t)
	r, err := config.ParseRange("10.0.0.0/16")
	if err != nil {
		b.Fatal(err)
	}
	x.s.Config.Pools = []config.Pool{{Name: "web", Addresses: []config.Range{r}}}
	x.s.Services = nil
	addr := netip.MustParseAddr("10.0.0.0")
	for i := range 10_000 {
		addr = addr.Next()
		announcetest.AddService(&x.s, "s"+string(rune('a'+i%26))+addr.String(), false, []string{addr.String()}, "n1")
	}
	slices.SortFunc(x.s.Services, func(a, b *cluster.Service) int { return a.Key.Compare(b.Key) })
	x.protocols(true, false)
	x.next(t)
	x.protocols(false, true)
	for b.Loop() {
		x.next(t)
	}
}

func TestDecisionsAreInOrder(t *testing.T) {
	x := newSwitching(t)
	announcetest.AddService(&x.s, "c.x", false, []string{"192.0.2.9", "192.0.2.3"}, "n1")
	announcetest.AddService(&x.s, "c", false, []string{"2001:db8::1", "192.0.2.4"}, "n1")
	slices.SortFunc(x.s.Services, func(a, b *cluster.Service) int { return a.Key.Compare(b.Key) })
	x.protocols(true, true)
	out, _ := x.next(t)
	var got []string
	for _, d := range out.Decisions {
		got = append(got, d.Service+" "+d.Addr.String()+" "+string(d.Protocol))
	}
	want := []string{
		"ns/a 192.0.2.1 bgp", "ns/a 192.0.2.1 layer2", "ns/b 192.0.2.77 bgp", "ns/b 192.0.2.77 layer2",
		"ns/c 192.0.2.4 bgp", "ns/c 192.0.2.4 layer2", "ns/c 2001:db8::1 bgp", "ns/c 2001:db8::1 layer2",
		"ns/c.x 192.0.2.3 bgp", "ns/c.x 192.0.2.3 layer2", "ns/c.x 192.0.2.9 bgp", "ns/c.x 192.0.2.9 layer2",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("decisions (-want +got):\n%s", diff)
	}
}

// A node that drains answers on layer 2 until the one that is elected was seen to have
// announced the address, however long that takes, and says that it waits.
func TestMemoryDrainsLayer2(t *testing.T) {
	x := newSwitching(t)
	heir := announce.Member{Node: "n2", Interfaces: []string{"eth0"}}
	const waits = "answers, layer2 HandingOver, layer2 HandingOver"
	steps := []struct {
		name   string
		change func()
		want   string
		last   bool
	}{
		{"alone", func() {}, "announces", false},
		{"drains, and another is there", func() {
			x.s.Nodes[0].Drain.Since = x.now
			x.m.Members = append(x.m.Members, heir)
		}, waits, false},
		{"that is late", func() { x.now = x.now.Add(time.Second) }, waits, true},
		{"very late", func() { x.now = x.now.Add(time.Hour) }, waits, true},
		{"it has answered", func() { x.m.Members[1].Held = []netip.Addr{x.addr, netip.MustParseAddr("192.0.2.77")} }, "", false},
	}
	for _, step := range steps {
		step.change()
		out, got := x.next(t)
		if got != step.want {
			t.Errorf("%s: %q, want %q", step.name, got, step.want)
		}
		for _, d := range out.Decisions {
			says := d.Detail == "the node drains, but no answer was heard yet of the other: the owner is n2"
			if d.Last != step.last || says != step.last {
				t.Errorf("%s: %+v", step.name, d)
			}
		}
	}
}

// A pool that goes from layer 2 to routes of other nodes alone: this node answers until
// one of those was seen to have sent them, and five seconds more.
func TestMemorySwitchesElsewhere(t *testing.T) {
	x := newSwitching(t)
	x.protocols(false, true)
	steps := []struct {
		name   string
		change func()
		want   string
	}{
		{"layer2", func() {}, "announces"},
		{"bgp from another node", func() {
			x.protocols(true, false)
			x.s.Config.BGPAdvertisements[0].NodeSelectors = announcetest.Selects(t, "rack", "b")
			x.s.Nodes[1].Labels = map[string]string{"rack": "b"}
			x.m.Members = append(x.m.Members, announcetest.Sends("n2", "r"))
		}, "announces, layer2 Switching, layer2 Switching"},
		{"twenty seconds later", func() { x.now = x.now.Add(20 * time.Second) }, "announces, layer2 Switching, layer2 Switching"},
		{"that has sent them", func() { x.m.Members[1] = announcetest.Sends("n2", "r", "192.0.2.1", "192.0.2.77") }, "announces, layer2 Switching, layer2 Switching"},
		{"nearly five seconds later", func() { x.now = x.now.Add(5*time.Second - 1) }, "announces, layer2 Switching, layer2 Switching"},
		{"five seconds later", func() { x.now = x.now.Add(1) }, ""},
	}
	for _, step := range steps {
		step.change()
		if out, got := x.next(t); got != step.want || len(out.GivenUp) > 0 {
			t.Errorf("%s: %q, given up %v, want %q", step.name, got, out.GivenUp, step.want)
		}
	}
}
