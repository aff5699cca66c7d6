// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/table"
)

// Elections are what is known of addresses on layer 2.
type Elections = table.Table[netip.Addr, *Election]

// Layer2Tables are a DesiredLayer2 for a loop that decides again and again.
type Layer2Tables struct {
	Elections Elections
	Decisions Decisions
	Stale     bool
}

// List returns the same as lists.
func (t Layer2Tables) List() DesiredLayer2 {
	d := DesiredLayer2{Owners: map[netip.Addr]string{}, Held: map[netip.Addr][]string{}, Decisions: ListDecisions(t.Decisions), Stale: t.Stale}
	for addr, e := range t.Elections.All() {
		d.add(addr, *e)
		if len(e.Held) > 0 {
			d.Held[addr] = e.Held
		}
		if len(e.Claimed) > 0 {
			if d.Claimed == nil {
				d.Claimed = map[netip.Addr][]Claim{}
			}
			d.Claimed[addr] = e.Claimed
		}
	}
	return d
}

// HandedOver reports whether the node that is elected holds the address.
func (e *Election) HandedOver() bool { return e.Owner != "" && slices.Contains(e.Held, e.Owner) }

// GivesWay reports whether gossip does not reach the owner, but its announcement was heard.
func (e *Election) GivesWay() bool {
	return e.Owner != "" && slices.ContainsFunc(e.Claimed, func(c Claim) bool { return c.Node == e.Owner })
}

// equal reports whether both say the same.
func (e *Election) equal(o *Election) bool {
	return e.Owner == o.Owner && e.NoOther == o.NoOther && e.NoInterface == o.NoInterface &&
		slices.Equal(e.Held, o.Held) && slices.Equal(e.Claimed, o.Claimed) && e.Announce.equal(o.Announce)
}

func (l *Ownership) equal(o *Ownership) bool {
	if l == nil || o == nil {
		return l == o
	}
	return l.Addr == o.Addr && l.Fresh == o.Fresh && l.Standby == o.Standby && l.Challenged.Equal(o.Challenged) &&
		slices.Equal(l.Interfaces, o.Interfaces) && slices.Equal(l.StandbyOn, o.StandbyOn) && slices.Equal(l.Rivals, o.Rivals)
}

// A Layer2Memory decides the same as Layer2, pass after pass, and again only about the
// Services and addresses whose input has changed. Objects of the cluster and lists of a
// Membership are immutable. The zero Layer2Memory has decided nothing. It is not safe for
// concurrent use.
type Layer2Memory struct {
	environment layer2Environment
	election    *layer2Election // nil: nothing was decided yet
	members     Membership

	services  table.Table[cluster.Key, *cluster.Service]
	endpoints table.Table[cluster.Key, []cluster.Endpoint]

	damped    map[Announcement]bool
	readiness Readiness

	claims    map[cluster.Key][]layer2Claim
	users     map[netip.Addr][]cluster.Key // Services with claims to an address, in order
	elections table.Editor[netip.Addr, *Election]
	decisions table.Editor[cluster.Key, []status.Decision]
}

// A layer2Environment is what all decisions depend on.
type layer2Environment struct {
	config *config.Config
	index  *Index
	node   string
	class  string

	ignoreExclude bool
}

// Next decides which addresses a node answers for, see Layer2.
func (m *Layer2Memory) Next(s cluster.Tables, node string, members Membership, opts Options) Layer2Tables {
	if s.Config == nil {
		*m = Layer2Memory{}
		return Layer2Tables{Stale: members.Stale}
	}
	opts.Index = cmp.Or(opts.Index, m.environment.index).Of(s.Config)
	environment := layer2Environment{s.Config, opts.Index, node, opts.Class, opts.IgnoreExcludeLB}
	addrs, dirty := map[netip.Addr]bool{}, map[cluster.Key]bool{}
	switch {
	case m.election == nil || environment != m.environment || !slices.Equal(m.election.nodes, s.Nodes):
		m.reset(environment, s, members, opts, addrs)
	case sameElectorate(m.members, members):
		m.gossip(members, addrs)
		m.faults(members, dirty)
	case !m.electorate(members, addrs, dirty):
		m.reset(environment, s, members, opts, addrs)
	}
	m.members = members
	for c := range table.Diff(m.services, s.Services, table.Same) {
		dirty[c.Key] = true
	}
	for c := range table.Diff(m.endpoints, s.Endpoints, slices.Equal) {
		dirty[c.Key] = true
	}
	differing(m.damped, opts.Damped, func(id Announcement) { dirty[cluster.ParseKey(id.Service)] = true })
	m.readiness.differing(opts.Readiness, dirty)
	for id := range opts.Readiness.Waits { // until the node announces the address
		dirty[cluster.ParseKey(id.Service)] = true
	}
	m.election.opts, m.damped, m.readiness = opts, opts.Damped, opts.Readiness
	m.services, m.endpoints = s.Services, s.Endpoints
	m.enter(dirty, addrs)
	m.elect(addrs, dirty)
	m.decide(dirty)
	return Layer2Tables{Elections: m.elections.Table(), Decisions: m.decisions.Table(), Stale: members.Stale}
}

