// SPDX-License-Identifier: Apache-2.0

package l2_test

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/arp"

	"github.com/heraldlb/herald/l2"
)

// probe4 and claim4 are the probe and the announcement of a host that takes addr4.
func probe4(mac l2.MAC) string {
	return fmt.Sprintf("%s > %s arp request %s 0.0.0.0 to %s %s", mac, everybody, mac, l2.MAC{}, addr4)
}

func claim4(t *testing.T, mac l2.MAC) []byte {
	return arpFrame(t, everybody, mac, arp.OperationRequest, addr4, addr4)
}

func TestWarnProbesWhileItAnnounces(t *testing.T) {
	simulate(t, func(t *testing.T, s *sim) {
		v4 := listen(t, s, l2.ARP)
		a := start(t, l2.Options{Network: s})
		synctest.Wait()
		begin := time.Now()
		a.Set([]l2.Announcement{{Addr: addr4, Fresh: true}})
		if at := v4.expect(t, gratuitous4(nodeMAC)[0]); !at.Equal(begin) {
			t.Errorf("announced after %v", at.Sub(begin))
		}
		after(time.Minute)
		if diff := cmp.Diff(seconds(0, 0.2, 0.4), v4.times(begin, probe4(nodeMAC))); diff != "" {
			t.Errorf("probes (-want +got):\n%s", diff)
		}
	})
}

func TestRefuse(t *testing.T) {
	simulate(t, func(t *testing.T, s *sim) {
		v4 := listen(t, s, l2.ARP)
		a := start(t, l2.Options{Network: s, Conflict: l2.Refuse})
		synctest.Wait()
		begin := time.Now()
		a.Set([]l2.Announcement{{Addr: addr4, Fresh: true}})
		after(100 * time.Millisecond)
		request := arpFrame(t, everybody, peerMAC, arp.OperationRequest, peer4, addr4)
		v4.send(t, request)
		after(time.Second)
		if d := counts(a, addr4); d.Requests != 0 || !d.Confirmed || a.State().Requests[l2.Unclaimed] != 1 {
			t.Errorf("after silence: %+v", d)
		}
		if at := v4.expect(t, gratuitous4(nodeMAC)[0]); at.Sub(begin) != 600*time.Millisecond {
			t.Errorf("announced after %v", at.Sub(begin))
		}

		a.Set(nil)
		synctest.Wait()
		v4.forget()
		begin = time.Now()
		a.Set([]l2.Announcement{{Addr: addr4, Fresh: true}})
		after(300 * time.Millisecond)
		v4.send(t, arpFrame(t, nodeMAC, peerMAC, arp.OperationReply, addr4, netip.IPv4Unspecified()))
		after(10 * time.Second)
		v4.send(t, request)
		synctest.Wait()
		d := counts(a, addr4)
		if d.Presences[0].Phase != l2.Refused || d.Conflict.MAC != peerMAC || d.Requests != 0 || d.Gratuitous != 0 {
			t.Errorf("after an answer: %+v", d)
		}
		if diff := cmp.Diff(seconds(0, 0.2), v4.times(begin, probe4(nodeMAC))); diff != "" {
			t.Errorf("probes (-want +got):\n%s", diff)
		}

		after(30 * time.Second) // the stranger is silent now
		if d := counts(a, addr4); d.Presences[0].Phase != l2.Announced || d.Conflict != (l2.Claim{}) {
			t.Errorf("after the stranger has left: %+v", d)
		}
	})
}

func TestDefence(t *testing.T) {
	simulate(t, func(t *testing.T, s *sim) {
		v4 := listen(t, s, l2.ARP)
		a := start(t, l2.Options{Network: s})
		a.Set([]l2.Announcement{{Addr: addr4}})
		after(5500 * time.Millisecond) // between two announcements, and the next is 24 s away
		v4.forget()
		begin := time.Now()
		for range 12 {
			v4.send(t, claim4(t, peerMAC))
			after(time.Second)
		}
		if diff := cmp.Diff(seconds(0, 10), v4.times(begin, gratuitous4(nodeMAC)[0])); diff != "" {
			t.Errorf("defences (-want +got):\n%s", diff)
		}
		if c := counts(a, addr4).Conflict; c.MAC != peerMAC || time.Since(c.At) > 2*time.Second {
			t.Errorf("conflict is %+v at %v", c, time.Now())
		}

		v4.forget()
		after(3 * time.Minute)
		if c := counts(a, addr4).Conflict; c != (l2.Claim{}) {
			t.Errorf("conflict is %+v three minutes after the last claim", c)
		}
		if n := len(v4.times(begin, probe4(nodeMAC))); n < 2 || n > 4 {
			t.Errorf("the stranger was asked for %d times", n)
		}
	})
}

