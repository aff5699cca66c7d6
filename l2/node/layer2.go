// SPDX-License-Identifier: Apache-2.0

// Package node is what one node does on layer 2: it answers for addresses, and
// exchanges with the agents of other nodes who answers for which.
package node

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"regexp"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/handover"
	"github.com/heraldlb/herald/l2"
	"github.com/heraldlb/herald/l2/members"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/table"
)

var _ reconcile.Layer2 = (*Layer2)(nil)

// Options configure a Layer2.
type Options struct {
	Node     string          // required: this node's name
	Changed  func()          // required: called when the Neighborhood has changed; it must not block
	Logger   *slog.Logger    // required
	Conflict l2.Policy       // optional: about addresses that another host has; the zero value is l2.Warn
	Bind     netip.AddrPort  // optional: gossip there; zero: all nodes count as alive
	Keys     [][]byte        // optional: of gossip, as members.Options has them; nil: clear text
	Profile  members.Profile // optional: how soon a silent agent counts as dead
	Version  string          // optional: of this agent, for people
	Hold     bool            // optional: until Ready is called, no node is to elect this one
}

// A Layer2 answers for addresses on this node. Its methods are safe for concurrent
// use.
type Layer2 struct {
	opts      Options
	announcer *l2.Announcer
	members   *members.List // nil without gossip
	agents    agents
	hearing   hearing

	mu        sync.Mutex // guards the fields below
	nodes     []*cluster.Node
	known     bool                // SetNodes was called
	around    announce.Membership // of the view of that Generation; without Members: of none
	aroundOf  uint64
	met       map[string]acquaintance                    // the members of around
	friends   int                                        // what agents had learned when the announcer was told
	held      bool                                       // other agents are not told of interfaces to answer on
	departure *departure                                 // nil: this agent does not stop
	answers   handover.Answers                           // that were set last
	want      table.Editor[netip.Addr, *l2.Announcement] // the same for the announcer
	keyErr    error                                      // why the keys of gossip were not read again
}

// New returns a Layer2. It starts nothing.
func New(opts Options) *Layer2 {
	l := &Layer2{opts: opts, held: opts.Hold}
	announce := l2.Options{Conflict: opts.Conflict, Changed: l.changed, Logger: opts.Logger.With("component", "layer2")}
	if opts.Bind.IsValid() {
		l.members = members.New(members.Options{
			Node: opts.Node, Bind: opts.Bind, Keys: opts.Keys, Profile: opts.Profile, Changed: opts.Changed, Version: opts.Version,
			Logger: opts.Logger.With("component", "members"),
		})
		announce.Mute, announce.Nodes = l.members.Stale, true
	}
	l.announcer = l2.New(announce)
	return l
}

// SetExclude replaces the expressions of the interfaces to leave alone.
func (l *Layer2) SetExclude(exclude []*regexp.Regexp) { l.announcer.SetExclude(exclude) }

// Run answers, and gossips, until the context is canceled.
func (l *Layer2) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return l.announcer.Run(ctx) })
	if l.members != nil {
		g.Go(func() error {
			if err := l.members.Run(ctx); err != nil {
				return fmt.Errorf("members: %w", err)
			}
			return nil
		})
		r := rivals{
			self: l.opts.Node, nodes: l.clusterNodes, view: l.look, agents: &l.agents,
			neighbors: l2.Neighbors, set: l.announcer.SetNodes, log: l.opts.Logger,
		}
		g.Go(func() error { return r.run(ctx) })
	}
	return g.Wait()
}

// SetNodes replaces the nodes of the cluster. Gossip reaches their agents, and no
// hardware address of an agent counts as a stranger's.
func (l *Layer2) SetNodes(nodes []*cluster.Node) {
	if l.members == nil {
		return
	}
	l.mu.Lock()
	news := !l.known || !slices.Equal(l.nodes, nodes)
	l.nodes, l.known = nodes, true
	l.mu.Unlock()
	if news {
		l.members.SetNodes(gossips(nodes))
	}
	l.look()
}

// look tells the announcer of the agents that gossip knows, and returns who is alive.
func (l *Layer2) look() members.View {
	v, nodes, now := l.members.View(), l.clusterNodes(), time.Now()
	l.agents.learn(v, nodes, now)
	answering := l.heard().answering()
	l.befriend()
	l.announcer.SetLost(l.agents.mayRun(nodes, answering, now))
	return v
}

