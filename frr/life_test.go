// SPDX-License-Identifier: Apache-2.0

package frr_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/heraldlb/herald/frr"
)

// A daemon is as old as its socket, and another socket is another process.
func TestProcesses(t *testing.T) {
	f := startFRR(t)
	a := frr.New(frr.Options{RunDir: f.dir, ConfPath: ""})
	if all := a.Processes(); len(all) > 0 {
		t.Errorf("before any was asked: %v", all)
	}
	socket := filepath.Join(f.dir, "bgpd.vty")
	born := func(at time.Time) {
		t.Helper()
		if err := os.Chtimes(socket, at, at); err != nil {
			t.Fatal(err)
		}
	}
	first := time.Now().Add(-time.Hour).Truncate(time.Second)
	born(first)
	apply := func(conf string) frr.Process {
		t.Helper()
		if err := a.Apply(t.Context(), frr.PlainText([]byte(conf))); err != nil {
			t.Fatal(err)
		}
		return a.Processes()["bgpd"]
	}
	if got, want := apply("router bgp 64512\n"), (frr.Process{Started: first}); !got.Started.Equal(want.Started) || got.Restarts != 0 {
		t.Errorf("the first: %+v, want %+v", got, want)
	}
	if got := apply("router bgp 64512\n no bgp ebgp-requires-policy\n"); got.Restarts != 0 {
		t.Errorf("a change counts as a restart: %+v", got)
	}
	f.bgpd.Stop()
	f.bgpd.Clear()
	f.bgpd.Start(t, f.dir)
	second := first.Add(time.Minute)
	born(second)
	if got := apply("router bgp 64512\n"); !got.Started.Equal(second) || got.Restarts != 1 {
		t.Errorf("after a restart: %+v, want one since %v", got, second)
	}
}
