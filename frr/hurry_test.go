// SPDX-License-Identifier: Apache-2.0

package frr_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/table"
)

// networks returns a table.
func networks(prefixes ...string) table.Table[netip.Prefix, string] {
	var e table.Editor[netip.Prefix, string]
	for _, p := range prefixes {
		name := "herald-class-a"
		if strings.HasPrefix(p, "203.0.113.") {
			name = "herald-class-b"
		}
		e.Set(netip.MustParsePrefix(p), name)
	}
	return e.Table()
}

// bgpd is asked to process a route that it has once more, and its configuration does not
// change. Without a route it is not asked.
func TestHurry(t *testing.T) {
	f := startFRR(t)
	a, until := run(t, frr.Options{RunDir: f.dir})
	var all []string
	clears := func() []string {
		for _, c := range f.bgpd.Sent() {
			if strings.HasPrefix(c, "clear ") && (len(all) == 0 || all[len(all)-1] != c) {
				all = append(all, c)
			}
		}
		return all
	}
	a.Hurry() // nothing is known of bgpd
	a.Set(apartText(networks(), "n1"))
	until("applied", applied)
	a.Hurry() // it has no route
	a.Set(apartText(networks("198.51.100.2/32", "198.51.100.1/32"), "n1"))
	until("applied with routes", applied)
	before := f.bgpd.Config()
	time.Sleep(2 * 50 * time.Millisecond) // twice as long as bgpd holds back what it was sent
	a.Hurry()
	eventually(t, "asked", func() bool { return len(clears()) > 0 })
	a.Set(apartText(networks("2001:db8::1/128"), "n1"))
	until("applied with another", applied)
	time.Sleep(2 * 50 * time.Millisecond)
	a.Hurry()
	eventually(t, "asked again", func() bool { return len(clears()) > 1 })
	if got := strings.Join(clears(), "; "); got != "clear bgp prefix 198.51.100.1/32; clear bgp ipv6 unicast prefix 2001:db8::1/128" {
		t.Errorf("asked: %s", got)
	}
	a.Set(apartText(networks("198.51.100.2/32", "198.51.100.1/32"), "n1"))
	until("applied as before", applied)
	if after := f.bgpd.Config(); after != before {
		t.Errorf("configuration:\n%s\nwas:\n%s", after, before)
	}
}

// bgpd is asked again until a change comes, and not for ever.
func TestHurryAgain(t *testing.T) {
	f := startFRR(t)
	a, until := run(t, frr.Options{RunDir: f.dir})
	clears := 0
	count := func() int {
		for _, c := range f.bgpd.Sent() {
			if strings.HasPrefix(c, "clear ") {
				clears++
			}
		}
		return clears
	}
	a.Set(apartText(networks("198.51.100.1/32"), "n1"))
	until("applied", applied)
	a.Hurry()
	eventually(t, "asked several times", func() bool { return count() >= 3 })
	a.Set(apartText(networks("198.51.100.1/32", "198.51.100.2/32"), "n1"))
	until("applied with a change", applied)
	before := count()
	time.Sleep(200 * time.Millisecond)
	if n := count(); n != before {
		t.Errorf("asked %d times after the change has come", n-before)
	}
	a.Hurry()
	eventually(t, "asked again", func() bool { return count() > before })
	time.Sleep(1200 * time.Millisecond)
	before = count()
	time.Sleep(200 * time.Millisecond)
	if n := count(); n != before {
		t.Errorf("asked %d times after a second without a change", n-before)
	}
}

// A bgpd that dies while it is asked is configured again.
func TestHurryDaemonGone(t *testing.T) {
	f := startFRR(t)
	a, until := run(t, frr.Options{RunDir: f.dir})
	a.Set(apartText(networks("198.51.100.1/32"), "n1"))
	until("applied", applied)
	f.bgpd.Stop()
	f.bgpd.Clear()
	f.bgpd.Start(t, f.dir)
	a.Hurry()
	eventually(t, "configured again", func() bool { return strings.Contains(f.bgpd.Config(), "network 198.51.100.1/32") })
}
