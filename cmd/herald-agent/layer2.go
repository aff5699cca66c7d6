// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/handover"
	"github.com/heraldlb/herald/l2"
	"github.com/heraldlb/herald/l2/members"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/status"
)

// layer2Options say how to announce on layer 2.
type layer2Options struct {
	node     string
	bind     string // address; empty: nobody watches who is alive
	port     uint16
	keyDir   string // with a file named secretkey; empty: clear text
	profile  members.Profile
	conflict l2.Policy
}

// layer2 is the agent's part in layer 2: it answers for addresses, and knows who
// else does.
type layer2 struct {
	node      string
	cluster   reconcile.Cluster
	announcer *l2.Announcer
	members   *members.List // nil: nobody watches who is alive
	bind      netip.AddrPort
	wake      func()
	log       *slog.Logger

	again *time.Timer       // wakes when a claim is old
	known map[l2.MAC]string // the nodes that agents ever were on; Neighborhood owns it

	mu      sync.Mutex // guards the fields below
	leaving bool
	idle    chan struct{} // nil, or closed once there is nothing to answer for
	alone   chan int      // nil, or what Alone was told last
}

func newLayer2(opts layer2Options, cluster reconcile.Cluster, wake func(), log *slog.Logger) (*layer2, error) {
	l := &layer2{node: opts.node, cluster: cluster, wake: wake, log: log, known: map[l2.MAC]string{}}
	l.again = time.AfterFunc(claimAge, wake)
	l.again.Stop()
	announce := l2.Options{Conflict: opts.conflict, Changed: l.changed, Logger: log.With("component", "layer2")}
	if opts.bind != "" {
		addr, err := netip.ParseAddr(opts.bind)
		if err != nil || addr.IsUnspecified() {
			return nil, fmt.Errorf("--ml-bindaddr %q: want an address of this node", opts.bind)
		}
		key, err := readKey(opts.keyDir)
		if err != nil {
			return nil, fmt.Errorf("--ml-secret-key-path: %w", err)
		}
		if key == nil {
			log.Warn("gossip is in clear text", "err", "there is no secret")
		}
		l.bind = netip.AddrPortFrom(addr.Unmap(), opts.port)
		l.members = members.New(members.Options{
			Node: opts.node, Bind: l.bind, Key: key, Profile: opts.profile, Changed: wake, Logger: log.With("component", "members"),
		})
		announce.Mute = l.members.Stale
		announce.Nodes = true
	}
	l.announcer = l2.New(announce)
	return l, nil
}

// readKey returns the key that gossip is encrypted with; nil without a secret.
func readKey(dir string) ([]byte, error) {
	if dir == "" {
		return nil, nil
	}
	secret, err := os.ReadFile(filepath.Join(dir, "secretkey"))
	if err != nil {
		return nil, err
	}
	text := strings.TrimSpace(string(secret))
	if text == "" {
		return nil, nil
	}
	return members.Key(text), nil
}

// run answers until the context is canceled.
func (l *layer2) run(ctx context.Context) error { return l.announcer.Run(ctx) }

// gossip gossips until the context is canceled.
func (l *layer2) gossip(ctx context.Context) error {
	if l.members == nil {
		<-ctx.Done()
		return nil
	}
	return l.members.Run(ctx)
}

// watchRivals tells the announcer on which nodes another load balancer may answer, until
// the context is canceled. Without gossip every node counts as one with an agent.
func (l *layer2) watchRivals(ctx context.Context) error {
	if l.members == nil {
		<-ctx.Done()
		return nil
	}
	r := rivals{
		node: l.node, cluster: l.cluster, view: l.members.View, neighbors: l2.Neighbors, set: l.announcer.SetNodes, log: l.log,
	}
	return r.run(ctx)
}

