// SPDX-License-Identifier: Apache-2.0

package members_test

import (
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/l2/members"
)

// An agent knows of each other one where it gossips, which version it is, when it began, and
// since when it is alive: also after that was cut off, and after it was replaced by another
// version. One of an earlier release does not say.
func TestPeers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3)
		version := func(v string) func(*members.Options) { return func(o *members.Options) { o.Version = v } }
		began := time.Now()
		a := []*agent{c.start(0, version("v1")), c.start(1, version(strings.Repeat("v", 100))), c.start(2)}
		names := []string{"n01", "n02", "n03"}
		for _, one := range a {
			one.await("all", alive(names...))
		}
		time.Sleep(time.Second)
		together := time.Now()
		check := func(of int, want string, since, started time.Time) {
			t.Helper()
			for i, one := range a[:2] {
				if i == of {
					continue
				}
				peers := one.Peers()
				at := of
				if of > i {
					at-- // without itself
				}
				if at >= len(peers) {
					t.Fatalf("%s knows %+v", names[i], peers)
				}
				p := peers[at]
				if p.Name != names[of] || p.Addr != c.peers[of] || p.Version != want || p.Since.Before(since) || p.Since.After(time.Now()) || p.Started.Before(started) || p.Started.After(p.Since.Add(time.Second)) {
					t.Errorf("%s knows of %s: %+v; want version %q, since %v, started %v", names[i], names[of], p, want, since, started)
				}
			}
		}
		check(0, "v1", began, began)
		check(1, strings.Repeat("v", 64), began, began)
		check(2, "", began, began)

		c.wires.Part(1, c.addr(2))
		for _, one := range a[:2] {
			one.await("without the third", alive("n01", "n02"))
			if n := len(one.Peers()); n != 1 {
				t.Errorf("%d peers without the third", n)
			}
		}
		c.wires.Part(0, c.addr(2))
		for _, one := range a[:2] {
			one.await("all again", alive(names...))
		}
		check(2, "", together, began)

		if err := a[2].stop(); err != nil {
			t.Fatal(err)
		}
		for _, one := range a[:2] {
			one.await("the third left", alive("n01", "n02"))
		}
		restarted := time.Now()
		a[2] = c.start(2, version("v2"))
		for _, one := range a[:2] {
			one.await("a new third", alive(names...))
		}
		time.Sleep(2 * time.Second)
		check(2, "v2", restarted, restarted)
	})
}
