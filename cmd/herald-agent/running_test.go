// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"testing"

	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/frr/vty"
	"github.com/heraldlb/herald/reconcile"
)

// TestRunning says of FRR what others are told: briefly where a daemon is absent,
// and which line it is where one is refused.
func TestRunning(t *testing.T) {
	absent := fmt.Errorf("bgpd: connect: no such file: %w", vty.ErrUnavailable)
	refused := &vty.CommandError{Daemon: "bgpd", Line: 14, Command: "neighbor x", Output: "% Unknown command"}
	tests := []struct {
		name  string
		state frr.State
		want  reconcile.Running
	}{
		{"in force", frr.State{Applied: true, Up: map[string]bool{"bgpd": true}}, reconcile.Running{Applied: true}},
		{"on its way", frr.State{Up: map[string]bool{"bgpd": true}}, reconcile.Running{}},
		{"absent", frr.State{Err: absent, Up: map[string]bool{"zebra": false, "bgpd": false, "bfdd": true}},
			reconcile.Running{Trouble: "FRR does not answer: bgpd, zebra"}},
		{"refused", frr.State{Err: errors.Join(refused, absent), Up: map[string]bool{"bgpd": true, "bfdd": false}},
			reconcile.Running{Trouble: "frr.conf not applied: bgpd: line 14: neighbor x: % Unknown command; bgpd: connect: no such file: " + vty.ErrUnavailable.Error()}},
		{"no file", frr.State{Applied: true, Unsaved: errors.New("write frr.conf: no space left on device"), Up: map[string]bool{"bgpd": true}},
			reconcile.Running{Applied: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := running(tt.state); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}