// Neighborhood returns what is known of the network. It lets the gossip know of
// the Nodes that there are.
func (l *layer2) Neighborhood() reconcile.Neighborhood {
	state := l.announcer.State()
	out := reconcile.Neighborhood{Conflicts: conflicts(state), Answered: answered(state), AnsweredOn: state.AnsweredOn}
	if l.members == nil {
		out.Disabled = true
		return out
	}
	if s, synced := l.cluster.Snapshot(); synced {
		l.members.SetPeers(l.peers(s.Nodes))
	}
	v := l.members.View()
	out.Membership = announce.Membership{Stale: v.Stale, Members: membersOf(v.Members), Departed: membersOf(v.Departed)}
	out.Gaps, out.Asked = v.Gaps, v.Asked
	l.mu.Lock()
	out.Leaving = l.leaving
	l.mu.Unlock()
	alive := map[string]bool{}
	for _, m := range v.Members {
		alive[m.Name] = true
	}
	for _, m := range slices.Concat(v.Departed, v.Members) {
		for _, mac := range m.MACs {
			l.known[l2.MAC(mac)] = m.Name
		}
	}
	var friends []l2.MAC
	for mac, node := range l.known {
		if node != l.node {
			friends = append(friends, mac)
		}
	}
	var until time.Time
	out.Claims, until = claims(state, l.known, alive, time.Now())
	if !until.IsZero() {
		l.again.Reset(time.Until(until))
	}
	l.announcer.SetFriends(friends)
	return out
}

// claimAge is how long a claim counts: a little longer than owners take at most
// from one announcement to the next.
const claimAge = 45 * time.Second

// claims returns which addresses nodes that are not alive, as far as gossip tells,
// were heard to announce, and when the first of these claims is too old.
func claims(s l2.State, known map[l2.MAC]string, alive map[string]bool, now time.Time) (out map[netip.Addr]announce.Claim, until time.Time) {
	for _, a := range s.Addresses {
		node, ok := known[a.TakenBy.MAC]
		end := a.TakenBy.At.Add(claimAge)
		if !ok || alive[node] || !now.Before(end) {
			continue
		}
		if out == nil {
			out = map[netip.Addr]announce.Claim{}
		}
		out[a.Addr] = announce.Claim{Node: node, At: a.TakenBy.At}
		if until.IsZero() || end.Before(until) {
			until = end
		}
	}
	return out, until
}

// peers returns where the agents of other Nodes are. They are in the network of
// their node, so that its address is theirs.
func (l *layer2) peers(nodes []*cluster.Node) []netip.AddrPort {
	var out []netip.AddrPort
	for _, n := range nodes {
		i := slices.IndexFunc(n.Addrs, func(a netip.Addr) bool { return a.Is4() == l.bind.Addr().Is4() })
		if n.Name != l.node && i >= 0 {
			out = append(out, netip.AddrPortFrom(n.Addrs[i], l.bind.Port()))
		}
	}
	return out
}

// asked reports whether other agents rely on what this one says that it has sent.
func (l *layer2) asked() bool { return l.members != nil && l.members.View().Asked }

// gone reports whether the agent of a node is known not to answer for anything
// any more.
func (l *layer2) gone(node string) bool {
	if l.members == nil {
		return false
	}
	v := l.members.View()
	i := slices.IndexFunc(v.Members, func(m members.Member) bool { return m.Name == node })
	return !v.Stale && (i < 0 || v.Members[i].Leaving)
}

func membersOf(list []members.Member) []announce.Member {
	out := make([]announce.Member, len(list))
	for i, m := range list {
		out[i] = announce.Member{Node: m.Name, Leaving: m.Leaving, Damped: m.Damped, Interfaces: m.Interfaces, Held: m.Held, Answered: m.Answered}
		for _, s := range m.Sent {
			out[i].Sent = append(out[i].Sent, announce.Sent(s))
		}
	}
	return out
}

// conflicts returns who, of none of ours, has which address: a stranger, or another load
// balancer on a node of the cluster.
func conflicts(s l2.State) map[netip.Addr]reconcile.Conflict {
	var out map[netip.Addr]reconcile.Conflict
	for _, a := range s.Addresses {
		if a.Conflict == (l2.Claim{}) && a.Rival == (l2.Rival{}) {
			continue
		}
		if out == nil {
			out = map[netip.Addr]reconcile.Conflict{}
		}
		out[a.Addr] = reconcile.Conflict{
			By:   a.Conflict.MAC.String(),
			On:   a.Conflict.Interface,
			Node: a.Rival.Node,
			Refused: slices.ContainsFunc(a.Presences, func(p l2.Presence) bool { return p.Phase == l2.Deferred }) ||
				!slices.ContainsFunc(a.Presences, func(p l2.Presence) bool { return p.Phase == l2.Announced || p.Phase == l2.Quiet }),
		}
	}
	return out
}

