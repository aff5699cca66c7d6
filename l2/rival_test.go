// SPDX-License-Identifier: Apache-2.0

package l2_test

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"

	"github.com/heraldlb/herald/l2"
)

// peerNode sets the peer as a node of the cluster without an agent.
var peerNode = map[l2.MAC]string{peerMAC: "n2"}

// A speaker answers for addr4 as another load balancer on the peer does, until
// it is stopped.
type speaker struct {
	v4      *tap
	stopped bool
}

// talk answers what has arrived, every 10 ms, for so long.
func (s *speaker) talk(t *testing.T, d time.Duration) {
	t.Helper()
	for range d / (10 * time.Millisecond) {
		after(10 * time.Millisecond)
		for len(s.v4.lines) > 0 {
			l := <-s.v4.lines
			if s.stopped || l.text != probe4(nodeMAC) {
				continue
			}
			s.v4.send(t, arpFrame(t, nodeMAC, peerMAC, arp.OperationReply, addr4, netip.IPv4Unspecified()))
		}
	}
}

// withRival announces addr4, which is fresh, while a load balancer runs on the peer.
func withRival(t *testing.T, s *sim) (*l2.Announcer, *speaker) {
	t.Helper()
	other := &speaker{v4: listen(t, s, l2.ARP)}
	a := start(t, l2.Options{Network: s})
	a.SetNodes(peerNode)
	a.Set([]l2.Announcement{{Addr: addr4, Fresh: true}})
	return a, other
}

func phase(a *l2.Announcer) l2.Phase { return counts(a, addr4).Presences[0].Phase }

// An address for which another load balancer answers is left to it, and announced within
// about a second after it stops.
func TestRivalKeepsAddress(t *testing.T) {
	simulate(t, func(t *testing.T, s *sim) {
		a, other := withRival(t, s)
		other.talk(t, time.Minute)
		d := counts(a, addr4)
		if phase(a) != l2.Deferred || d.Confirmed || d.Gratuitous != 0 || d.Conflict != (l2.Claim{}) {
			t.Fatalf("with a load balancer that answers: %+v", d)
		}
		if d.Rival.Node != "n2" || time.Since(d.Rival.At) > time.Second {
			t.Errorf("the rival is %+v, want n2 a moment ago", d.Rival)
		}
		other.v4.send(t, arpFrame(t, everybody, peerMAC, arp.OperationRequest, peer4, addr4))
		synctest.Wait()
		if n := counts(a, addr4).Replies; n != 0 {
			t.Errorf("%d requests answered in addition to the other load balancer", n)
		}

		other.stopped = true
		begin := time.Now()
		for phase(a) != l2.Announced && time.Since(begin) < time.Minute {
			other.talk(t, 50*time.Millisecond)
		}
		if took := time.Since(begin); took < 600*time.Millisecond || took > 1500*time.Millisecond {
			t.Errorf("announced %v after the other load balancer fell silent, want about 1 s", took)
		}
		if d := counts(a, addr4); !d.Confirmed || d.Rival != (l2.Rival{}) {
			t.Errorf("after it fell silent: %+v", d)
		}
	})
}

// A host that asks for the address does not have it: two agents that both ask, or a host
// that is about to take the address, do not delay each other.
func TestRivalQuestions(t *testing.T) {
	simulate(t, func(t *testing.T, s *sim) {
		a, other := withRival(t, s)
		other.talk(t, 2*time.Second)
		if phase(a) != l2.Deferred {
			t.Fatalf("with a load balancer that answers: %v", phase(a))
		}
		other.stopped = true
		stranger := l2.MAC{2, 0, 0, 0, 0, 7}
		for range 10 {
			for _, mac := range []l2.MAC{peerMAC, stranger} {
				other.v4.send(t, arpFrame(t, everybody, mac, arp.OperationRequest, netip.IPv4Unspecified(), addr4))
			}
			other.talk(t, 150*time.Millisecond)
		}
		if phase(a) != l2.Announced {
			t.Errorf("with hosts that ask: %v", phase(a))
		}
	})
}

// A host that answers on the rival's own network is not another interface of the rival.
func TestRivalAndStranger(t *testing.T) {
	simulate(t, func(t *testing.T, s *sim) {
		a, other := withRival(t, s)
		other.talk(t, 2*time.Second)
		other.stopped = true
		stranger := l2.MAC{2, 0, 0, 0, 0, 7}
		for range 20 {
			other.v4.send(t, arpFrame(t, nodeMAC, stranger, arp.OperationReply, addr4, netip.IPv4Unspecified()))
			other.talk(t, 150*time.Millisecond)
		}
		if d := counts(a, addr4); phase(a) != l2.Announced || d.Conflict.MAC != stranger {
			t.Errorf("with a stranger: %+v", d)
		}
	})
}

