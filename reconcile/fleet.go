// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/source"
)

// Reasons of the condition Programmed of a resource.
const (
	ReasonProgrammed  = "Programmed"  // the version is in force
	ReasonPending     = "Pending"     // agents are on their way to it
	ReasonDataPlane   = "DataPlane"   // FRR on some node does not take what follows from it
	ReasonNodeError   = "NodeError"   // some node cannot have it beside others
	ReasonNotAccepted = "NotAccepted" // it is refused
)

// agentSilence is how long an agent may run an older configuration without saying
// a word. After that nobody waits for it: its node may be gone.
const agentSilence = 30 * time.Second

// A Fleet is what agents say of the configuration, node by node. It is not safe
// for concurrent use.
type Fleet struct {
	agents map[string]*fleetAgent
}

type fleetAgent struct {
	State
	heard  time.Time // when it said so
	behind time.Time // since when it has said nothing of the version that the controller uses; zero: it has
}

// Hear takes in what the agent of a node says, and reports whether that is news.
func (f *Fleet) Hear(node string, s State, now time.Time) bool {
	old := f.agents[node]
	switch {
	case old == nil:
		if f.agents == nil {
			f.agents = map[string]*fleetAgent{}
		}
		f.agents[node] = &fleetAgent{State: s, heard: now}
	case old.State.Equal(s):
		return false
	default:
		old.State, old.heard = s, now
	}
	return true
}

// Lacking returns which interfaces the agent of a node says that it lacks.
func (f *Fleet) Lacking(node string) []string {
	if a := f.agents[node]; a != nil {
		return a.State.Lacking
	}
	return nil
}

// Keep forgets the agents of other nodes, and reports whether there were any.
func (f *Fleet) Keep(on func(node string) bool) bool {
	before := len(f.agents)
	maps.DeleteFunc(f.agents, func(node string, _ *fleetAgent) bool { return !on(node) })
	return len(f.agents) != before
}

// A Progressed is how far a Fleet is with the configuration that the controller uses.
type Progressed struct {
	done    []string          // nodes where it is in force
	errors  map[string]string // by resource: on which of these it is not, and why
	failed  []string          // nodes with trouble, and which
	waiting []string          // nodes that are on their way
	silent  []string          // nodes that nobody waits for
	lacking map[string]int    // by interface: how many of the nodes that are not silent lack it
}

// Nowhere reports whether all nodes say that they lack an interface.
func (p Progressed) Nowhere(iface string) bool {
	all := len(p.done) + len(p.failed) + len(p.waiting)
	return all > 0 && p.lacking[iface] == all
}

// Progress returns how far all are with a version of the configuration, and how long
// it takes until somebody counts as silent; 0: nobody is waited for.
func (f *Fleet) Progress(version string, now time.Time) (p Progressed, wait time.Duration) {
	errors := map[string][]string{}
	p.lacking = map[string]int{}
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
		if since.Before(a.heard) {
			since = a.heard
		}
		left := agentSilence - now.Sub(since)
		if failed || a.behind.IsZero() || left > 0 {
			for _, name := range a.Lacking {
				p.lacking[name]++
			}
		}
		switch {
		case failed:
			p.failed = append(p.failed, node+": "+a.Failure)
		case a.behind.IsZero():
			p.done = append(p.done, node)
			for _, e := range a.Errors {
				id, why, _ := strings.Cut(e, ": ")
				errors[id] = append(errors[id], node+": "+why)
			}
		case left <= 0:
			p.silent = append(p.silent, node)
		default:
			p.waiting = append(p.waiting, node)
			if wait = cmp.Or(wait, left); left < wait {
				wait = left
			}
		}
	}
	p.errors = map[string]string{}
	for id, all := range errors {
		p.errors[id] = clipList(all, "; ")
	}
	return p, wait
}

// A Programmed says whether a version of a resource is in force everywhere.
type Programmed struct {
	True    bool
	Reason  string
	Message string
}

// Of judges the newest version of a resource, given what was said of the same
// version before; nil: nothing was. While agents are on their way that stays, and
// what was in force stays so where a newer configuration has trouble: what it
// differs in is to blame.
func (p Progressed) Of(v config.Verdict, before *Programmed) Programmed {
	if !v.Accepted {
		return Programmed{Reason: ReasonNotAccepted, Message: v.Message}
	}
	if before != nil && before.Reason == ReasonNotAccepted {
		before = nil
	}
	wasInForce := before != nil && before.True
	why := p.errors[v.ID.String()]
	switch {
	case len(p.waiting) > 0 || len(p.done)+len(p.failed) == 0:
		if before != nil {
			return *before
		}
		return Programmed{Reason: ReasonPending, Message: "the agents have not all said yet that it is in force"}
	case why != "":
		return Programmed{Reason: ReasonNodeError, Message: why}
	case wasInForce && len(p.failed)+len(p.silent) > 0:
		return *before
	case len(p.failed) > 0:
		return Programmed{Reason: ReasonDataPlane, Message: clipList(p.failed, "; ")}
	case len(p.silent) > 0:
		return Programmed{True: true, Reason: ReasonProgrammed, Message: fmt.Sprintf(
			"in force on all nodes but those whose agents do not say so: %s", clipList(p.silent, ", "))}
	}
	return Programmed{True: true, Reason: ReasonProgrammed, Message: "in force on all nodes"}
}

// clipList joins texts, and says how many it leaves out.
func clipList(all []string, separator string) string {
	if len(all) <= shownNames {
		return strings.Join(all, separator)
	}
	return fmt.Sprintf("%s and %d more", strings.Join(all[:shownNames], separator), len(all)-shownNames)
}

// versionOf returns which resources a configuration is made of; empty if it is
// made of a text.
func versionOf(l source.Loaded) string {
	if l.Config == nil || l.Accepted.Resources == nil {
		return ""
	}
	return l.Accepted.Version
}
