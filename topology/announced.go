// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"slices"

	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/condition"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/table"
)

// announced judges whether each Service is announced.
func (b *builder) announced() {
	var conditions map[cluster.Key]cluster.Condition
	if b.judges() {
		judge := condition.Judge{IgnoreExclude: b.in.IgnoreExclude}
		conditions = judge.Now(b.s, b.observed(), b.in.Class)
	}
	services := b.s.Services
	for i := range b.t.Services {
		for services[0].Key != b.keys[i] {
			services = services[1:]
		}
		s := &b.t.Services[i]
		if c, ok := conditions[b.keys[i]]; ok {
			s.Announced = judgementOf(c)
		} else if c := services[0].Condition(condition.TypeAnnounced); c != nil && !b.in.Silent {
			s.Announced = judgementOf(*c)
		}
		if !s.Announced.True { // without a configuration nothing is judged
			if text := announcersText(s.Announcers); text != "" {
				s.Announced = Judgement{True: true, Reason: status.Announced, Message: text}
			}
		}
		s.State = b.stateOf(s)
		if s.State == StateAnnounced {
			if b.lacks(s); len(s.Lacks) > 0 {
				s.State = StateDegraded
			}
		}
	}
}

// observed returns what nodes were seen to announce.
func (b *builder) observed() condition.Observed {
	o := condition.Observed{Reported: b.reported()}
	var announcers table.Editor[cluster.Key, string]
	// Most Services are announced alike.
	texts := map[string]string{}
	var key []byte
	for i := range b.t.Services {
		all := b.t.Services[i].Announcers
		if len(all) == 0 {
			continue
		}
		key = key[:0]
		for _, a := range all {
			key = append(append(key, a.Node...), a.Protocol...)
			for _, ends := range [][]string{a.Peers, a.Interfaces} {
				for _, end := range ends {
					key = append(append(key, ' '), end...)
				}
				key = append(key, '|')
			}
		}
		text, known := texts[string(key)]
		if !known {
			text = announcersText(all)
			texts[string(key)] = text
		}
		if text != "" {
			announcers.Set(b.keys[i], text)
		}
	}
	o.Announcers = announcers.Table()
	if !b.in.unasked(KindNodes) && !b.in.unasked(KindEndpointSlices) {
		o.Reach = &condition.Reach{Nodes: b.s.Nodes, Endpoints: cluster.TablesOf(b.s).Endpoints}
	}
	o.Nowhere = b.nowhere
	for _, p := range b.t.Peers {
		for _, s := range p.Sessions {
			if !s.Wanted || s.From == FromRules {
				continue
			}
			if o.Sessions == nil {
				o.Sessions = cluster.NodeSessions{}
			}
			o.Sessions[s.Node] = append(o.Sessions[s.Node], cluster.SessionState{Peer: p.Name, Up: s.Up, Since: s.Since, Reason: s.Reason, Message: s.Message})
		}
	}
	return o
}

// nowhere reports whether all nodes say that they lack an interface.
func (b *builder) nowhere(iface string) bool {
	return len(b.in.States) > 0 && !slices.ContainsFunc(b.in.States, func(s AgentState) bool { return !slices.Contains(s.Lacking, iface) })
}

// stateOf returns the State of a Service.
func (b *builder) stateOf(s *Service) string {
	switch {
	case s.Class != b.in.Class || s.Assigned.Reason == assign.ReasonForeign:
		return StateOther
	case len(s.Addresses) == 0:
		return StateNoAddress
	case s.Announced.True:
		return StateAnnounced
	case s.Announced.Reason == "":
		return StateUnknown
	case s.Announced.Reason == condition.ReasonNotAnnounced && !b.reported():
		return StateUnknown
	}
	return StateNotAnnounced
}

// rules reports whether enough is known to decide in place of agents.
func (b *builder) rules() bool {
	return b.judges() && !b.in.unasked(KindNodes) && !b.in.unasked(KindEndpointSlices)
}

// judges reports whether enough is known to judge Services as the controller does.
func (b *builder) judges() bool { return b.s.Config != nil && !b.part && !b.in.unasked(KindServices) }

// reported reports whether it is known of each node that may announce something what it does.
func (b *builder) reported() bool {
	return !b.in.unasked(KindStatuses) && !b.in.Silent ||
		!b.in.unasked(KindPods) && !slices.ContainsFunc(b.t.Nodes, func(n Node) bool { return n.Agent.Running && !n.Agent.Asked })
}
