// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/handover"
	"github.com/heraldlb/herald/l2/members"
	"github.com/heraldlb/herald/l2/node"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/table"
	"github.com/heraldlb/herald/wake"
)

// leaveTime is how long an agent that stops waits for others, as in package node.
const leaveTime = 5 * time.Second

// iface is the interface of every node.
const iface = "eth0"

var ifaces = []string{iface}

// Members know which agents are alive: gossip, or a roster.
type Members interface {
	View() members.View
	SetNodes(nodes []members.Node)
	Publish(s members.State)
	Ask(on bool)
	SetSent(list []members.Sent)
}

// A layer2 is what a node does on layer 2, without a network: it answers for an address
// from the moment that it is told to.
type layer2 struct {
	members Members
	changed func()
	index   int
	idle    wake.Signal // nothing is left to answer for

	mu        sync.Mutex // guards the fields below
	answering []netip.Addr
	answered  reconcile.Answered // the same
	leaving   bool
}

var _ reconcile.Layer2 = (*layer2)(nil)

// newLayer2 returns the layer2 of node i, which other agents elect from now on.
func newLayer2(i int, m Members, changed func()) *layer2 {
	l := &layer2{members: m, changed: changed, index: i, idle: wake.New()}
	m.Publish(l.state())
	return l
}

// state returns what other agents are told. The caller holds mu.
func (l *layer2) state() members.State {
	return stateOf(l.index, l.answering, l.leaving)
}

// SetNodes tells gossip of the nodes of the cluster.
func (l *layer2) SetNodes(nodes []*cluster.Node) {
	out := make([]members.Node, len(nodes))
	for i, n := range nodes {
		out[i] = members.Node{Name: n.Name, Addrs: n.Addrs}
	}
	l.members.SetNodes(out)
}

// Neighborhood returns what gossip knows.
func (l *layer2) Neighborhood() reconcile.Neighborhood {
	v := l.members.View()
	l.mu.Lock()
	defer l.mu.Unlock()
	return reconcile.Neighborhood{Membership: node.Membership(v), Gaps: v.Gaps, Asked: v.Asked, Leaving: l.leaving, Answered: l.answered}
}

// Set answers for these addresses at once.
func (l *layer2) Set(answers handover.Answers) {
	var now []netip.Addr
	for _, a := range answers.All() {
		if !a.Standby {
			now = append(now, a.Addr)
		}
	}
	if l.answer(now) {
		l.changed()
	}
}

// answer replaces the addresses, and reports whether they are others.
func (l *layer2) answer(now []netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.leaving && len(now) == 0 {
		l.idle.Set()
	}
	if slices.Equal(now, l.answering) {
		return false
	}
	l.answering = now
	l.answered = table.Of(func(yield func(netip.Addr, []string) bool) {
		for _, addr := range now {
			if !yield(addr, ifaces) {
				return
			}
		}
	})
	l.members.Publish(l.state())
	return true
}

// holds returns the addresses that the node answers for.
func (l *layer2) holds() []netip.Addr {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.answering
}

// leave has other nodes take over.
func (l *layer2) leave(ctx context.Context) {
	l.mu.Lock()
	l.leaving = true
	l.members.Publish(l.state())
	l.mu.Unlock()
	l.changed()
	select {
	case <-ctx.Done():
	case <-l.idle:
	case <-time.After(leaveTime):
	}
}

// Ask asks other agents what they have sent.
func (l *layer2) Ask(on bool) { l.members.Ask(on) }

// Tell answers them.
func (l *layer2) Tell(sent []announce.Sent) {
	list := make([]members.Sent, len(sent))
	for i, s := range sent {
		list[i] = members.Sent(s)
	}
	l.members.SetSent(list)
}

// SetFaults does nothing: there are no probes.
func (*layer2) SetFaults([]announce.Fault) {}

// Alone matters to FRR's container.
func (*layer2) Alone(int) {}

// A roster is agents that know of each other at once, in place of gossip: for clusters so
// large that one process cannot hold what every agent knows of every other.
type roster struct {
	mu         sync.Mutex // guards the fields below
	generation uint64
	states     map[string]members.State
	changed    map[string]func()
	view       *members.View // nil: to be made
}

func newRoster() *roster {
	return &roster{states: map[string]members.State{}, changed: map[string]func(){}}
}

// join adds an agent, which is called when others have changed.
func (r *roster) join(name string, changed func()) *entry {
	r.mu.Lock()
	r.changed[name] = changed
	r.mu.Unlock()
	return &entry{r, name}
}

// set replaces what an agent says; nil: it is gone.
func (r *roster) set(name string, s *members.State) {
	r.mu.Lock()
	if s == nil {
		delete(r.states, name)
		delete(r.changed, name)
	} else {
		r.states[name] = *s
	}
	r.generation++
	r.view = nil
	var all []func()
	for _, f := range r.changed {
		all = append(all, f)
	}
	r.mu.Unlock()
	for _, f := range all {
		f()
	}
}

// An entry is one agent of a roster.
type entry struct {
	roster *roster
	name   string
}

// View returns all agents of the roster.
func (e *entry) View() members.View {
	r := e.roster
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.view == nil {
		v := members.View{Generation: r.generation}
		for name, s := range r.states {
			v.Members = append(v.Members, members.Member{Name: name, State: s})
		}
		slices.SortFunc(v.Members, func(a, b members.Member) int { return cmp.Compare(a.Name, b.Name) })
		r.view = &v
	}
	return *r.view
}

// Publish replaces what the agent says.
func (e *entry) Publish(s members.State) { e.roster.set(e.name, &s) }

// SetNodes does nothing: all agents are known.
func (*entry) SetNodes([]members.Node) {}

// Ask gets no answers.
func (*entry) Ask(bool) {}

// SetSent tells nobody.
func (*entry) SetSent([]members.Sent) {}