// A fresh address is taken at once where all nodes have agents, and after one question
// where one has none.
func TestRivalAbsent(t *testing.T) {
	for _, c := range []struct {
		name  string
		nodes map[l2.MAC]string
		opts  l2.Options
		want  time.Duration
	}{
		{"every node has an agent", map[l2.MAC]string{}, l2.Options{Nodes: true}, 0},
		{"a node has none", peerNode, l2.Options{Nodes: true}, 150 * time.Millisecond},
		{"the nodes are not known", nil, l2.Options{Nodes: true}, 750 * time.Millisecond},
		{"nobody says which nodes there are", nil, l2.Options{}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			simulate(t, func(t *testing.T, s *sim) {
				v4 := listen(t, s, l2.ARP)
				c.opts.Network = s
				a := start(t, c.opts)
				if c.nodes != nil {
					a.SetNodes(c.nodes)
				}
				begin := time.Now()
				a.Set([]l2.Announcement{{Addr: addr4, Fresh: true}})
				after(2 * time.Second)
				times := v4.times(begin, gratuitous4(nodeMAC)[0])
				if len(times) == 0 || times[0] < c.want || times[0] > c.want+160*time.Millisecond {
					t.Errorf("announced after %v, want %v", times, c.want)
				}
			})
		})
	}
}

// An address that agents had already is taken without a question, and one that is
// announced for a while is not given up: a hardware address is easily forged.
func TestRivalTakesNothing(t *testing.T) {
	simulate(t, func(t *testing.T, s *sim) {
		v4 := listen(t, s, l2.ARP)
		a := start(t, l2.Options{Network: s})
		a.SetNodes(peerNode)
		a.Set([]l2.Announcement{{Addr: addr4}})
		synctest.Wait()
		if phase(a) != l2.Announced {
			t.Fatalf("an address of this node is %v", phase(a))
		}
		a.Set([]l2.Announcement{{Addr: addr4, Fresh: true}})
		after(time.Minute)
		v4.forget()
		for range 20 {
			v4.send(t, claim4(t, peerMAC))
			after(300 * time.Millisecond)
		}
		d := counts(a, addr4)
		if phase(a) != l2.Announced || d.Rival.Node != "n2" || d.Conflict != (l2.Claim{}) {
			t.Errorf("after claims of a node: %+v", d)
		}
		after(5 * time.Minute)
		if d := counts(a, addr4); d.Rival != (l2.Rival{}) {
			t.Errorf("the rival is still %+v after five silent minutes", d.Rival)
		}
	})
}

// The node of a hardware address may become known after its claim.
func TestRivalLearnedLate(t *testing.T) {
	simulate(t, func(t *testing.T, s *sim) {
		other := &speaker{v4: listen(t, s, l2.ARP)}
		a := start(t, l2.Options{Network: s})
		a.Set([]l2.Announcement{{Addr: addr4, Fresh: true}})
		other.talk(t, 500*time.Millisecond)
		if d := counts(a, addr4); d.Conflict.MAC != peerMAC {
			t.Fatalf("of a stranger: %+v", d)
		}
		a.SetNodes(peerNode)
		other.talk(t, time.Second)
		if d := counts(a, addr4); phase(a) != l2.Deferred || d.Conflict != (l2.Claim{}) || d.Rival.Node != "n2" {
			t.Errorf("of a node: %+v", d)
		}
	})
}

// A host that is not a node of the cluster is a stranger, even next to such nodes.
func TestRivalIsNoStranger(t *testing.T) {
	simulate(t, func(t *testing.T, s *sim) {
		other := &speaker{v4: listen(t, s, l2.ARP)}
		a := start(t, l2.Options{Network: s})
		a.SetNodes(map[l2.MAC]string{{2, 0, 0, 0, 0, 9}: "n3"})
		a.Set([]l2.Announcement{{Addr: addr4, Fresh: true}})
		other.talk(t, 2*time.Second)
		if d := counts(a, addr4); phase(a) != l2.Announced || d.Conflict.MAC != peerMAC || d.Rival != (l2.Rival{}) {
			t.Errorf("of a stranger next to a node without an agent: %+v", d)
		}
	})
}

// The other load balancer is asked by ordinary neighbor solicitations: duplicate address
// detection it does not answer.
func TestRivalIPv6(t *testing.T) {
	simulate(t, func(t *testing.T, s *sim) {
		v6 := listen(t, s, l2.NDP)
		a := start(t, l2.Options{Network: s})
		a.SetNodes(peerNode)
		a.Set([]l2.Announcement{{Addr: addr6, Fresh: true}})
		want := fmt.Sprintf("%s > %s %s > %s solicits %s from %s", nodeMAC, l2.MAC{0x33, 0x33, 0xff, 0, 0, 0x10}, nodeLL, group6, addr6, nodeMAC)
		v6.expect(t, want)
		answer := func() {
			v6.send(t, ndpFrame(t, nodeMAC, peerMAC, peer6, nodeLL, &ndp.NeighborAdvertisement{
				Solicited: true, Override: true, TargetAddress: addr6,
				Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: peerMAC[:]}},
			}))
		}
		for range 10 {
			answer()
			v6.expect(t, want)
		}
		d := counts(a, addr6)
		if d.Rival.Node != "n2" || d.Presences[0].Phase != l2.Deferred || d.Gratuitous != 0 {
			t.Errorf("while it answers: %+v", d)
		}
		after(2 * time.Second)
		if d := counts(a, addr6); d.Presences[0].Phase != l2.Announced || !d.Confirmed {
			t.Errorf("after two silent seconds: %+v", d)
		}
	})
}
