// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"time"

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

	mu     sync.Mutex // guards states
	states *mirror[string, reconcile.AgentState]
}

var _ reconcile.AgentStates = (*AgentStates)(nil)

// NewAgentStates returns AgentStates that know nothing until they run.
func NewAgentStates(opts AgentStatesOptions) *AgentStates {
	a := &AgentStates{opts: opts}
	a.states = newMirror(kind[*customResource, string, reconcile.AgentState]{
		from:    func(c *Client) lister { return c.customResources(kindState, opts.Namespace) },
		row:     agentStateOf,
		key:     func(s reconcile.AgentState) string { return s.Node },
		compare: strings.Compare,
		omit:    func(s reconcile.AgentState) bool { return s.Node == "" }, // the controller's
		same:    func(x, y reconcile.AgentState) bool { return x.State.Equal(y.State) },
	}, mirrorOptions[reconcile.AgentState]{mu: &a.mu, wake: opts.Wake, absent: func(error) {}})
	return a
}

// agentStateOf returns the row of an object. It has no node if the object is not an
// agent's.
func agentStateOf(o *customResource) reconcile.AgentState {
	node, agent := strings.CutPrefix(o.Name, statePrefix)
	if !agent {
		return reconcile.AgentState{}
	}
	var says stateStatus
	_ = json.Unmarshal(o.Status, &says) // an invalid status is empty
	return reconcile.AgentState{Node: node, State: says.state(), Since: time.Now()}
}

// States returns what each agent reports, in the order of the nodes, and whether
// that was read. It returns the same slice until something changes.
func (a *AgentStates) States() ([]reconcile.AgentState, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.states.list(), a.states.reading == listed
}

// Run reads until the context is canceled, and then forgets everything. It may be
// called again, but not twice at a time.
func (a *AgentStates) Run(ctx context.Context) error {
	a.states.run(ctx, a.opts.Client)
	a.mu.Lock()
	a.states.reset()
	a.mu.Unlock()
	return nil
}
