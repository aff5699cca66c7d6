// SPDX-License-Identifier: Apache-2.0

package l2_test

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"

	"github.com/heraldlb/herald/l2"
)

var lostMAC = l2.MAC{2, 0, 0, 0, 0, 7}

// question4 and question6 return what a host with the hardware address of a lost agent is asked.
func question4() string {
	return fmt.Sprintf("%s > %s arp request %s 0.0.0.0 to %s %s", nodeMAC, lostMAC, nodeMAC, l2.MAC{}, addr4)
}

func question6() string {
	return fmt.Sprintf("%s > %s %s > %s solicits %s from %s", nodeMAC, lostMAC, nodeLL, addr6, addr6, nodeMAC)
}

// claim6 is the unsolicited advertisement of an address.
func claim6(t *testing.T, src, says l2.MAC) []byte {
	return ndpFrame(t, allNodes, src, peer6, netip.MustParseAddr("ff02::1"), &ndp.NeighborAdvertisement{
		Override: true, TargetAddress: addr6, Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: says[:]}},
	})
}

// lostRig is an announcer that has announced both addresses for a while.
func lostRig(t *testing.T, s *sim, lost bool) *l2.Announcer {
	a := start(t, l2.Options{Network: s})
	a.SetFriends([]l2.MAC{lostMAC})
	if lost {
		a.SetLost([]l2.MAC{lostMAC})
	}
	a.Set(both)
	after(time.Minute)
	return a
}

// A claim with the hardware address of a lost agent counts only if a host answers for the
// address under that hardware address, and as long as it does.
func TestContest(t *testing.T) {
	for _, protocol := range []l2.Protocol{l2.ARP, l2.NDP} {
		addr, question := addr4, question4()
		claim := func(t *testing.T) []byte { return claim4(t, lostMAC) }
		answer := func(t *testing.T) []byte {
			return arpFrame(t, nodeMAC, lostMAC, arp.OperationReply, addr4, peer4)
		}
		if protocol == l2.NDP {
			addr, question = addr6, question6()
			claim = func(t *testing.T) []byte { return claim6(t, lostMAC, lostMAC) }
			answer = func(t *testing.T) []byte {
				return ndpFrame(t, nodeMAC, lostMAC, peer6, nodeLL, &ndp.NeighborAdvertisement{
					Solicited: true, Override: true, TargetAddress: addr6,
					Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: lostMAC[:]}},
				})
			}
		}
		contended := func(a *l2.Announcer) bool {
			c := counts(a, addr).Contenders
			return len(c) == 1 && c[0].MAC == lostMAC && c[0].Interface == "eth0"
		}
		t.Run(protocol.String()+" answered", func(t *testing.T) {
			simulate(t, func(t *testing.T, s *sim) {
				wire := listen(t, s, protocol)
				a := lostRig(t, s, true)
				wire.forget()
				wire.send(t, answer(t)) // nobody has asked
				wire.send(t, answer(t))
				synctest.Wait()
				wire.send(t, claim(t))
				wire.expect(t, question)
				wire.send(t, answer(t))
				synctest.Wait()
				wire.send(t, answer(t)) // again, to the same question
				synctest.Wait()
				if contended(a) {
					t.Error("one answer is enough")
				}
				begin := time.Now()
				wire.expect(t, question)
				wire.send(t, answer(t))
				synctest.Wait()
				if took := time.Since(begin); !contended(a) || took > time.Second {
					t.Errorf("answered twice, after %v: %+v", took, counts(a, addr))
				}
				// It is asked again, and counts while it answers.
				for range 3 {
					after(3 * time.Second)
					wire.expect(t, question)
					wire.send(t, answer(t))
				}
				synctest.Wait()
				if !contended(a) {
					t.Error("it answers, and does not count any more")
				}
				// Gossip reaches it again, and loses it once more: it may be gone now.
				a.SetLost(nil)
				synctest.Wait()
				a.SetLost([]l2.MAC{lostMAC})
				synctest.Wait()
				if contended(a) {
					t.Error("it counts by what it answered before gossip reached it")
				}
				wire.forget()
				wire.send(t, claim(t))
				for range 2 {
					wire.expect(t, question)
					wire.send(t, answer(t))
					synctest.Wait()
				}
				if !contended(a) {
					t.Error("it answers again, and does not count")
				}
				after(9 * time.Second)
				if contended(a) {
					t.Error("it does not answer, and still counts")
				}
			})
		})
		t.Run(protocol.String()+" not answered", func(t *testing.T) {
			simulate(t, func(t *testing.T, s *sim) {
				wire := listen(t, s, protocol)
				a := lostRig(t, s, true)
				wire.forget()
				begin := time.Now()
				for range 40 {
					wire.send(t, claim(t))
					after(250 * time.Millisecond)
					if contended(a) {
						t.Fatal("a claim alone is enough")
					}
				}
				if n := len(wire.times(begin, question)); n < 3 || n > 20 {
					t.Errorf("%d questions in 10 s", n)
				}
				if n := a.State().Claims[l2.ClaimUnanswered]; n == 0 {
					t.Error("no claim was counted")
				}
				if d := counts(a, addr); d.Presences[0].Phase != l2.Announced || d.Conflict != (l2.Claim{}) {
					t.Errorf("the address is %+v", d)
				}
			})
		})
		t.Run(protocol.String()+" not lost", func(t *testing.T) {
			simulate(t, func(t *testing.T, s *sim) {
				wire := listen(t, s, protocol)
				lostRig(t, s, false)
				wire.forget()
				begin := time.Now()
				wire.send(t, claim(t))
				after(5 * time.Second)
				if n := len(wire.times(begin, question)); n != 0 {
					t.Errorf("%d questions to an agent that gossip knows", n)
				}
			})
		})
	}
}