// Set replaces what to answer for.
func (l *layer2) Set(answers []handover.Answer) {
	want := make([]l2.Announcement, len(answers))
	for i, a := range answers {
		want[i] = l2.Announcement{Addr: a.Addr, Interfaces: a.Interfaces, Fresh: a.Fresh, Quiet: a.Quiet, Silent: a.Silent, Round: a.Round}
	}
	l.announcer.Set(want)
	l.mu.Lock()
	defer l.mu.Unlock()
	answering := slices.ContainsFunc(answers, func(a handover.Answer) bool { return !a.Silent })
	if !answering && l.idle != nil {
		close(l.idle)
		l.idle = nil
	}
}

// Ask says whether other agents are asked what they have sent to routers.
func (l *layer2) Ask(on bool) {
	if l.members != nil {
		l.members.Ask(on)
	}
}

// Tell replaces what other agents are answered.
func (l *layer2) Tell(sent []announce.Sent) {
	if l.members == nil {
		return
	}
	list := make([]members.Sent, len(sent))
	for i, s := range sent {
		list[i] = members.Sent(s)
	}
	l.members.SetSent(list)
}

// changed is called when the announcer's state is another.
func (l *layer2) changed() {
	l.publish()
	l.wake()
}

// publish tells the other agents what is true of this node.
func (l *layer2) publish() {
	if l.members == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.members.Publish(stateOf(l.announcer.State(), l.leaving))
}

// stateOf returns what to tell the other agents.
func stateOf(s l2.State, leaving bool) members.State {
	out := members.State{Leaving: leaving}
	for _, i := range s.Interfaces {
		if i.ARP == l2.Suitable || i.NDP == l2.Suitable {
			out.Interfaces = append(out.Interfaces, i.Name)
			out.MACs = append(out.MACs, members.MAC(i.MAC))
		}
	}
	slices.SortFunc(out.MACs, func(a, b members.MAC) int { return slices.Compare(a[:], b[:]) })
	out.MACs = slices.Compact(out.MACs)
	out.Held = answered(s)
	return out
}

// answered returns the addresses that this node was seen to answer for, in order.
func answered(s l2.State) []netip.Addr {
	var out []netip.Addr
	for _, a := range s.Addresses {
		if a.Confirmed {
			out = append(out, a.Addr)
		}
	}
	return out
}

// status puts the state of layer 2 into words.
func (l *layer2) status() *status.Network {
	s := l.announcer.State()
	out := &status.Network{Requests: make(map[string]uint64, len(s.Requests))}
	for drop, n := range s.Requests {
		out.Requests[drop.String()] = n
	}
	for _, i := range s.Interfaces {
		one := status.Interface{Name: i.Name, MAC: i.MAC.String(), ARP: i.ARP.String(), NDP: i.NDP.String()}
		if i.Err != nil {
			one.Error = i.Err.Error()
		}
		out.Interfaces = append(out.Interfaces, one)
	}
	for _, a := range s.Addresses {
		one := status.Address{
			Addr: a.Addr, Confirmed: a.Confirmed, Requests: a.Requests, Replies: a.Replies, Gratuitous: a.Gratuitous,
		}
		for _, p := range a.Presences {
			one.On = append(one.On, status.Presence{Interface: p.Interface, Phase: p.Phase.String(), Since: p.Since})
		}
		if a.Conflict != (l2.Claim{}) {
			one.Conflict = a.Conflict.MAC.String()
		}
		one.Rival = a.Rival.Node
		out.Addresses = append(out.Addresses, one)
	}
	if l.members != nil {
		v := l.members.View()
		out.Stale = v.Stale
		for _, m := range v.Members {
			out.Members = append(out.Members, status.Member{Node: m.Name, Leaving: m.Leaving, Damped: m.Damped, Held: len(m.Held)})
		}
	}
	return out
}

// parseProfile reads --l2-liveness, and MetalLB's flag for one of its values.
func parseProfile(name string, wan bool) (members.Profile, error) {
	if wan {
		name = cmp.Or(name, string(members.WAN))
	}
	p, err := members.ParseProfile(cmp.Or(name, string(members.Fast)))
	if err != nil {
		return "", fmt.Errorf("--l2-liveness: %w", err)
	}
	return p, nil
}

// parsePolicy reads --l2-conflict.
func parsePolicy(text string) (l2.Policy, error) {
	var p l2.Policy
	if err := p.UnmarshalText([]byte(text)); err != nil {
		return p, fmt.Errorf("--l2-conflict: %w", err)
	}
	return p, nil
}
