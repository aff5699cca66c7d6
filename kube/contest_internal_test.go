// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"log/slog"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heraldlb/herald/cluster"
)

// TestContestsCount follows what counts as an undone write, and how long Herald
// holds back then.
func TestContestsCount(t *testing.T) {
	s := subject{kind: "IPAddressPool", name: "p"}
	tests := []struct {
		name string
		play func(t *testing.T, c *Contests, held func(version, says string, want time.Duration))
	}{
		{"longer and longer, up to 5 minutes", func(_ *testing.T, c *Contests, held func(string, string, time.Duration)) {
			version := 0
			for _, want := range []time.Duration{0, 0, 0, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300} {
				version += 2
				c.wrote(s, strconv.Itoa(version), "ours")
				held(strconv.Itoa(version+1), "theirs", want*time.Second)
				held(strconv.Itoa(version+1), "theirs", want*time.Second)
				time.Sleep(want * time.Second)
				held(strconv.Itoa(version+1), "theirs", 0)
			}
		}},
		{"an API server that drops a field undoes nothing", func(_ *testing.T, c *Contests, held func(string, string, time.Duration)) {
			for version := range 20 {
				c.wrote(s, strconv.Itoa(version+1), "what it left of ours")
				held(strconv.Itoa(version+2), "what it left of ours", 0)
			}
		}},
		{"nor does what is read late", func(_ *testing.T, c *Contests, held func(string, string, time.Duration)) {
			for version := range 20 {
				c.wrote(s, strconv.Itoa(100+version), "ours")
				held(strconv.Itoa(99+version), "before", 0)
			}
		}},
		{"nor who changes it now and then", func(_ *testing.T, c *Contests, held func(string, string, time.Duration)) {
			for version := range 20 {
				c.wrote(s, strconv.Itoa(2*version+1), "ours")
				time.Sleep(contestQuiet)
				held(strconv.Itoa(2*version+2), "theirs", 0)
			}
		}},
		{"who deletes it does", func(_ *testing.T, c *Contests, held func(string, string, time.Duration)) {
			for range 3 {
				c.wrote(s, "7", "ours")
				held("", "", 0)
			}
			c.wrote(s, "7", "ours")
			held("", "", 2*time.Second)
		}},
		{"what Herald deleted is no contest", func(_ *testing.T, c *Contests, held func(string, string, time.Duration)) {
			for range 20 {
				c.wrote(s, "7", "ours")
				c.forget(s)
				held("", "", 0)
			}
		}},
		{"an object that is created again is another one", func(t *testing.T, c *Contests, _ func(string, string, time.Duration)) {
			for i := range 20 {
				svc := &cluster.Service{Key: cluster.Key{Namespace: "a", Name: "b"}, UID: strconv.Itoa(i)}
				if hold := c.hold(subjectOf(svc), strconv.Itoa(2*i+2), ""); hold != 0 {
					t.Errorf("creation %d is held back for %s", i, hold)
				}
				c.wrote(subjectOf(svc), strconv.Itoa(2*i+3), "ours")
			}
		}},
		{"silence ends it", func(t *testing.T, c *Contests, held func(string, string, time.Duration)) {
			for version := range 5 {
				c.wrote(s, strconv.Itoa(2*version+1), "ours")
				held(strconv.Itoa(2*version+2), "theirs", map[int]time.Duration{3: 2 * time.Second, 4: 4 * time.Second}[version])
				time.Sleep(time.Minute)
			}
			if n := len(c.List()); n != 1 {
				t.Errorf("%d contests, want 1", n)
			}
			c.wrote(s, "20", "ours")
			time.Sleep(2 * time.Minute)
			if n := len(c.List()); n != 0 {
				t.Errorf("%d contests, want none", n)
			}
			held("21", "theirs", 0)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := NewContests(ContestsOptions{Logger: slog.New(slog.DiscardHandler)})
				tt.play(t, c, func(version, says string, want time.Duration) {
					t.Helper()
					if got := c.hold(s, version, says); got != want {
						t.Errorf("version %s that says %q is held back for %s, want %s", version, says, got, want)
					}
				})
			})
		})
	}
}