// A frame that came from another hardware address than it says proves nothing, and makes
// the owner announce the address again.
func TestForgedClaim(t *testing.T) {
	forged4 := func(t *testing.T) []byte {
		frame := claim4(t, lostMAC)
		copy(frame[6:], peerMAC[:])
		return frame
	}
	forged6 := func(t *testing.T) []byte { return claim6(t, peerMAC, lostMAC) }
	for protocol, forged := range map[l2.Protocol]func(*testing.T) []byte{l2.ARP: forged4, l2.NDP: forged6} {
		t.Run(protocol.String(), func(t *testing.T) {
			simulate(t, func(t *testing.T, s *sim) {
				wire := listen(t, s, protocol)
				a := lostRig(t, s, true)
				addr, announced, question := addr4, gratuitous4(nodeMAC)[0], question4()
				if protocol == l2.NDP {
					addr, announced, question = addr6, gratuitous6(nodeMAC, nodeLL), question6()
				}
				wire.forget()
				begin := time.Now()
				wire.send(t, forged(t))
				after(5 * time.Second)
				d := counts(a, addr)
				if d.TakenBy != (l2.Claim{}) || len(d.Contenders) > 0 || a.State().Claims[l2.ClaimForged] != 1 {
					t.Errorf("after a forged claim: %+v, %v", d, a.State().Claims)
				}
				lines := len(wire.lines)
				if got := wire.times(begin, announced); len(got) == 0 || got[0] != 0 {
					t.Errorf("announced again after %v, of %d packets", got, lines)
				}
				wire.send(t, forged(t))
				after(time.Second)
				if n := len(wire.times(begin, question)); n != 0 {
					t.Errorf("%d questions", n)
				}
			})
		})
	}
	// A stranger that is named is a conflict, also under Refuse, and not an owner.
	simulate(t, func(t *testing.T, s *sim) {
		wire := listen(t, s, l2.ARP)
		a := start(t, l2.Options{Network: s, Conflict: l2.Refuse})
		a.Set([]l2.Announcement{{Addr: addr4, Fresh: true}})
		after(300 * time.Millisecond)
		frame := claim4(t, peerMAC)
		copy(frame[6:], lostMAC[:])
		wire.send(t, frame)
		after(time.Second)
		if d := counts(a, addr4); d.Presences[0].Phase != l2.Announced {
			t.Errorf("a forged answer takes the address: %+v", d)
		}
		after(3 * time.Second)
		wire.send(t, frame)
		after(time.Second)
		if d := counts(a, addr4); d.Conflict.MAC != peerMAC || d.Presences[0].Phase != l2.Announced {
			t.Errorf("the conflict is %+v", d)
		}
	})
}

