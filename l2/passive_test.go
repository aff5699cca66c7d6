// SPDX-License-Identifier: Apache-2.0

package l2_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/arp"

	"github.com/heraldlb/herald/l2"
)

// A new round starts the announcements again, and the same round does not.
func TestRound(t *testing.T) {
	simulate(t, func(t *testing.T, s *sim) {
		v4 := listen(t, s, l2.ARP)
		a := start(t, l2.Options{Network: s})
		synctest.Wait()
		a.Set([]l2.Announcement{{Addr: addr4}})
		after(10 * time.Second)
		v4.forget()
		begin := time.Now()
		a.Set([]l2.Announcement{{Addr: addr4, Round: 1}})
		after(2500 * time.Millisecond)
		a.Set([]l2.Announcement{{Addr: addr4, Round: 1}})
		after(5 * time.Second)
		if diff := cmp.Diff(seconds(0, 1, 2, 3, 4, 5), v4.times(begin, gratuitous4(nodeMAC)[0])); diff != "" {
			t.Errorf("requests (-want +got):\n%s", diff)
		}
	})
}

// An agent that does not know whether it is still the owner says nothing, and
// goes on by itself when it knows.
func TestMute(t *testing.T) {
	simulate(t, func(t *testing.T, s *sim) {
		v4 := listen(t, s, l2.ARP)
		var mute atomic.Bool
		a := start(t, l2.Options{Network: s, Mute: mute.Load})
		synctest.Wait()
		mute.Store(true)
		a.Set([]l2.Announcement{{Addr: addr4}})
		synctest.Wait()
		ask := arpFrame(t, everybody, peerMAC, arp.OperationRequest, peer4, addr4)
		v4.send(t, ask)
		after(time.Second)
		if n := len(v4.lines); n > 0 {
			t.Errorf("%d packets while it is to say nothing, the first: %s", n, (<-v4.lines).text)
		}
		if n := a.State().Requests[l2.Muted]; n != 1 {
			t.Errorf("%d requests dropped as %v, want 1", n, l2.Muted)
		}
		if a.State().Addresses[0].Confirmed {
			t.Error("confirmed although nothing was sent")
		}
		mute.Store(false)
		after(time.Second)
		v4.expect(t, gratuitous4(nodeMAC)[0])
		v4.send(t, ask)
		v4.expect(t, fmt.Sprintf("%s > %s arp reply %s %s to %s %s", nodeMAC, peerMAC, nodeMAC, addr4, peerMAC, peer4))
	})
}

func TestQuiet(t *testing.T) {
	simulate(t, func(t *testing.T, s *sim) {
		v4 := listen(t, s, l2.ARP)
		a := start(t, l2.Options{Network: s})
		a.Set([]l2.Announcement{{Addr: addr4}})
		after(1500 * time.Millisecond)
		a.Set([]l2.Announcement{{Addr: addr4, Quiet: true}})
		v4.forget()
		after(time.Minute)
		if n := len(v4.lines); n > 0 {
			t.Errorf("%d packets while quiet", n)
		}
		v4.send(t, arpFrame(t, everybody, peerMAC, arp.OperationRequest, peer4, addr4))
		v4.send(t, claim4(t, peerMAC))
		synctest.Wait()
		v4.expect(t, fmt.Sprintf("%s > %s arp reply %s %s to %s %s", nodeMAC, peerMAC, nodeMAC, addr4, peerMAC, peer4))
		if n := len(v4.lines); n > 0 {
			t.Errorf("a claim was countered while quiet")
		}

		begin := time.Now()
		a.Set([]l2.Announcement{{Addr: addr4}})
		after(500 * time.Millisecond)
		if diff := cmp.Diff(seconds(0), v4.times(begin, gratuitous4(nodeMAC)[0])); diff != "" {
			t.Errorf("announced again (-want +got):\n%s", diff)
		}
		if d := counts(a, addr4); d.TakenBy != (l2.Claim{}) {
			t.Errorf("still taken by %+v", d.TakenBy)
		}
	})
}

// A silent node still sees the claims of the address's owner.
func TestSilent(t *testing.T) {
	simulate(t, func(t *testing.T, s *sim) {
		v4 := listen(t, s, l2.ARP)
		a := start(t, l2.Options{Network: s})
		a.SetFriends([]l2.MAC{peerMAC})
		a.Set([]l2.Announcement{{Addr: addr4}})
		after(time.Minute)
		v4.send(t, claim4(t, peerMAC))
		synctest.Wait()
		heard := counts(a, addr4).TakenBy
		if heard.MAC != peerMAC {
			t.Fatalf("taken by %+v", heard)
		}
		a.Set([]l2.Announcement{{Addr: addr4, Quiet: true}})
		after(time.Second)
		a.Set([]l2.Announcement{{Addr: addr4, Standby: []string{"eth0"}}})
		synctest.Wait()
		if d := counts(a, addr4); d.TakenBy != heard || d.Confirmed {
			t.Errorf("silent: taken by %+v, confirmed %t", d.TakenBy, d.Confirmed)
		}
		v4.forget()
		ask := arpFrame(t, everybody, peerMAC, arp.OperationRequest, peer4, addr4)
		v4.send(t, ask)
		v4.send(t, claim4(t, peerMAC))
		after(time.Minute)
		if n := len(v4.lines); n > 0 {
			t.Errorf("%d packets while silent, the first: %s", n, (<-v4.lines).text)
		}
		if later := counts(a, addr4).TakenBy; !later.At.After(heard.At) {
			t.Errorf("a claim was not heard while silent: %+v", later)
		}
		a.Set([]l2.Announcement{{Addr: addr4}})
		v4.expect(t, gratuitous4(nodeMAC)[0])
		v4.send(t, ask)
		v4.expect(t, fmt.Sprintf("%s > %s arp reply %s %s to %s %s", nodeMAC, peerMAC, nodeMAC, addr4, peerMAC, peer4))
		if d := counts(a, addr4); d.TakenBy != (l2.Claim{}) || !d.Confirmed {
			t.Errorf("speaking: taken by %+v, confirmed %t", d.TakenBy, d.Confirmed)
		}
	})
}

// An address that is still being probed for has never been announced: when another
// node is elected meanwhile, there is nothing to go on answering for.
func TestQuietWhileProbing(t *testing.T) {
	simulate(t, func(t *testing.T, s *sim) {
		v4 := listen(t, s, l2.ARP)
		a := start(t, l2.Options{Network: s, Conflict: l2.Refuse})
		a.Set([]l2.Announcement{{Addr: addr4, Fresh: true}})
		after(300 * time.Millisecond)
		a.Set([]l2.Announcement{{Addr: addr4, Quiet: true}})
		v4.forget()
		v4.send(t, arpFrame(t, everybody, peerMAC, arp.OperationRequest, peer4, addr4))
		after(time.Second)
		if n := len(v4.lines); n > 0 {
			t.Errorf("%d packets, the first: %s", n, (<-v4.lines).text)
		}
	})
}
