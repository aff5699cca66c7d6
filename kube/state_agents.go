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

// An agentState is what the agent of a node says in its ConfigurationState.
type agentState struct {
	node  string
	state reconcile.State
	heard time.Time // when it began to say so
}

// agentStates mirrors what all agents say in their ConfigurationStates.
type agentStates struct {
	client *Client

	mu     sync.Mutex // guards states
	states *mirror[string, agentState]
}

// newAgentStates returns agentStates that know nothing until they run.
func newAgentStates(c *Client, namespace string, wake func()) *agentStates {
	a := &agentStates{client: c}
	a.states = newMirror(kind[*customResource, string, agentState]{
		from:    func(c *Client) lister { return c.customResources(kindState, namespace) },
		row:     agentStateOf,
		key:     func(a agentState) string { return a.node },
		compare: strings.Compare,
		omit:    func(a agentState) bool { return a.node == "" }, // the controller's
		same:    func(a, b agentState) bool { return a.state.Equal(b.state) },
	}, mirrorOptions[agentState]{mu: &a.mu, wake: wake, absent: func(error) {}})
	return a
}

// agentStateOf returns what an object says; that of no agent has no node.
func agentStateOf(o *customResource) agentState {
	node, agent := strings.CutPrefix(o.Name, statePrefix)
	if !agent {
		return agentState{}
	}
	var says stateStatus
	_ = json.Unmarshal(o.Status, &says) // what is no status says nothing
	return agentState{node, says.state(), time.Now()}
}

// list returns what agents say, in the order of their nodes, and whether that was
// read.
func (a *agentStates) list() ([]agentState, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.states.list(), a.states.reading == listed
}

// run reads until the context is canceled. It begins with nothing.
func (a *agentStates) run(ctx context.Context) {
	a.mu.Lock()
	a.states.reset()
	a.mu.Unlock()
	a.states.run(ctx, a.client)
}
