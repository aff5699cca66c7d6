// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"context"
	"fmt"
	"slices"

	"github.com/heraldlb/herald/config"
)

// A State is what a component makes of the configuration, as MetalLB's
// ConfigurationState has it.
type State struct {
	Known   bool     // there is a configuration
	Errors  []string // what is not in force, for this component; empty: all is
	Version string   // of the resources that are in force; empty: none are
	Failed  string   // the version that is not, for Failure
	Failure string   // why FRR does not run what follows from it; empty: nothing is known to be wrong
	Lacking []string // interfaces that L2Advertisements name and layer 2 cannot use on the node, sorted
}

// Equal reports whether both say the same.
func (s State) Equal(o State) bool {
	return s.Known == o.Known && slices.Equal(s.Errors, o.Errors) &&
		s.Version == o.Version && s.Failed == o.Failed && s.Failure == o.Failure &&
		slices.Equal(s.Lacking, o.Lacking)
}

// A StateWriter makes a State known.
type StateWriter interface {
	// Set replaces it. It must not block.
	Set(s State)
	// Run writes until the context is canceled, and nothing after that.
	Run(ctx context.Context) error
}

// controllerState is about what assigning addresses depends on, as MetalLB's
// controller tells of pools and communities.
func controllerState(l Loaded) State {
	return stateOf(l, func(v config.Verdict) bool { return v.Kind == config.KindPool || v.Kind == config.KindCommunity })
}

// agentState is about all that one node is concerned with: not about peers for
// others.
func agentState(l Loaded, node *Node) State {
	return stateOf(l, func(v config.Verdict) bool {
		return v.Kind != config.KindPeer || node == nil || config.AnyMatches(v.Nodes, node.Labels)
	})
}

func stateOf(l Loaded, concerns func(config.Verdict) bool) State {
	s := State{Known: l.Config != nil, Version: versionOf(l)}
	if l.Document.Resources == nil {
		if l.Err != nil {
			s.Errors = []string{l.Err.Error()}
		}
		return s
	}
	for _, v := range l.Verdicts {
		if !v.Accepted && concerns(v) {
			s.Errors = append(s.Errors, fmt.Sprintf("%s: %s", v.ID, v.Message))
		}
	}
	return s
}
