// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/source"
)

// Reasons of the condition Programmed of a resource.
const (
	ReasonProgrammed  = "Programmed"  // the version is in force
	ReasonPending     = "Pending"     // agents are applying it
	ReasonDataPlane   = "DataPlane"   // FRR on some node does not take what follows from it
	ReasonNodeError   = "NodeError"   // it conflicts with others on some node
	ReasonNotAccepted = "NotAccepted" // it is refused
)

// agentSilence is how long an agent may run an older configuration and report nothing
// new. After that the rollout does not wait for it: its node may be gone.
const agentSilence = 30 * time.Second

// An AgentState is what the agent of a node reports in its ConfigurationState.
type AgentState struct {
	Node string
	State
	Since time.Time // when it began to report this
}

// AgentStates are what agents report.
type AgentStates interface {
	// States returns what each agent reports, in the order of the nodes, and whether
	// that was read. It returns the same slice until something changes. It must not
	// block.
	States() (states []AgentState, read bool)
	// Run reads until the context is canceled.
	Run(ctx context.Context) error
}

// A Fleet has what agents report, and what a controller remembers of that from pass
// to pass. It is not safe for concurrent use.
type Fleet struct {
	agents map[string]*fleetAgent
	last   []AgentState // what Set was given

	// Made of it on demand; zero: not made yet.
	rollout  *Rollout
	version  string    // of rollout
	due      time.Time // when time alone changes rollout; zero: never
	sessions cluster.NodeSessions
	byPeer   map[string]cluster.PeerSessions
}

type fleetAgent struct {
	State
	since  time.Time // when it began to report this
	behind time.Time // since when it has not reported the version that the controller uses; zero: it has
}

// Set replaces what agents report.
func (f *Fleet) Set(states []AgentState) {
	if len(states) == len(f.last) && (len(states) == 0 || &states[0] == &f.last[0]) {
		return
	}
	f.last = states
	there := make(map[string]bool, len(states))
	for _, s := range states {
		there[s.Node] = true
		f.Hear(s.Node, s.State, s.Since)
	}
	f.Keep(func(node string) bool { return there[node] })
}

// Hear takes in what the agent of a node reports since a time, and returns whether it is
// new.
func (f *Fleet) Hear(node string, s State, since time.Time) bool {
	old := f.agents[node]
	if old == nil {
		if f.agents == nil {
			f.agents = map[string]*fleetAgent{}
		}
		old = &fleetAgent{}
		f.agents[node] = old
	} else if old.State.Equal(s) {
		return false
	}
	if !sameSessions(old.Sessions, s.Sessions) {
		f.sessions = nil
	}
	f.rollout, old.State, old.since = nil, s, since
	return true
}

// Keep forgets the agents on other nodes, and returns whether there were any.
func (f *Fleet) Keep(on func(node string) bool) bool {
	before := len(f.agents)
	maps.DeleteFunc(f.agents, func(node string, _ *fleetAgent) bool { return !on(node) })
	if len(f.agents) == before {
		return false
	}
	f.rollout, f.sessions = nil, nil
	return true
}

// A Rollout is how far agents are with a version of the configuration.
type Rollout struct {
	done    []string          // nodes where it is in force
	errors  map[string]string // by resource: on which of these it is not, and why
	failed  []string          // nodes with trouble, and which
	waiting []string          // nodes that are on their way
	silent  []string          // nodes that the rollout does not wait for
	lacking map[string]int    // by interface: how many of the nodes that are not silent lack it
}

// Nowhere reports whether all nodes report that they lack an interface.
func (r Rollout) Nowhere(iface string) bool {
	all := len(r.done) + len(r.failed) + len(r.waiting)
	return all > 0 && r.lacking[iface] == all
}

// Rollout returns how far all agents are with a version of the configuration, and when
// that changes without a new report; zero: never.
func (f *Fleet) Rollout(version string, now time.Time) (Rollout, time.Time) {
	if f.rollout == nil || f.version != version || !f.due.IsZero() && !now.Before(f.due) {
		r, wait := f.newRollout(version, now)
		f.rollout, f.version, f.due = &r, version, time.Time{}
		if wait > 0 {
			f.due = now.Add(wait)
		}
	}
	return *f.rollout, f.due
}

