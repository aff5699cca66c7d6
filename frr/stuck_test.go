// SPDX-License-Identifier: Apache-2.0

package frr_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/status"
)

func TestStuck(t *testing.T) {
	peer := status.PeerID{Address: netip.MustParseAddr("10.0.0.1")}
	down := frr.Session{Peer: peer, State: "Idle"}
	waiting, guarded, up, shut := down, down, down, down
	waiting.BFD = &frr.BFD{Status: "down"}
	guarded.BFD = &frr.BFD{Status: "up", Up: true}
	up.State, up.Up = "Established", true
	shut.Shutdown = true
	tests := []struct {
		name     string
		sessions func(second int) []frr.Session
		want     []int // the seconds in which it is stuck
	}{
		{"down", func(int) []frr.Session { return []frr.Session{down} }, []int{5, 10, 20, 40, 80}},
		{"BFD down", func(int) []frr.Session { return []frr.Session{waiting} }, []int{5, 10, 20, 40, 80}},
		{"BFD up", func(int) []frr.Session { return []frr.Session{guarded} }, nil},
		{"up without BFD", func(int) []frr.Session { return []frr.Session{up} }, nil},
		{"shut down", func(int) []frr.Session { return []frr.Session{shut} }, nil},
		{"up in between", func(s int) []frr.Session {
			if s == 20 {
				return []frr.Session{up}
			}
			return []frr.Session{down}
		}, []int{5, 10, 26, 31, 41, 61}},
		{"gone in between", func(s int) []frr.Session {
			if s == 4 {
				return nil
			}
			return []frr.Session{down}
		}, []int{10, 15, 25, 45, 85}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var s frr.Stuck
			var got []int
			start := time.Unix(0, 0)
			for second := range 90 {
				if slices.Contains(s.Next(test.sessions(second), start.Add(time.Duration(second)*time.Second)), peer) {
					got = append(got, second)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("stuck in second (-want +got):\n%s", diff)
			}
		})
	}
}

// The time between two attempts grows to ten minutes and no further.
func TestStuckForLong(t *testing.T) {
	var s frr.Stuck
	var last, longest time.Duration
	down := []frr.Session{{Peer: status.PeerID{Interface: "eth1"}, State: "Active"}}
	for at := time.Duration(0); at < 3*time.Hour; at += time.Second {
		if len(s.Next(down, time.Unix(0, 0).Add(at))) > 0 {
			last, longest = at, max(longest, at-last)
		}
	}
	if longest != 10*time.Minute {
		t.Errorf("the longest time between two attempts is %v", longest)
	}
}