// A flood of claims, each of another host, is one line of log for each conflict, and is
// reported once a second.
func TestFloodOfClaims(t *testing.T) {
	simulate(t, func(t *testing.T, s *sim) {
		const flood = 10 // seconds, with 100 claims in each
		v4 := listen(t, s, l2.ARP)
		var log logged
		var mu sync.Mutex // guards reports
		reports := 0
		a := start(t, l2.Options{Network: s, Logger: slog.New(slog.NewTextHandler(&log, nil)), Changed: func() {
			mu.Lock()
			defer mu.Unlock()
			reports++
		}})
		a.Set([]l2.Announcement{{Addr: addr4}})
		for round := range 2 {
			after(10 * time.Second)
			mu.Lock()
			before := reports
			mu.Unlock()
			v4.send(t, claim4(t, peerMAC))
			synctest.Wait()
			if d := counts(a, addr4); d.Conflict.MAC != peerMAC || d.Claimants != 1 {
				t.Errorf("at the first claim the conflict is %+v of %d hosts", d.Conflict, d.Claimants)
			}
			for i := range flood * 100 {
				v4.send(t, claim4(t, l2.MAC{2, 1, 0, 0, byte(i >> 8), byte(i)}))
				after(10 * time.Millisecond)
			}
			after(time.Second)
			mu.Lock()
			news := reports - before
			mu.Unlock()
			if news > flood+2 {
				t.Errorf("%d claims are reported %d times in %d s", flood*100, news, flood)
			}
			if d := counts(a, addr4); d.Conflict.MAC != peerMAC || d.Claimants != 16 || time.Since(d.Conflict.At) > 2*time.Second {
				t.Errorf("after the flood the conflict is %+v of %d hosts, at %v", d.Conflict, d.Claimants, time.Now())
			}
			if n := strings.Count(log.text(), "another host has the address"); n != round+1 {
				t.Errorf("%d lines of log after %d conflicts", n, round+1)
			}
			after(3 * time.Minute)
			if d := counts(a, addr4); d.Conflict != (l2.Claim{}) || d.Claimants != 0 {
				t.Errorf("three minutes later the conflict is %+v of %d hosts", d.Conflict, d.Claimants)
			}
		}
	})
}

func TestClaimsThatAreNoConflicts(t *testing.T) {
	friend, own := l2.MAC{2, 0, 0, 0, 0, 7}, l2.MAC{2, 0, 0, 0, 0, 8}
	rows := []struct {
		name              string
		announcement      l2.Announcement
		wait              time.Duration
		mac               l2.MAC
		conflict, takenBy bool
	}{
		{"a stranger", l2.Announcement{Addr: addr4}, 3 * time.Second, peerMAC, true, false},
		{"the last owner, a moment after", l2.Announcement{Addr: addr4}, time.Second, peerMAC, false, false},
		{"a stranger, at once", l2.Announcement{Addr: addr4, Fresh: true}, 0, peerMAC, true, false},
		{"a friend", l2.Announcement{Addr: addr4, Fresh: true}, 0, friend, false, true},
		{"another interface of this node", l2.Announcement{Addr: addr4, Fresh: true}, 0, own, false, false},
		{"anybody, while quiet", l2.Announcement{Addr: addr4, Quiet: true}, time.Minute, peerMAC, false, true},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			simulate(t, func(t *testing.T, s *sim) {
				s.editAll(func(links []l2.Link) []l2.Link {
					return append(links, l2.Link{Index: 3, Name: "eth1", MAC: own})
				})
				v4 := listen(t, s, l2.ARP)
				a := start(t, l2.Options{Network: s})
				a.SetFriends([]l2.MAC{friend})
				a.Set([]l2.Announcement{row.announcement})
				after(row.wait)
				v4.send(t, claim4(t, row.mac))
				synctest.Wait()
				d := counts(a, addr4)
				if got := d.Conflict.MAC == row.mac; got != row.conflict {
					t.Errorf("conflict is %+v", d.Conflict)
				}
				if got := d.TakenBy.MAC == row.mac; got != row.takenBy {
					t.Errorf("taken by %+v", d.TakenBy)
				}
			})
		})
	}
}
