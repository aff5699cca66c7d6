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

// An agentState is what the agent of a node says in its ConfigurationState.
type agentState struct {
	node  string
	state reconcile.State
	heard time.Time // when it began to say so
}

// agentStates are what all agents say in their ConfigurationStates.
type agentStates struct {
	client    *Client
	namespace string
	wake      func() // called after every change; must not block

	mu     sync.Mutex // guards the fields below
	listed bool       // it is known what there is
	states map[string]agentState
}

// list returns what agents say, in the order of their nodes, and whether that was
// read.
func (a *agentStates) list() ([]agentState, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []agentState
	for _, node := range slices.Sorted(maps.Keys(a.states)) {
		out = append(out, a.states[node])
	}
	return out, a.listed
}

// run reads until the context is canceled. It begins with nothing.
func (a *agentStates) run(ctx context.Context) {
	forget := func() {
		a.mu.Lock()
		a.listed, a.states = false, map[string]agentState{}
		a.mu.Unlock()
	}
	forget()
	persist(ctx, a.client.customResources(kindState, a.namespace), fields.Everything(), &sink[*customResource]{
		wake: a.wake,
		mu:   &a.mu,
		set:  a.set,
		remove: func(o *customResource) bool {
			gone, _ := strings.CutPrefix(o.Name, statePrefix)
			_, was := a.states[gone]
			delete(a.states, gone)
			return was
		},
		replace: func(all []*customResource) bool {
			a.listed = true
			there := map[string]bool{}
			for _, o := range all {
				there[o.Name] = true
				a.set(o)
			}
			maps.DeleteFunc(a.states, func(node string, _ agentState) bool { return !there[statePrefix+node] })
			return true
		},
		synced: func() {},
	}, func(error) {
		forget()
		a.wake()
	})
}

// set keeps what an agent says, and reports whether that is news.
func (a *agentStates) set(o *customResource) bool {
	node, agent := strings.CutPrefix(o.Name, statePrefix)
	if !agent {
		return false
	}
	var says stateStatus
	_ = json.Unmarshal(o.Status, &says) // what is no status says nothing
	s := says.state()
	if old, known := a.states[node]; known && old.state.Equal(s) {
		return false
	}
	a.states[node] = agentState{node, s, time.Now()}
	return true
}