// sameElectorate reports whether the same nodes may be elected, for the same interfaces.
func sameElectorate(a, b Membership) bool {
	return a.Disabled == b.Disabled && a.Stale == b.Stale && slices.EqualFunc(a.Members, b.Members, func(x, y Member) bool {
		return x.Node == y.Node && x.Leaving == y.Leaving && x.Damped == y.Damped && slices.Equal(x.Interfaces, y.Interfaces)
	})
}

// reset has all decisions made again. Those that come out as they were stay the same lists.
func (m *Layer2Memory) reset(environment layer2Environment, s cluster.Tables, members Membership, opts Options, addrs map[netip.Addr]bool) {
	before := *m
	*m = Layer2Memory{
		environment: environment, election: newLayer2Election(s.Config, s.Nodes, environment.node, members, opts),
		claims: map[cluster.Key][]layer2Claim{}, users: map[netip.Addr][]cluster.Key{},
		elections: before.elections, decisions: before.decisions,
	}
	for key := range before.claims {
		if _, there := s.Services.Get(key); !there {
			m.decisions.Delete(key)
		}
	}
	for addr := range before.elections.Table().All() {
		addrs[addr] = true
	}
	for addr := range m.election.held {
		addrs[addr] = true
	}
	for addr := range m.election.lanClaims {
		addrs[addr] = true
	}
}

// gossip takes in what members hold, and adds the addresses that this concerns to addrs.
func (m *Layer2Memory) gossip(now Membership, addrs map[netip.Addr]bool) {
	el := m.election
	for before, member := range pairs(m.members.Members, now.Members) {
		el.hold(cmp.Or(member.Node, before.Node), before.Held, member.Held, addrs)
	}
	if !slices.EqualFunc(m.members.Departed, now.Departed, func(a, b Member) bool { return slices.Equal(a.Held, b.Held) }) {
		clear(el.departed)
		for _, list := range [][]Member{m.members.Departed, now.Departed} {
			for _, member := range list {
				for _, addr := range member.Held {
					addrs[addr] = true
				}
			}
		}
		for _, member := range now.Departed {
			for _, addr := range member.Held {
				el.departed[addr] = true
			}
		}
	}
	for addr, of := range el.lanClaims {
		if !slices.Equal(of, now.Claims[addr]) {
			addrs[addr] = true
		}
	}
	for addr := range now.Claims {
		if el.lanClaims[addr] == nil {
			addrs[addr] = true
		}
	}
	el.lanClaims = now.Claims
}

// faults takes in which probes fail where, and adds the Services that this concerns to dirty.
func (m *Layer2Memory) faults(now Membership, dirty map[cluster.Key]bool) {
	if now.Disabled {
		return
	}
	el, same := m.election, true
	for before, member := range pairs(m.members.Members, now.Members) {
		same = same && before.Unjudged == member.Unjudged
		i, known := el.index[cmp.Or(member.Node, before.Node)]
		differingFaults(before.Faults, member.Faults, func(f Fault, is bool) {
			if !known {
				return
			}
			el.setFault(f, i, is)
			for _, key := range m.users[f.Addr] {
				dirty[key] = true
			}
		})
	}
	if same {
		return
	}
	el.unjudged = unjudged(now.Members, el.index)
	for key, claims := range m.claims {
		if slices.ContainsFunc(claims, func(c layer2Claim) bool { return c.probed }) {
			dirty[key] = true
		}
	}
}

