// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/heraldlb/herald/reconcile"
)

// A fleet judges what agents say in their ConfigurationStates.
type fleet struct {
	wake  func() // called after every change; must not block
	links func() // optional: called when an agent says something else of interfaces; must not block

	mu     sync.Mutex // guards the fields below
	listed bool       // it is known what there is
	agents reconcile.Fleet

	sessions reconcile.NodeSessions // somebody may be reading it
}

// run reads until the context is canceled. It begins with nothing.
func (f *fleet) run(ctx context.Context, c *Client, namespace string) {
	f.mu.Lock()
	f.listed, f.agents, f.sessions = false, reconcile.Fleet{}, nil
	f.mu.Unlock()
	states := &agentStates{client: c, namespace: namespace}
	states.wake = func() {
		if links := f.hear(states.list()); links && f.links != nil {
			f.links()
		}
		f.wake()
	}
	states.run(ctx)
}

// hear takes in what agents say, and reports whether one says something else of
// interfaces.
func (f *fleet) hear(all []agentState, listed bool) (links bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.listed = listed
	there := map[string]bool{}
	for _, a := range all {
		there[a.node] = true
		links = links || !slices.Equal(f.agents.Lacking(a.node), a.state.Lacking)
		f.agents.Hear(a.node, a.state, a.heard)
	}
	f.agents.Keep(func(node string) bool { return there[node] })
	return links
}

// nowhere reports whether all agents that run a version of the configuration, or
// are on their way to it, say that they lack an interface.
func (f *fleet) nowhere(version, iface string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	p, _ := f.agents.Progress(version, time.Now())
	return p.Nowhere(iface)
}

// progress returns how far agents are with a version of the configuration, how long
// to wait for who has not said, and whether anything is known.
func (f *fleet) progress(version string) (p reconcile.Progressed, wait time.Duration, known bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p, wait = f.agents.Progress(version, time.Now())
	return p, wait, f.listed
}

// newSessions takes note of what agents say of their sessions, and reports whether
// that has changed.
func (f *fleet) newSessions() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	var now reconcile.NodeSessions
	if f.listed {
		now = f.agents.Sessions()
	}
	same := func(a, b []reconcile.SessionState) bool { return slices.EqualFunc(a, b, reconcile.SessionState.Equal) }
	if (now == nil) == (f.sessions == nil) && maps.EqualFunc(now, f.sessions, same) {
		return false
	}
	f.sessions = now
	return true
}

// getSessions returns what agents say of their sessions; nil if it is not known.
func (f *fleet) getSessions() reconcile.NodeSessions {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sessions
}
