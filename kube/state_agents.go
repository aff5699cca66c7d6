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

// AgentStatesOptions say where AgentStates are read.
type AgentStatesOptions struct {
	Client    *Client // required
	Namespace string  // required
	Wake      func()  // required: called after every change; must not block
}

// AgentStates hold what all agents report in their ConfigurationStates.
type AgentStates struct {
	opts AgentStatesOptions

	mu     sync.Mutex // guards the fields below
	listed bool       // it is known what there is
	states map[string]reconcile.AgentState
	sorted []reconcile.AgentState // nil: to be made; somebody may be reading it
}

var _ reconcile.AgentStates = (*AgentStates)(nil)

// NewAgentStates returns AgentStates that know nothing until they run.
func NewAgentStates(opts AgentStatesOptions) *AgentStates { return &AgentStates{opts: opts} }

// States returns what each agent reports, in the order of the nodes, and whether
// that was read. It returns the same slice until something changes.
func (a *AgentStates) States() ([]reconcile.AgentState, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.sorted == nil {
		for _, node := range slices.Sorted(maps.Keys(a.states)) {
			a.sorted = append(a.sorted, a.states[node])
		}
	}
	return a.sorted, a.listed
}

// Run reads until the context is canceled, and then forgets everything. It may be
// called again, but not twice at a time.
func (a *AgentStates) Run(ctx context.Context) error {
	forget := func() {
		a.mu.Lock()
		a.listed, a.states, a.sorted = false, map[string]reconcile.AgentState{}, nil
		a.mu.Unlock()
	}
	forget()
	defer forget()
	persist(ctx, a.opts.Client.customResources(kindState, a.opts.Namespace), fields.Everything(), &sink[*customResource]{
		wake: a.opts.Wake,
		mu:   &a.mu,
		set:  a.set,
		remove: func(o *customResource) bool {
			gone, _ := strings.CutPrefix(o.Name, statePrefix)
			_, was := a.states[gone]
			delete(a.states, gone)
			a.sorted = nil
			return was
		},
		replace: func(all []*customResource) bool {
			a.listed = true
			there := map[string]bool{}
			for _, o := range all {
				there[o.Name] = true
				a.set(o)
			}
			maps.DeleteFunc(a.states, func(node string, _ reconcile.AgentState) bool { return !there[statePrefix+node] })
			a.sorted = nil
			return true
		},
		synced: func() {},
	}, func(error) {
		forget()
		a.opts.Wake()
	})
	return nil
}

// set keeps what an agent says, and reports whether that is news.
func (a *AgentStates) set(o *customResource) bool {
	node, agent := strings.CutPrefix(o.Name, statePrefix)
	if !agent {
		return false
	}
	var says stateStatus
	_ = json.Unmarshal(o.Status, &says) // what is no status says nothing
	s := says.state()
	if old, known := a.states[node]; known && old.State.Equal(s) {
		return false
	}
	a.states[node], a.sorted = reconcile.AgentState{Node: node, State: s, Since: time.Now()}, nil
	return true
}