// befriend tells the announcer of the agents' hardware addresses, if they may have changed.
func (l *Layer2) befriend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.agents.learned() == l.friends {
		return
	}
	var macs []l2.MAC
	macs, l.friends = l.agents.except(l.opts.Node)
	l.announcer.SetFriends(macs)
}

// SetKeys replaces the keys of gossip, unless they were not read: then it remembers why.
// It returns why they were not replaced.
func (l *Layer2) SetKeys(keys [][]byte, err error) error {
	if err == nil && l.members != nil {
		err = l.members.SetKeys(keys)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.keyErr = err
	return err
}

// clusterNodes returns what SetNodes was given last.
func (l *Layer2) clusterNodes() []*cluster.Node {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.nodes
}

// gossips returns the nodes as gossip knows them.
func gossips(nodes []*cluster.Node) []members.Node {
	out := make([]members.Node, len(nodes))
	for i, n := range nodes {
		out[i] = members.Node{Name: n.Name, Addrs: n.Addrs}
	}
	return out
}

// Set replaces what to answer for.
func (l *Layer2) Set(answers handover.Answers) {
	l.mu.Lock()
	for c := range table.Diff(l.answers, answers, table.Same) {
		if c.After == nil {
			l.want.Delete(c.Key)
			continue
		}
		a := *c.After
		l.want.Set(c.Key, &l2.Announcement{Addr: a.Addr, Interfaces: a.Interfaces, Fresh: a.Fresh, Quiet: a.Quiet, Standby: a.StandbyOn, Round: a.Round})
	}
	l.answers = answers
	l.announcer.SetWanted(l.want.Table())
	d := l.departure
	l.mu.Unlock()
	if d != nil && !answering(answers) {
		d.idle.Set()
	}
}

// answering reports whether there is an address to answer for.
func answering(answers handover.Answers) bool {
	for _, a := range answers.All() {
		if !a.Standby {
			return true
		}
	}
	return false
}

// Ask says whether other agents are asked what they have sent to routers.
func (l *Layer2) Ask(on bool) {
	if l.members != nil {
		l.members.Ask(on)
	}
}

// Tell replaces what this agent answers to that question.
func (l *Layer2) Tell(sent []announce.Sent) {
	if l.members == nil {
		return
	}
	l.members.SetSent(convert(sent, func(s announce.Sent) members.Sent { return members.Sent(s) }))
}

// SetFaults replaces the probes that are not answered on this node, for other agents. All others
// are answered, or are not made.
func (l *Layer2) SetFaults(faults []announce.Fault) {
	if l.members != nil {
		l.members.SetFaults(convert(faults, func(f announce.Fault) members.Fault { return members.Fault(f) }))
	}
}

// changed is called when the announcer's state has changed.
func (l *Layer2) changed() {
	l.publish()
	l.opts.Changed()
}

// publish publishes this node's state to the other agents.
func (l *Layer2) publish() {
	if l.members == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.members.Publish(l.stateToPublish(l.announcer.Seen().Interfaces, l.heard().held))
}

// heard returns what the announcer has seen.
func (l *Layer2) heard() heard { return l.hearing.next(l.announcer.Seen) }

// stateToPublish returns what other agents are told. The caller holds mu.
func (l *Layer2) stateToPublish(interfaces []l2.Interface, held []netip.Addr) members.State {
	out := stateOf(interfaces, held, l.departure != nil)
	if l.held {
		out.Interfaces = nil
	}
	return out
}

// Ready has agents elect this node from now on.
func (l *Layer2) Ready() {
	l.mu.Lock()
	l.held = false
	l.mu.Unlock()
	l.publish()
}

// stateOf returns the state to publish.
func stateOf(interfaces []l2.Interface, held []netip.Addr, leaving bool) members.State {
	out := members.State{Leaving: leaving, Held: held}
	for _, i := range interfaces {
		if i.ARP == l2.Suitable || i.NDP == l2.Suitable {
			out.Interfaces = append(out.Interfaces, i.Name)
			out.MACs = append(out.MACs, members.MAC(i.MAC))
		}
	}
	slices.SortFunc(out.MACs, func(a, b members.MAC) int { return slices.Compare(a[:], b[:]) })
	out.MACs = slices.Compact(out.MACs)
	return out
}