// hold takes in what a member holds now, and adds the addresses that this changes to addrs.
func (e *electorate) hold(node string, before, now []netip.Addr, addrs map[netip.Addr]bool) {
	if sameAddrs(before, now) {
		return
	}
	before, now = inOrder(before), inOrder(now)
	for len(before)+len(now) > 0 {
		switch {
		case len(now) == 0 || len(before) > 0 && before[0].Less(now[0]):
			addr := before[0]
			before, addrs[addr] = before[1:], true
			left := slices.DeleteFunc(slices.Clone(e.held[addr]), func(name string) bool { return name == node })
			if e.held[addr] = left; len(left) == 0 {
				delete(e.held, addr)
			}
		case len(before) == 0 || now[0].Less(before[0]):
			addr := now[0]
			now, addrs[addr] = now[1:], true
			if i, held := slices.BinarySearch(e.held[addr], node); !held {
				e.held[addr] = slices.Insert(slices.Clone(e.held[addr]), i, node)
			}
		default:
			before, now = before[1:], now[1:]
		}
	}
}

// sameAddrs reports whether two lists are one.
func sameAddrs(a, b []netip.Addr) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// inOrder returns addresses in their order.
func inOrder(addrs []netip.Addr) []netip.Addr {
	if slices.IsSortedFunc(addrs, netip.Addr.Compare) {
		return addrs
	}
	return slices.SortedFunc(slices.Values(addrs), netip.Addr.Compare)
}

// enter puts the claims of Services in the place of those that they had, and adds the
// addresses of both to addrs.
func (m *Layer2Memory) enter(dirty map[cluster.Key]bool, addrs map[netip.Addr]bool) {
	for key := range dirty {
		for _, c := range m.claims[key] {
			addr := c.decision.Addr
			addrs[addr] = true
			if i, ok := slices.BinarySearchFunc(m.users[addr], key, cluster.Key.Compare); ok {
				m.users[addr] = slices.Delete(m.users[addr], i, i+1)
			}
		}
		delete(m.claims, key)
		svc, ok := m.services.Get(key)
		if !ok || !svc.LoadBalancer || svc.Class != m.environment.class {
			continue
		}
		endpoints, _ := m.endpoints.Get(key)
		claims := m.election.claims(svc, endpoints)
		if len(claims) == 0 {
			continue
		}
		m.claims[key] = claims
		for _, c := range claims {
			addr := c.decision.Addr
			addrs[addr] = true
			if i, ok := slices.BinarySearchFunc(m.users[addr], key, cluster.Key.Compare); !ok {
				m.users[addr] = slices.Insert(m.users[addr], i, key)
			}
		}
	}
}

// elect elects the owners of addresses, and adds the Services that have them to dirty.
func (m *Layer2Memory) elect(addrs map[netip.Addr]bool, dirty map[cluster.Key]bool) {
	el := m.election
	for addr := range addrs {
		now := &Election{Held: el.held[addr], Claimed: el.lanClaims[addr]}
		delete(el.groups, addr)
		for _, key := range m.users[addr] {
			dirty[key] = true
			for _, c := range m.claims[key] {
				if c.decision.Addr == addr {
					el.enter(c)
				}
			}
		}
		if g := el.groups[addr]; g != nil {
			*now = el.settle(addr, g)
		} else {
			delete(m.users, addr)
			if len(now.Held)+len(now.Claimed) == 0 {
				m.elections.Delete(addr)
				continue
			}
		}
		if was, ok := m.elections.Get(addr); !ok || !was.equal(now) {
			m.elections.Set(addr, now)
		}
	}
}

// decide decides about Services.
func (m *Layer2Memory) decide(dirty map[cluster.Key]bool) {
	for key := range dirty {
		claims := m.claims[key]
		if len(claims) == 0 {
			m.decisions.Delete(key)
			continue
		}
		now := make([]status.Decision, len(claims))
		for i, c := range claims {
			now[i] = m.election.decide(c)
		}
		SetDecisions(&m.decisions, key, now)
	}
}
