// SPDX-License-Identifier: Apache-2.0

package frr_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/heraldlb/herald/cluster/clustertest"
	"github.com/heraldlb/herald/frr"
)

// An Applier that starts finds the routes that bgpd has from one before it, before it applies
// anything. A bgpd that is not there has none.
func TestFound(t *testing.T) {
	f := startFRR(t)
	a, until := run(t, frr.Options{RunDir: f.dir})
	a.Set(apartText(networks("198.51.100.1/32", "203.0.113.7/32", "2001:db8::1/128"), "n1"))
	until("applied", applied)

	find := func(dir string) map[netip.Prefix]string {
		found := make(chan map[netip.Prefix]string, 2)
		b, _ := run(t, frr.Options{RunDir: dir, Found: func(routes map[netip.Prefix]string) { found <- routes }})
		b.Set(apartText(networks("192.0.2.1/32"), "n1"))
		select {
		case routes := <-found:
			return routes
		case <-time.After(time.Minute):
			t.Fatal("nothing was found")
			return nil
		}
	}
	want := map[netip.Prefix]string{
		netip.MustParsePrefix("198.51.100.1/32"): "herald-class-a",
		netip.MustParsePrefix("203.0.113.7/32"):  "herald-class-b",
		netip.MustParsePrefix("2001:db8::1/128"): "herald-class-a",
	}
	if diff := cmp.Diff(want, find(f.dir), clustertest.Values); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[netip.Prefix]string{}, find(t.TempDir()), clustertest.Values, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("without bgpd (-want +got):\n%s", diff)
	}
}
