// SPDX-License-Identifier: Apache-2.0

package reconcile_test

import (
	"fmt"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/cluster/clustertest"
	"github.com/heraldlb/herald/table"
)

// TestWrites counts what the controller writes to Services, among few and among
// many: a change of one is two writes at most, and time alone is none.
func TestWrites(t *testing.T) {
	const config = `
peers: [{peer-address: 192.0.2.254, peer-asn: 64513, my-asn: 64512}]
address-pools: [{name: web, protocol: bgp, addresses: [10.0.0.0/16]}]`
	for _, many := range []int{1, 5000} {
		t.Run(fmt.Sprint(many), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var names []string
				words := map[cluster.Key]string{}
				for i := range many {
					names = append(names, fmt.Sprintf("s%05d", i))
					words[clustertest.Service("default", names[i]).Key] = "bgp from n1, n2, n3 to r"
				}
				s := newStage(t, config, services(names...)...)
				defer s.stop()
				tell := func(change func()) {
					s.nodes.mu.Lock()
					words = maps.Clone(words)
					change()
					s.nodes.announced.Announcers = table.Of(maps.All(words))
					s.nodes.mu.Unlock()
					s.wake()
				}
				is := func(what string, want int, after time.Duration) {
					t.Helper()
					if got := len(s.wrote(after)); got != want {
						t.Errorf("%s: %d writes, want %d", what, got, want)
					}
				}
				is("all get an address", many, 100*time.Millisecond)
				tell(func() {})
				is("three nodes announce all", many, time.Minute)
				is("ten minutes", 0, 10*time.Minute)

				s.mu.Lock()
				s.snapshot.Services = append(s.snapshot.Services[:many:many], services("x")...)
				s.mu.Unlock()
				s.wake()
				is("one more gets an address", 1, 100*time.Millisecond)
				key := clustertest.Service("default", "x").Key
				for i, from := range []string{"n1", "n1, n2", "n1, n2, n3"} {
					tell(func() { words[key] = "bgp from " + from + " to r" })
					if i < 2 {
						is("not all nodes announce it yet", 0, 100*time.Millisecond)
					}
				}
				is("all nodes announce it", 1, time.Minute)
				tell(func() { words[key] = "bgp from n1, n2 to r" })
				is("one node does not any more", 1, time.Minute)
				is("ten minutes more", 0, 10*time.Minute)
			})
		})
	}
}
