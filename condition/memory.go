// SPDX-License-Identifier: Apache-2.0

package condition

import (
	"maps"
	"slices"
	"time"

	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/table"
	"github.com/heraldlb/herald/wake"
)

// A Memory decides the same as a Judge, pass after pass, and again only about the Services
// whose input has changed or whose time has come. Objects of the cluster are immutable: the
// same pointer means the same. It is not safe for concurrent use.
type Memory struct {
	IgnoreExclude bool // see Judge

	judge Judge

	services    table.Table[cluster.Key, *cluster.Service]
	plan        table.Table[cluster.Key, *assign.Update] // without the condition
	environment environment
	observed    Observed

	common  map[cluster.Key]bool // Services whose condition follows from what all nodes have in common
	updates table.Editor[cluster.Key, *assign.Update]
}

// An environment is what all decisions depend on. It compares with ==.
type environment struct {
	config *config.Config
	class  string
}

// Complete adds the condition to a Plan, see Judge.Complete.
func (m *Memory) Complete(plan assign.PlanTables, s cluster.Tables, o Observed, class string, now time.Time) assign.PlanTables {
	if s.Config == nil {
		return plan
	}
	m.judge.IgnoreExclude = m.IgnoreExclude
	m.judge.begin(s.Config, o, now)
	dirty, all := m.begin(plan, s, o, class)
	for key, w := range m.judge.stale {
		if !w.due.IsZero() && !now.Before(w.due) {
			dirty[key] = true
		}
	}
	for key := range m.judge.limit.owed {
		dirty[key] = true
	}
	decide := func(svc *cluster.Service) {
		r := m.rule(svc, now)
		if r.event != nil {
			plan.Events = append(plan.Events, assign.ServiceEvent{Service: svc, Event: *r.event})
		}
		plan.Next = wake.Earlier(plan.Next, r.due)
	}
	if all {
		for _, svc := range s.Services.All() {
			decide(svc)
		}
	}
	for _, key := range slices.SortedFunc(maps.Keys(dirty), cluster.Key.Compare) {
		svc, ok := s.Services.Get(key)
		switch {
		case !ok:
			m.updates.Delete(key)
			delete(m.judge.stale, key)
			delete(m.common, key)
		case !all:
			decide(svc)
		}
	}
	for _, w := range m.judge.stale {
		plan.Next = wake.Earlier(plan.Next, w.due)
	}
	plan.Updates = m.updates.Table()
	return plan
}

// begin takes in the input. It returns the Services to decide about, or that these are all
// that there are.
func (m *Memory) begin(plan assign.PlanTables, s cluster.Tables, o Observed, class string) (dirty map[cluster.Key]bool, all bool) {
	if m.common == nil {
		m.common, m.judge.stale = map[cluster.Key]bool{}, map[cluster.Key]stale{}
	}
	dirty = map[cluster.Key]bool{}
	for c := range table.Diff(m.services, s.Services, table.Same) {
		dirty[c.Key] = true
	}
	for c := range table.Diff(m.plan, plan.Updates, table.Same) {
		dirty[c.Key] = true
	}
	for c := range table.Diff(m.observed.Announcers, o.Announcers, table.Same) {
		dirty[c.Key] = true
	}
	for c := range table.Diff(m.observed.endpoints(), o.endpoints(), slices.Equal) {
		if m.common[c.Key] { // of a Service that nodes announce, they do not matter
			dirty[c.Key] = true
		}
	}
	now := environment{s.Config, class}
	all = now != m.environment
	again := all
	if !all && len(m.common) > 0 && !m.sameForAll(o) {
		maps.Copy(dirty, m.common)
		again = true
	}
	if again || len(m.common) == 0 {
		clear(m.judge.nowhere) // these decisions fill it again
	}
	m.environment, m.services, m.plan, m.observed = now, s.Services, plan.Updates, o
	return dirty, all
}

// endpoints returns the endpoints that are known.
func (o Observed) endpoints() (none table.Table[cluster.Key, []cluster.Endpoint]) {
	if o.Reach == nil {
		return none
	}
	return o.Reach.Endpoints
}

// sameForAll reports whether what all nodes have in common is as it was.
func (m *Memory) sameForAll(o Observed) bool {
	was := m.observed
	if was.Reported != o.Reported || (was.Reach == nil) != (o.Reach == nil) || (was.Sessions == nil) != (o.Sessions == nil) {
		return false
	}
	if o.Reach != nil && !slices.Equal(was.Reach.Nodes, o.Reach.Nodes) {
		return false
	}
	for iface, was := range m.judge.nowhere {
		if is := o.Nowhere != nil && o.Nowhere(iface); is != was {
			return false
		}
	}
	return maps.EqualFunc(was.Sessions, o.Sessions, slices.Equal[[]cluster.SessionState])
}

// rule decides about a Service, and keeps the decision.
func (m *Memory) rule(svc *cluster.Service, now time.Time) ruling {
	key := svc.Key
	u, _ := m.plan.Get(key)
	m.judge.observant = false
	r := m.judge.rule(svc, u, m.observed, m.environment.class, now)
	if m.judge.observant {
		m.common[key] = true
	} else {
		delete(m.common, key)
	}
	if r.waits {
		m.judge.stale[key] = r.stale
	} else {
		delete(m.judge.stale, key)
	}
	switch before, _ := m.updates.Get(key); {
	case r.update == nil:
		m.updates.Delete(key)
	case !r.update.Same(before):
		m.updates.Set(key, r.update)
	}
	return r
}
