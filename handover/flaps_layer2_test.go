// SPDX-License-Identifier: Apache-2.0

package handover_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/handover"
	"github.com/heraldlb/herald/status"
)

// A pair is two nodes with endpoints of a Local Service. The first one wins each election
// that both may win.
type pair struct {
	names  [2]string
	memory [2]handover.Memory
	flaps  [2]handover.Flaps
	before [2][]status.Decision
	holds  [2]bool // as gossip says
	now    time.Time
}

const pairAddr = "192.0.2.1"

// step decides on both nodes, a moment after the last step. Endpoints says which node has
// one.
func (p *pair) step(t *testing.T, after time.Duration, endpoints [2]bool) {
	t.Helper()
	p.now = p.now.Add(after)
	r, err := config.ParseRange("192.0.2.0/24")
	if err != nil {
		t.Fatal(err)
	}
	web := cluster.Key{Namespace: "ns", Name: "web"}
	s := cluster.Snapshot{
		Config: &config.Config{
			Pools:            []config.Pool{{Name: "lan", Addresses: []config.Range{r}}},
			L2Advertisements: []config.L2Advertisement{{}},
		},
		Services:  []*cluster.Service{{Key: web, LoadBalancer: true, Local: true, Ingress: []string{pairAddr}}},
		Endpoints: map[cluster.Key][]cluster.Endpoint{},
	}
	var m announce.Membership
	addr := netip.MustParseAddr(pairAddr)
	for i, name := range p.names {
		s.Nodes = append(s.Nodes, &cluster.Node{Name: name})
		member := announce.Member{Node: name, Interfaces: []string{"eth0"}}
		if p.holds[i] {
			member.Held = []netip.Addr{addr}
		}
		m.Members = append(m.Members, member)
		if endpoints[i] {
			s.Endpoints[web] = append(s.Endpoints[web], cluster.Endpoint{Node: name})
		}
	}
	var holds [2]bool
	for i, name := range p.names {
		opts := announce.Options{Damped: p.flaps[i].Damped(p.now)}
		out := p.memory[i].Next(announce.BGP(s, name, opts), announce.Layer2(s, name, m, opts), 0, nil, p.now)
		p.flaps[i], _, _ = p.flaps[i].Next(announce.TableDecisions(p.before[i]), announce.TableDecisions(out.Decisions), p.now)
		p.before[i] = out.Decisions
		holds[i] = len(out.Answers) > 0
	}
	p.holds = holds
}

// The endpoints of the node that is elected come and go every second. Its address moves a
// few times, and then stays with the other node, which answers all the time. Once that one
// has no endpoints either, the first answers at once.
func TestFlapsLayer2(t *testing.T) {
	p := pair{names: [2]string{"n1", "n2"}, now: time.Unix(0, 0)}
	if announce.Owner(pairAddr, p.names[:]) != "n1" {
		p.names = [2]string{"n2", "n1"}
	}
	for range 3 {
		p.step(t, 100*time.Millisecond, [2]bool{true, true})
	}
	if p.holds != [2]bool{true, false} {
		t.Fatalf("who answers: %v, want the first alone", p.holds)
	}
	moves, last := 0, true
	for i := range 500 {
		there := i/10%2 == 1
		p.step(t, 100*time.Millisecond, [2]bool{there, true})
		if i > 1 && !p.holds[0] && !p.holds[1] {
			t.Fatalf("nobody answers after %d steps", i)
		}
		if p.holds[0] != last {
			moves, last = moves+1, p.holds[0]
		}
	}
	// The ninth withdrawal damps it, and after 15 s the fifth.
	if moves != 27 {
		t.Errorf("the endpoints came and went 50 times, and the address has moved %d times, want 27", moves)
	}
	if p.holds[0] {
		t.Error("the first node answers, and should be damped")
	}
	p.step(t, 100*time.Millisecond, [2]bool{true, true})
	if p.holds != [2]bool{false, true} {
		t.Errorf("who answers: %v, want the second alone", p.holds)
	}
	p.step(t, 100*time.Millisecond, [2]bool{true, false})
	p.step(t, 100*time.Millisecond, [2]bool{true, false})
	if p.holds != [2]bool{true, false} {
		t.Errorf("who answers: %v, want the first: nobody else has endpoints", p.holds)
	}
	// When it is calm, the first has it again.
	for range 30 {
		p.step(t, time.Second, [2]bool{true, true})
	}
	if p.holds != [2]bool{true, false} {
		t.Errorf("who answers: %v in the end", p.holds)
	}
}
