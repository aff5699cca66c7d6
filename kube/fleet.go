// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/fields"

	"github.com/heraldlb/herald/reconcile"
)

// A fleet reads what agents say in their ConfigurationStates.
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
	forget := func() {
		f.mu.Lock()
		f.listed, f.agents, f.sessions = false, reconcile.Fleet{}, nil
		f.mu.Unlock()
	}
	forget()
	persist(ctx, c.customResources(kindState, namespace), fields.Everything(), &sink[*customResource]{
		wake: f.wake,
		mu:   &f.mu,
		set:  f.hear,
		remove: func(o *customResource) bool {
			gone, _ := strings.CutPrefix(o.Name, statePrefix)
			return f.agents.Keep(func(node string) bool { return node != gone })
		},
		replace: func(all []*customResource) bool {
			f.listed = true
			there := map[string]bool{}
			for _, o := range all {
				there[o.Name] = true
				f.hear(o)
			}
			f.agents.Keep(func(node string) bool { return there[statePrefix+node] })
			return true
		},
		synced: func() {},
	}, func(error) { forget() })
}

// hear takes in what an agent says, and reports whether that is news.
func (f *fleet) hear(o *customResource) bool {
	node, agent := strings.CutPrefix(o.Name, statePrefix)
	if !agent {
		return false
	}
	var says stateStatus
	_ = json.Unmarshal(o.Status, &says) // what is no status says nothing
	links := f.agents.Lacking(node)
	news := f.agents.Hear(node, says.state(), time.Now())
	if f.links != nil && !slices.Equal(links, says.LackingInterfaces) {
		f.links()
	}
	return news
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
