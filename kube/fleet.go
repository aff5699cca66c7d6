// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/fields"

	"github.com/heraldlb/herald/reconcile"
)

// agentSilence is how long an agent may run an older configuration without saying
// a word. After that it counts as gone, and nobody waits for it.
const agentSilence = 30 * time.Second

// Labels of a ConfigurationState, MetalLB's.
const (
	labelComponent = customGroup + "/component-type"
	labelNodeName  = customGroup + "/node-name"
	agentComponent = "speaker"
	statePrefix    = agentComponent + "-" // of the name of an agent's
)

// A fleet is what agents say in their ConfigurationStates.
type fleet struct {
	wake func() // called after every change; must not block

	mu     sync.Mutex // guards the fields below
	listed bool       // it is known what there is
	agents map[string]*fleetAgent
}

// A fleetAgent is what one agent says.
type fleetAgent struct {
	reconcile.AgentState
	heard  time.Time // when that became known
	behind time.Time // since when it is not what the controller uses; zero: it is
}

// run reads until the context is canceled. It begins with nothing.
func (f *fleet) run(ctx context.Context, c *Client, namespace string) {
	f.mu.Lock()
	f.listed, f.agents = false, map[string]*fleetAgent{}
	f.mu.Unlock()
	persist(ctx, c.customResources(kindState, namespace), fields.Everything(), &sink[*customResource]{
		strip:  func(o *customResource) { o.Annotations, o.Spec, o.OwnerReferences = nil, nil, nil },
		wake:   f.wake,
		mu:     &f.mu,
		set:    f.set,
		remove: func(o *customResource) bool { return f.remove(o.Name) },
		replace: func(all []*customResource) bool {
			changed, keep := !f.listed, map[string]bool{}
			f.listed = true
			for _, o := range all {
				keep[o.Name] = true
				changed = f.set(o) || changed
			}
			for _, name := range slices.Collect(maps.Keys(f.agents)) {
				if !keep[name] {
					changed = f.remove(name) || changed
				}
			}
			return changed
		},
		synced: func() {},
	}, func(error) {
		f.mu.Lock()
		f.listed = false
		clear(f.agents)
		f.mu.Unlock()
	})
}

// set keeps what an agent says, and reports whether that is news.
func (f *fleet) set(o *customResource) bool {
	node, agent := strings.CutPrefix(o.Name, statePrefix)
	if !agent {
		return false
	}
	var have stateStatus
	_ = json.Unmarshal(o.Status, &have) // what is no status says nothing
	says := reconcile.AgentState{Node: cmp.Or(o.Labels[labelNodeName], node), Version: have.Configuration, Trouble: have.DataPlane}
	if have.ErrorSummary != "" {
		says.Errors = strings.Split(have.ErrorSummary, "\n")
	}
	old := f.agents[o.Name]
	if old != nil && reflect.DeepEqual(old.AgentState, says) {
		return false
	}
	next := &fleetAgent{AgentState: says, heard: time.Now()}
	if old != nil {
		next.behind = old.behind
	}
	f.agents[o.Name] = next
	return true
}

func (f *fleet) remove(name string) bool {
	_, known := f.agents[name]
	delete(f.agents, name)
	return known
}

// look returns what is known, and whether anything is. If there is somebody to wait
// for, wait is how long.
func (f *fleet) look(version string, now time.Time) (all reconcile.Fleet, wait time.Duration, known bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.listed {
		return reconcile.Fleet{}, 0, false
	}
	all.Version = version
	for _, name := range slices.Sorted(maps.Keys(f.agents)) {
		a := f.agents[name]
		switch {
		case a.Version == version:
			a.behind = time.Time{}
		case a.behind.IsZero():
			a.behind = now
		}
		says := a.AgentState
		if !a.behind.IsZero() && says.Trouble == "" {
			since := a.behind
			if a.heard.After(since) {
				since = a.heard
			}
			left := agentSilence - now.Sub(since)
			if says.Silent = left <= 0; !says.Silent && (wait == 0 || left < wait) {
				wait = left
			}
		}
		all.Agents = append(all.Agents, says)
	}
	return all, wait, true
}
