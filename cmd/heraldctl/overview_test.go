// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/topology"
)

// The last line of the overview lists what has changed lately, and nothing if that is nothing.
func TestRecentChanges(t *testing.T) {
	at := time.Date(2026, 1, 2, 14, 10, 0, 0, time.Local)
	screen := func(wide bool, ago ...time.Duration) string {
		top := topology.Topology{At: at, Namespace: "metallb-system"}
		for i, d := range ago {
			top.Changes = append(top.Changes, topology.Change{Node: fmt.Sprintf("n%d", i+1), Change: status.Change{
				At: at.Add(-d), Kind: status.ChangeSession, Subject: "tor", Before: "Established", After: "Idle", Cause: "Hold Timer\nExpired",
			}})
		}
		var b strings.Builder
		if err := printStatus(&b, top, wide); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
		return lines[len(lines)-1]
	}
	if got, want := screen(false, 7*time.Minute+49*time.Second, time.Hour), `CHANGES (15 m)  14:02:11 n1 tor Established -> Idle: Hold Timer\nExpired`; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if got := screen(false, time.Hour); strings.Contains(got, "CHANGES") {
		t.Errorf("an old change: %s", got)
	}
	var many []time.Duration
	for range 30 {
		many = append(many, time.Minute)
	}
	if got := screen(false, many...); !strings.HasSuffix(got, "more") || strings.Contains(got, "n30 ") {
		t.Errorf("of 30 changes: %s", got)
	}
	if got := screen(true, many...); strings.Count(got, " · ") != 29 {
		t.Errorf("of 30 changes with -o wide: %s", got)
	}
}
