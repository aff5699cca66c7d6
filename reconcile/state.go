// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"context"
	"fmt"
	"slices"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/source"
)

// A State is the configuration as one component has it, for MetalLB's ConfigurationState.
type State struct {
	Known   bool          // there is a configuration
	Source  source.Source // where it is from; empty: from a file, or there is none
	Notice  string        // the other source exists too, and does not count; empty: it does not, or other components report it
	Errors  []string      // what is not in force in this component; empty: everything is
	Version string        // of the resources that are in force; empty: none are
	Failed  string        // the version that is not, for Failure
	Failure string        // why FRR does not run it; empty: nothing is known to be wrong
	InForce string        // of a ConfigMap whose pools are protected: these, as they are in force
	Lacking []string      // interfaces that L2Advertisements name and layer 2 cannot use on the node, sorted

	Sessions []cluster.SessionState // an agent's, in the order of the peers' names; nil: it does not report them
}

// Equal reports whether both are the same.
func (s State) Equal(o State) bool {
	return s.Known == o.Known && s.Source == o.Source && s.Notice == o.Notice && s.InForce == o.InForce && slices.Equal(s.Errors, o.Errors) &&
		s.Version == o.Version && s.Failed == o.Failed && s.Failure == o.Failure &&
		slices.Equal(s.Lacking, o.Lacking) &&
		sameSessions(s.Sessions, o.Sessions)
}

// sameSessions reports whether two reports of sessions are the same.
func sameSessions(a, b []cluster.SessionState) bool {
	return (a == nil) == (b == nil) && slices.EqualFunc(a, b, cluster.SessionState.Equal)
}

// A StateWriter publishes a State.
type StateWriter interface {
	// Set replaces it. It must not block.
	Set(s State)
	// Run writes until the context is canceled, and nothing after that.
	Run(ctx context.Context) error
}

// controllerState returns the State for what assigning addresses depends on: pools and
// communities, as with MetalLB's controller.
func controllerState(l source.Loaded) State {
	s := stateOf(l, func(v config.Verdict) bool { return v.Kind == config.KindPool || v.Kind == config.KindCommunity })
	s.Notice, s.InForce = l.Document.Notice, string(l.Pools)
	if l.Withheld && l.Document.Resources == nil {
		s.Failed, s.Failure = l.Document.Version, l.Err.Error()
	}
	return s
}

// agentState returns the State for one node: without the peers of other nodes.
func agentState(l source.Loaded, node *cluster.Node) State {
	return stateOf(l, func(v config.Verdict) bool {
		return v.Kind != config.KindPeer || node == nil || config.AnyMatches(v.Nodes, node.Labels)
	})
}

func stateOf(l source.Loaded, concerns func(config.Verdict) bool) State {
	s := State{Known: l.Config != nil, Source: l.Source(), Version: versionOf(l)}
	if l.Document.Resources == nil {
		if l.Err != nil {
			s.Errors = []string{l.Err.Error()}
		}
		return s
	}
	for _, v := range l.Verdicts {
		if !v.Accepted && v.Reason != config.VerdictDeleted && concerns(v) {
			s.Errors = append(s.Errors, fmt.Sprintf("%s: %s", v.ID, v.Message))
		}
	}
	return s
}
