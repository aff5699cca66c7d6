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

// onBoth runs a test on a simulated link and on a real one.
func onBoth(t *testing.T, test func(t *testing.T, r rig)) {
	t.Helper()
	t.Run("simulated", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { test(t, newSim()) })
	})
	t.Run("veth", func(t *testing.T) { test(t, newVeth(t, "ip")) })
}

// both are the announcements of most tests.
var both = []l2.Announcement{{Addr: addr4}, {Addr: addr6}}

// announced waits until the node says that it announces both addresses.
func announced(t testing.TB, a *l2.Announcer) {
	t.Helper()
	until(t, func() string {
		s := a.State()
		n := 0
		for _, d := range s.Addresses {
			if d.Confirmed {
				n++
			}
		}
		if n != 2 {
			return fmt.Sprintf("%d addresses confirmed, want 2: %+v", n, s)
		}
		return ""
	})
}

func TestGain(t *testing.T) {
	onBoth(t, func(t *testing.T, r rig) {
		v4, v6 := listen(t, r, l2.ARP), listen(t, r, l2.NDP)
		a := start(t, l2.Options{Network: r.network()})
		a.Set(both)
		for _, want := range gratuitous4(nodeMAC) {
			v4.expect(t, want)
		}
		v6.expect(t, gratuitous6(nodeMAC, nodeLL))
		announced(t, a)
		if !r.joined(group6) {
			t.Errorf("group %s not joined", group6)
		}

		a.Set(nil)
		until(t, func() string {
			if s := a.State(); len(s.Addresses) > 0 || r.joined(group6) {
				return fmt.Sprintf("after Set(nil): %+v, group joined: %t", s, r.joined(group6))
			}
			return ""
		})
	})
}

func TestAnswers(t *testing.T) {
	onBoth(t, func(t *testing.T, r rig) {
		v4, v6 := listen(t, r, l2.ARP), listen(t, r, l2.NDP)
		a := start(t, l2.Options{Network: r.network()})
		a.Set(both)
		announced(t, a)

		slla := []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: hw(peerMAC)}}
		solicitation := func(options ...ndp.Option) ndp.Message {
			return &ndp.NeighborSolicitation{TargetAddress: addr6, Options: options}
		}
		none4, none6 := netip.IPv4Unspecified(), netip.IPv6Unspecified()
		rows := []struct {
			name  string
			tap   *tap
			frame []byte
			want  string
		}{
			{
				"broadcast request", v4,
				arpFrame(t, everybody, peerMAC, arp.OperationRequest, peer4, addr4),
				fmt.Sprintf("%s > %s arp reply %s %s to %s %s", nodeMAC, peerMAC, nodeMAC, addr4, peerMAC, peer4),
			},
			{
				"unicast request", v4,
				arpFrame(t, nodeMAC, peerMAC, arp.OperationRequest, peer4, addr4),
				fmt.Sprintf("%s > %s arp reply %s %s to %s %s", nodeMAC, peerMAC, nodeMAC, addr4, peerMAC, peer4),
			},
			{
				"probe of somebody who would take the address", v4,
				arpFrame(t, everybody, peerMAC, arp.OperationRequest, none4, addr4),
				fmt.Sprintf("%s > %s arp reply %s %s to %s %s", nodeMAC, peerMAC, nodeMAC, addr4, peerMAC, none4),
			},
			{
				"multicast solicitation", v6,
				ndpFrame(t, group6MAC, peerMAC, peer6, group6, solicitation(slla...)),
				fmt.Sprintf("%s > %s %s > %s advertises solicited override %s at %s", nodeMAC, peerMAC, nodeLL, peer6, addr6, nodeMAC),
			},
			{
				"unicast solicitation without an option, as unreachability detection sends", v6,
				ndpFrame(t, nodeMAC, peerMAC, peer6, addr6, solicitation()),
				fmt.Sprintf("%s > %s %s > %s advertises solicited override %s at %s", nodeMAC, peerMAC, nodeLL, peer6, addr6, nodeMAC),
			},
			{
				"duplicate address detection", v6,
				ndpFrame(t, group6MAC, peerMAC, none6, group6, solicitation()),
				gratuitous6(nodeMAC, nodeLL),
			},
		}
		for _, row := range rows {
			row.tap.forget()
			row.tap.send(t, row.frame)
			row.tap.expect(t, row.want)
			t.Log(row.name, "answered")
		}
		until(t, func() string { // an answer is on the wire before it is counted
			s := a.State()
			if n := s.Requests[l2.Answered]; n < uint64(len(rows)) {
				return fmt.Sprintf("%d requests answered, want at least %d", n, len(rows))
			}
			for _, d := range s.Addresses {
				if d.Requests < 3 || d.Replies != d.Requests || d.Gratuitous == 0 || d.Conflict != (l2.Claim{}) {
					return fmt.Sprintf("after the requests: %+v", d)
				}
			}
			return ""
		})
	})
}

func TestLinkGoesDownAndUp(t *testing.T) {
	onBoth(t, func(t *testing.T, r rig) {
		v4, v6 := listen(t, r, l2.ARP), listen(t, r, l2.NDP)
		a := start(t, l2.Options{Network: r.network()})
		a.Set(both)
		announced(t, a)
		r.setUp(false)
		skipped(t, a, l2.IsDown, l2.IsDown)
		v4.forget()
		v6.forget()
		r.setUp(true)
		v4.expect(t, gratuitous4(nodeMAC)[1])
		v6.expect(t, gratuitous6(nodeMAC, nodeLL))
		announced(t, a)
	})
}

