// SPDX-License-Identifier: Apache-2.0

package l2_test

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/l2"
)

// simulate runs a test on a simulated link, with a clock of its own.
func simulate(t *testing.T, test func(t *testing.T, s *sim)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newSim()) })
}

// after lets time pass, and everything that it brings about.
func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// times returns when a line came, relative to begin.
func (p *tap) times(begin time.Time, text string) (out []time.Duration) {
	for {
		select {
		case l := <-p.lines:
			if l.text == text {
				out = append(out, l.at.Sub(begin))
			}
		default:
			return out
		}
	}
}

func seconds(s ...float64) (out []time.Duration) {
	for _, x := range s {
		out = append(out, time.Duration(x*float64(time.Second)))
	}
	return out
}

func TestCadence(t *testing.T) {
	simulate(t, func(t *testing.T, s *sim) {
		v4, v6 := listen(t, s, l2.ARP), listen(t, s, l2.NDP)
		a := start(t, l2.Options{Network: s})
		synctest.Wait()
		begin := time.Now()
		a.Set(both)
		after(5500 * time.Millisecond)
		if diff := cmp.Diff(seconds(0, 1, 2, 3, 4, 5), v4.times(begin, gratuitous4(nodeMAC)[0])); diff != "" {
			t.Errorf("requests (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(seconds(0, 1, 2, 3, 4, 5), v6.times(begin, gratuitous6(nodeMAC, nodeLL))); diff != "" {
			t.Errorf("advertisements (-want +got):\n%s", diff)
		}

		a.Set(slices.Clone(both)) // the same again
		after(10 * time.Minute)
		got := v4.times(begin, gratuitous4(nodeMAC)[1])
		last, different := 5*time.Second, false
		for _, at := range got {
			if gap := at - last; gap < 24*time.Second || gap > 36*time.Second {
				t.Errorf("%v between two announcements", gap)
			} else if gap != 30*time.Second {
				different = true
			}
			last = at
		}
		if len(got) < 16 || !different {
			t.Errorf("announced at %v in ten minutes", got)
		}
	})
}

func TestPace(t *testing.T) {
	simulate(t, func(t *testing.T, s *sim) {
		v4 := listen(t, s, l2.ARP)
		a := start(t, l2.Options{Network: s})
		synctest.Wait()
		begin := time.Now()
		var want []l2.Announcement
		for addr := addr4; len(want) < 1000; addr = addr.Next() {
			want = append(want, l2.Announcement{Addr: addr})
		}
		a.Set(want)
		perSecond := map[int]int{}
		after(time.Minute)
		for len(v4.lines) > 0 {
			l := <-v4.lines
			if l.at.Equal(begin) {
				perSecond[-1]++
			} else {
				perSecond[int(l.at.Sub(begin)/time.Second)]++
			}
		}
		if n := perSecond[-1]; n != 2000 {
			t.Errorf("%d packets at once, want the first two of each address", n)
		}
		for at, n := range perSecond {
			if at >= 0 && n > 550 {
				t.Errorf("%d packets in second %d", n, at)
			}
		}

		// A new address does not wait for repeated announcements.
		a.Set(append(want, l2.Announcement{Addr: netip.MustParseAddr("198.51.100.1")}))
		now := time.Now()
		got := v4.expect(t, fmt.Sprintf("%s > %s arp request %s 198.51.100.1 to %s 198.51.100.1", nodeMAC, everybody, nodeMAC, l2.MAC{}))
		if got.Sub(now) != 0 {
			t.Errorf("another address was announced after %v", got.Sub(now))
		}
	})
}

func TestOneBadLinkHarmsOnlyItself(t *testing.T) {
	simulate(t, func(t *testing.T, s *sim) {
		s.editAll(func(links []l2.Link) []l2.Link {
			return append(links, l2.Link{Index: 3, Name: "eth1", MAC: peerMAC, LinkLocal: peer6, Up: true, Broadcast: true})
		})
		bad := errors.New("bad link")
		s.breakLink(3, bad)
		a := start(t, l2.Options{Network: s})
		a.Set(both)
		after(time.Minute)
		st := a.State()
		for _, d := range st.Addresses {
			if len(d.Presences) != 1 || d.Presences[0].Interface != "eth0" || !d.Confirmed {
				t.Errorf("next to a bad link: %+v", d)
			}
		}
		for _, i := range st.Interfaces {
			if got := errors.Is(i.Err, bad); got != (i.Name == "eth1") {
				t.Errorf("error of %s is %v", i.Name, i.Err)
			}
		}
		s.breakLink(3, nil)
		after(5 * time.Second)
		if d := counts(a, addr4); len(d.Presences) != 2 {
			t.Errorf("after the link was mended: %+v", d)
		}
	})
}

func TestLinkThatChangesIsTriedAtOnce(t *testing.T) {
	simulate(t, func(t *testing.T, s *sim) {
		s.breakLink(2, errors.New("bad link"))
		a := start(t, l2.Options{Network: s})
		a.Set(both)
		after(time.Minute) // the next attempt is seconds away
		s.breakLink(2, nil)
		s.setUp(false)
		synctest.Wait()
		s.setUp(true)
		synctest.Wait()
		if d := counts(a, addr4); !d.Confirmed {
			t.Errorf("after the link came up: %+v", d)
		}
	})
}

func TestPolicyText(t *testing.T) {
	for _, want := range []l2.Policy{l2.Warn, l2.Refuse} {
		var got l2.Policy
		if err := got.UnmarshalText([]byte(want.String())); err != nil || got != want {
			t.Errorf("%s reads as %s: %v", want, got, err)
		}
	}
	if err := new(l2.Policy).UnmarshalText([]byte("yield")); err == nil {
		t.Error("an unknown policy is read")
	}
}

func TestPortThatFailsIsOpenedAgain(t *testing.T) {
	simulate(t, func(t *testing.T, s *sim) {
		a := start(t, l2.Options{Network: s})
		a.Set(both)
		after(time.Second)
		s.cut()
		synctest.Wait()
		for _, d := range a.State().Addresses {
			if len(d.Presences) > 0 {
				t.Errorf("on a port that has failed: %+v", d)
			}
		}
		after(100 * time.Millisecond)
		for _, d := range a.State().Addresses {
			if !d.Confirmed {
				t.Errorf("after a port has failed: %+v", d)
			}
		}
	})
}

func TestExcludeAndInterfaces(t *testing.T) {
	simulate(t, func(t *testing.T, s *sim) {
		s.editAll(func(links []l2.Link) []l2.Link {
			return append(links, l2.Link{Index: 3, Name: "eth1", MAC: peerMAC, LinkLocal: peer6, Up: true, Broadcast: true})
		})
		var changes atomic.Int64
		a := start(t, l2.Options{Network: s, Changed: func() { changes.Add(1) }})
		steps := []struct {
			name       string
			interfaces []string
			exclude    string
			want       []string
		}{
			{"all", nil, "^$", []string{"eth0", "eth1"}},
			{"one by name", []string{"eth1"}, "^$", []string{"eth1"}},
			{"one that is not there", []string{"eth7"}, "^$", nil},
			{"a name is no pattern", []string{"eth"}, "^$", nil},
			{"one excluded", nil, "1$", []string{"eth0"}},
			{"the named one excluded", []string{"eth1"}, "1$", nil},
			{"all excluded", nil, "eth", nil},
			{"all again", nil, "^$", []string{"eth0", "eth1"}},
		}
		for _, step := range steps {
			changes.Store(0)
			a.SetExclude([]*regexp.Regexp{regexp.MustCompile(step.exclude)})
			a.Set([]l2.Announcement{{Addr: addr4, Interfaces: step.interfaces}})
			synctest.Wait()
			var got []string
			for _, p := range counts(a, addr4).Presences {
				got = append(got, p.Interface)
			}
			if diff := cmp.Diff(step.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", step.name, diff)
			}
		}
		if changes.Load() == 0 {
			t.Error("Changed was not called")
		}

		// A new name of the same link counts at once.
		a.Set([]l2.Announcement{{Addr: addr4, Interfaces: []string{"lan0"}}})
		synctest.Wait()
		s.edit(func(l *l2.Link) { l.Name = "lan0" })
		synctest.Wait()
		if d := counts(a, addr4); len(d.Presences) != 1 || d.Presences[0].Interface != "lan0" {
			t.Errorf("after a link was renamed: %+v", d)
		}
	})
}

// logged is what was logged.
type logged struct {
	mu sync.Mutex // guards b
	b  strings.Builder
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logged) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