// A node on standby answers who asks it alone, and who asks again a second later because
// nobody has answered.
func TestStandbyStepsIn(t *testing.T) {
	simulate(t, func(t *testing.T, s *sim) {
		v4 := listen(t, s, l2.ARP)
		v6 := listen(t, s, l2.NDP)
		a := start(t, l2.Options{Network: s})
		a.Set([]l2.Announcement{{Addr: addr4, Standby: []string{"eth0"}}, {Addr: addr6, Standby: []string{"eth0"}}})
		after(time.Minute)
		solicit := func(dst l2.MAC) []byte {
			return ndpFrame(t, dst, peerMAC, peer6, group6, &ndp.NeighborSolicitation{
				TargetAddress: addr6, Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: peerMAC[:]}},
			})
		}
		rows := []struct {
			name  string
			wait  time.Duration
			alone bool
			want  int
		}{
			{"the first question", 0, false, 0},
			{"again at once", 100 * time.Millisecond, false, 0},
			{"again after a second", time.Second, false, 1},
			{"another question later", 10 * time.Second, false, 0},
			{"to this node alone", 10 * time.Second, true, 1},
		}
		for _, row := range rows {
			after(row.wait)
			v4.forget()
			v6.forget()
			dst4, dst6 := everybody, group6MAC
			if row.alone {
				dst4, dst6 = nodeMAC, nodeMAC
			}
			v4.send(t, arpFrame(t, dst4, peerMAC, arp.OperationRequest, peer4, addr4))
			v6.send(t, solicit(dst6))
			synctest.Wait()
			if len(v4.lines) != row.want || len(v6.lines) != row.want {
				t.Errorf("%s: %d ARP and %d NDP answers, want %d", row.name, len(v4.lines), len(v6.lines), row.want)
			}
		}
	})
}

// Another host may answer on one interface and not on another, as a node does whose cable
// is cut while it is also on a second network. Only there the address is left to it.
func TestStandbyOnOneInterface(t *testing.T) {
	simulate(t, func(t *testing.T, s *sim) {
		s.editAll(func(links []l2.Link) []l2.Link {
			return append(links, l2.Link{Index: 3, Name: "eth1", MAC: peerMAC, LinkLocal: peer6, Up: true, Broadcast: true})
		})
		a := start(t, l2.Options{Network: s})
		a.Set(both)
		after(time.Minute)
		solicit := ndpFrame(t, group6MAC, lostMAC, peer6, group6, &ndp.NeighborSolicitation{
			TargetAddress: addr6, Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: lostMAC[:]}},
		})
		wires := map[string][2]*tap{
			"eth0": {listen(t, s, l2.ARP), listen(t, s, l2.NDP)},
			"eth1": {listen(t, atLink{s, 3}, l2.ARP), listen(t, atLink{s, 3}, l2.NDP)},
		}
		// answered counts the answers to a first question on each interface, by protocol.
		answered := func() (out []string) {
			after(10 * time.Second)
			for _, name := range []string{"eth0", "eth1"} {
				v4, v6 := wires[name][0], wires[name][1]
				v4.forget()
				v6.forget()
				v4.send(t, arpFrame(t, everybody, lostMAC, arp.OperationRequest, peer4, addr4))
				v6.send(t, solicit)
				synctest.Wait()
				out = append(out, fmt.Sprint(name, " ", len(v4.lines), " ", len(v6.lines)))
			}
			return out
		}
		for _, step := range []struct {
			left []string
			want []string
		}{
			{nil, []string{"eth0 1 1", "eth1 1 1"}},
			{[]string{"eth1"}, []string{"eth0 1 1", "eth1 0 0"}},
			{[]string{"eth0", "eth1"}, []string{"eth0 0 0", "eth1 0 0"}},
			{[]string{"eth0"}, []string{"eth0 0 0", "eth1 1 1"}},
			{nil, []string{"eth0 1 1", "eth1 1 1"}},
		} {
			a.Set([]l2.Announcement{{Addr: addr4, Standby: step.left}, {Addr: addr6, Standby: step.left}})
			if diff := cmp.Diff(step.want, answered()); diff != "" {
				t.Errorf("left on %v (-want +got):\n%s", step.left, diff)
			}
		}
	})
}

// atLink is a sim whose peers are on another link than eth0.
type atLink struct {
	*sim
	link int
}

func (s atLink) peer(_ testing.TB, protocol l2.Protocol) l2.Port {
	return s.plug(&simPort{sim: s.sim, link: s.link, protocol: protocol, peer: true})
}