// skipped waits until eth0 is not used, for these reasons, and no address is on it
// for a protocol that it does not serve.
func skipped(t testing.TB, a *l2.Announcer, forARP, forNDP l2.Skip) {
	t.Helper()
	until(t, func() string {
		s := a.State()
		for _, i := range s.Interfaces {
			if i.Name == "eth0" && (i.ARP != forARP || i.NDP != forNDP) {
				return fmt.Sprintf("eth0 is skipped for %s and %s, want %s and %s", i.ARP, i.NDP, forARP, forNDP)
			}
		}
		for _, d := range s.Addresses {
			if wanted := d.Addr.Is4() && forARP == l2.Suitable || d.Addr.Is6() && forNDP == l2.Suitable; (len(d.Presences) > 0) != wanted {
				return fmt.Sprintf("with eth0 skipped for %s and %s: %+v", forARP, forNDP, d)
			}
		}
		return ""
	})
}

func TestMACChanges(t *testing.T) {
	onBoth(t, func(t *testing.T, r rig) {
		v4, v6 := listen(t, r, l2.ARP), listen(t, r, l2.NDP)
		a := start(t, l2.Options{Network: r.network()})
		a.Set(both)
		announced(t, a)
		other := l2.MAC{2, 0, 0, 0, 9, 9}
		r.setMAC(other)
		v4.expect(t, gratuitous4(other)[0])
		v6.expect(t, gratuitous6(other, nodeLL))
		v4.send(t, arpFrame(t, everybody, peerMAC, arp.OperationRequest, peer4, addr4))
		v4.expect(t, fmt.Sprintf("%s > %s arp reply %s %s to %s %s", other, peerMAC, other, addr4, peerMAC, peer4))
	})
}

func TestLinkLocalComesLate(t *testing.T) {
	onBoth(t, func(t *testing.T, r rig) {
		r.setLinkLocal(netip.Addr{})
		v6 := listen(t, r, l2.NDP)
		a := start(t, l2.Options{Network: r.network()})
		a.Set(both)
		skipped(t, a, l2.Suitable, l2.NoLinkLocal)
		r.setLinkLocal(nodeLL)
		v6.expect(t, gratuitous6(nodeMAC, nodeLL))
		announced(t, a)
		if !r.joined(group6) {
			t.Errorf("group %s not joined", group6)
		}
	})
}

func TestLinkIsEnslavedAndReleased(t *testing.T) {
	onBoth(t, func(t *testing.T, r rig) {
		v4 := listen(t, r, l2.ARP)
		a := start(t, l2.Options{Network: r.network()})
		a.Set([]l2.Announcement{{Addr: addr4, Interfaces: []string{"eth0"}}, {Addr: addr6, Interfaces: []string{"eth0"}}})
		announced(t, a)
		r.setEnslaved(true)
		skipped(t, a, l2.IsEnslaved, l2.IsEnslaved)
		v4.forget()
		r.setEnslaved(false)
		v4.expect(t, gratuitous4(nodeMAC)[0])
		announced(t, a)
	})
}

func TestLinkGoesAndComes(t *testing.T) {
	onBoth(t, func(t *testing.T, r rig) {
		r.remove()
		a := start(t, l2.Options{Network: r.network()})
		a.Set(both)
		until(t, func() string {
			if s := a.State(); len(s.Addresses) != 2 || len(s.Addresses[0].Presences) != 0 {
				return fmt.Sprintf("without eth0: %+v", s)
			}
			return ""
		})
		r.add()
		announced(t, a)
		r.remove()
		until(t, func() string {
			if s := a.State(); s.Addresses[0].Confirmed || s.Addresses[1].Confirmed {
				return fmt.Sprintf("with eth0 removed: %+v", s)
			}
			return ""
		})
		r.add()
		announced(t, a)
	})
}

func TestStrangerHasTheAddress(t *testing.T) {
	onBoth(t, func(t *testing.T, r rig) {
		v4, v6 := listen(t, r, l2.ARP), listen(t, r, l2.NDP)
		a := start(t, l2.Options{Network: r.network()})
		a.Set([]l2.Announcement{{Addr: addr4, Fresh: true}, {Addr: addr6, Fresh: true}})
		announced(t, a)
		v4.expect(t, fmt.Sprintf("%s > %s arp request %s 0.0.0.0 to %s %s", nodeMAC, everybody, nodeMAC, l2.MAC{}, addr4))
		v6.expect(t, fmt.Sprintf("%s > %s :: > %s solicits %s", nodeMAC, group6MAC, group6, addr6))
		v4.forget()
		v6.forget()

		sent := time.Now()
		v4.send(t, arpFrame(t, everybody, peerMAC, arp.OperationRequest, addr4, addr4))
		v6.send(t, ndpFrame(t, allNodes, peerMAC, peer6, netip.MustParseAddr("ff02::1"), &ndp.NeighborAdvertisement{
			Override: true, TargetAddress: addr6,
			Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: hw(peerMAC)}},
		}))
		v4.expect(t, gratuitous4(nodeMAC)[0])
		v6.expect(t, gratuitous6(nodeMAC, nodeLL))
		until(t, func() string {
			for _, d := range a.State().Addresses {
				if c := d.Conflict; c.MAC != peerMAC || c.Interface != "eth0" || c.At.Before(sent) {
					return fmt.Sprintf("conflict of %s is %+v", d.Addr, c)
				}
			}
			return ""
		})
	})
}