// newRollout returns the same, and the time until an agent counts as silent; 0: there is
// no agent to wait for.
func (f *Fleet) newRollout(version string, now time.Time) (r Rollout, wait time.Duration) {
	errors := map[string][]string{}
	r.lacking = map[string]int{}
	for _, node := range slices.Sorted(maps.Keys(f.agents)) {
		a := f.agents[node]
		failed := a.Version != version && a.Failure != "" && a.Failed == version
		switch {
		case a.Version == version || failed:
			a.behind = time.Time{}
		case a.behind.IsZero():
			a.behind = now
		}
		since := a.behind
		if since.Before(a.since) {
			since = a.since
		}
		left := agentSilence - now.Sub(since)
		if failed || a.behind.IsZero() || left > 0 {
			for _, name := range a.Lacking {
				r.lacking[name]++
			}
		}
		switch {
		case failed:
			r.failed = append(r.failed, node+": "+a.Failure)
		case a.behind.IsZero():
			r.done = append(r.done, node)
			for _, e := range a.Errors {
				id, why, _ := strings.Cut(e, ": ")
				errors[id] = append(errors[id], node+": "+why)
			}
		case left <= 0:
			r.silent = append(r.silent, node)
		default:
			r.waiting = append(r.waiting, node)
			if wait = cmp.Or(wait, left); left < wait {
				wait = left
			}
		}
	}
	r.errors = map[string]string{}
	for id, all := range errors {
		r.errors[id] = cluster.List(all, "; ")
	}
	return r, wait
}

// A Programmed is the judgement whether a version of a resource is in force everywhere.
type Programmed struct {
	True    bool
	Reason  string
	Message string
}

// Programmed judges the newest version of a resource, given the judgement of the same
// version before; nil: there was none. It keeps the previous judgement while agents
// are still applying. It keeps True when a newer configuration fails elsewhere.
func (r Rollout) Programmed(v config.Verdict, before *Programmed) Programmed {
	if !v.Accepted {
		return Programmed{Reason: ReasonNotAccepted, Message: v.Message}
	}
	if before != nil && before.Reason == ReasonNotAccepted {
		before = nil
	}
	wasInForce := before != nil && before.True
	why := r.errors[v.ID.String()]
	switch {
	case len(r.waiting) > 0 || len(r.done)+len(r.failed) == 0:
		if before != nil {
			return *before
		}
		return Programmed{Reason: ReasonPending, Message: "the agents have not all said yet that it is in force"}
	case why != "":
		return Programmed{Reason: ReasonNodeError, Message: why}
	case wasInForce && len(r.failed)+len(r.silent) > 0:
		return *before
	case len(r.failed) > 0:
		return Programmed{Reason: ReasonDataPlane, Message: cluster.List(r.failed, "; ")}
	case len(r.silent) > 0:
		return Programmed{True: true, Reason: ReasonProgrammed, Message: fmt.Sprintf(
			"in force on all nodes but those whose agents do not say so: %s", cluster.List(r.silent, ", "))}
	}
	return Programmed{True: true, Reason: ReasonProgrammed, Message: "in force on all nodes"}
}

// versionOf returns which resources a configuration is made of; empty if it is
// made of a text.
func versionOf(l source.Loaded) string {
	if l.Config == nil || l.Accepted.Resources == nil {
		return ""
	}
	return l.Accepted.Version
}

// Sessions returns the sessions of all nodes.
func (f *Fleet) Sessions() cluster.NodeSessions {
	if f.sessions == nil {
		f.sessions = make(cluster.NodeSessions, len(f.agents))
		for node, a := range f.agents {
			if a.Sessions != nil {
				f.sessions[node] = a.Sessions
			}
		}
		f.byPeer = f.sessions.ByPeer()
	}
	return f.sessions
}

// SessionsByPeer returns the same by peer; nil if no agent reports sessions.
func (f *Fleet) SessionsByPeer() map[string]cluster.PeerSessions {
	f.Sessions()
	return f.byPeer
}
