// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/frr/contract"
	"github.com/heraldlb/herald/frr/vty"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/render"
	"github.com/heraldlb/herald/status"
)

// A runner is FRR, as the agent uses it.
type runner struct{ *frr.Applier }

// Set declares the configuration to run.
func (r runner) Set(conf render.Text) { r.Applier.Set(frr.Text(conf)) }

// Applied reports whether FRR runs the configuration that was set last.
func (r runner) Applied() bool { return r.State().Applied }

// A holder holds FRR's sessions open through the folder shared with its container.
type holder struct{ dir string }

// Hold has the container wait with closing sessions.
func (h holder) Hold() error { return contract.BeatLast(h.dir) }

// Release lets it close them.
func (h holder) Release() error { return contract.EndLast(h.dir) }

// running returns whether FRR runs its configuration, and why not.
func running(s frr.State) reconcile.Running {
	r := reconcile.Running{Applied: s.Applied}
	var absent []string
	for _, name := range slices.Sorted(maps.Keys(s.Up)) {
		if !s.Up[name] {
			absent = append(absent, name)
		}
	}
	switch {
	case s.Err == nil:
	case len(absent) > 0 && !errors.Is(s.Err, vty.ErrRejected):
		r.Trouble = "FRR does not answer: " + strings.Join(absent, ", ")
	default:
		r.Trouble = "frr.conf not applied: " + strings.ReplaceAll(s.Err.Error(), "\n", "; ")
	}
	return r
}

// inForce returns the same as the report shows it.
func inForce(s frr.State) *status.FRR {
	f := &status.FRR{Generation: s.Generation, Applied: s.Applied, AppliedAt: s.AppliedAt, Daemons: s.Up}
	if s.Err != nil {
		f.Error = s.Err.Error()
	}
	if s.Unsaved != nil {
		f.Unsaved = s.Unsaved.Error()
	}
	return f
}
