// SPDX-License-Identifier: Apache-2.0

package page

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/topology"
)

// Kinds of what changes.
const (
	kindService    = "service"
	kindSession    = "session"
	kindNode       = "node"
	kindPool       = "pool"
	kindPeer       = "peer"
	kindController = "controller"
	kindConfig     = "configuration"
)

// maxAlike is how many changes of the same kind are listed one by one. More, as when a pool
// is switched, become one.
const maxAlike = 20

// various stands for values that differ among changes that became one.
const various = "various"

// A comparison collects the changes between two Topologies.
type comparison struct {
	at      time.Time
	changes []Change
	failing map[string]time.Time // Services, and since when
}

// compare returns the changes from one Topology to the next. It keeps in failing which
// Services do not work, and since when.
func compare(old, now topology.Topology, failing map[string]time.Time) []Change {
	c := &comparison{at: now.At, failing: failing}
	c.config(old, now)
	c.controllers(old, now)
	each(old.Pools, now.Pools, func(p topology.Pool) string { return p.Name }, c.pool)
	each(old.Peers, now.Peers, func(p topology.Peer) string { return p.Name }, c.peer)
	each(old.Nodes, now.Nodes, func(n topology.Node) string { return n.Name }, c.node)
	each(old.Services, now.Services, func(s topology.Service) string { return s.Name }, c.service)
	return merged(c.changes)
}

// each calls a function for each pair of things of the same name, and for those of one side.
func each[T any](old, now []T, name func(T) string, f func(old, now *T)) {
	at := make(map[string]int, len(old))
	for i := range old {
		at[name(old[i])] = i
	}
	for i := range now {
		key := name(now[i])
		if k, ok := at[key]; ok {
			f(&old[k], &now[i])
			delete(at, key)
		} else {
			f(nil, &now[i])
		}
	}
	for i := range old {
		if _, gone := at[name(old[i])]; gone {
			f(&old[i], nil)
		}
	}
}

func (c *comparison) add(x Change) {
	if x.At.IsZero() {
		x.At = c.at
	}
	c.changes = append(c.changes, x)
}

// differ adds a change if two texts differ.
func (c *comparison) differ(kind, subject, what, before, after string) {
	if before != after {
		c.add(Change{Kind: kind, Subject: subject, What: what, Before: before, After: after})
	}
}

func (c *comparison) config(old, now topology.Topology) {
	c.differ(kindConfig, "", "version in force", old.Config.Version, now.Config.Version)
	c.differ(kindConfig, "", "source", old.Config.Source, now.Config.Source)
	if before, after := old.Config.Error, now.Config.Error; before != after {
		c.add(Change{Kind: kindConfig, What: "error", Before: before, After: cmp.Or(after, "none"), Bad: after != "", Good: after == ""})
	}
}

func (c *comparison) controllers(old, now topology.Topology) {
	leader := func(t topology.Topology) string {
		for _, p := range t.Controllers {
			if p.Leading {
				return p.Pod
			}
		}
		return ""
	}
	c.differ(kindController, "", "leader", leader(old), leader(now))
}

func (c *comparison) pool(old, now *topology.Pool) {
	switch {
	case old == nil:
		c.add(Change{Kind: kindPool, Subject: now.Name, What: "pool", After: "in force"})
	case now == nil:
		c.add(Change{Kind: kindPool, Subject: old.Name, What: "pool", Before: "in force", After: "gone"})
	default:
		c.differ(kindPool, now.Name, "addresses", strings.Join(old.Addresses, ", "), strings.Join(now.Addresses, ", "))
		c.differ(kindPool, now.Name, "advertisements", strings.Join(old.Advertisements, ", "), strings.Join(now.Advertisements, ", "))
	}
}

func (c *comparison) peer(old, now *topology.Peer) {
	switch {
	case old == nil:
		c.add(Change{Kind: kindPeer, Subject: now.Name, What: "peer", After: "in force"})
		return
	case now == nil:
		c.add(Change{Kind: kindPeer, Subject: old.Name, What: "peer", Before: "in force", After: "gone"})
		return
	}
	each(old.Sessions, now.Sessions, func(s topology.Session) string { return s.Node }, func(before, after *topology.Session) {
		if before == nil || after == nil || !before.Wanted && !after.Wanted {
			return
		}
		x := Change{Kind: kindSession, Subject: after.Node + " → " + now.Name, What: "session", Before: sessionState(*before), After: sessionState(*after)}
		switch {
		case x.Before == x.After:
			return
		case after.Up:
			x.Good, x.At = true, after.Since
			if !before.Up && !before.Since.IsZero() && after.Since.After(before.Since) {
				x.Took = after.Since.Sub(before.Since).Seconds()
			}
		case x.After == sessionDown:
			x.Bad, x.At = true, after.Since
			x.Reason = cmp.Or(after.Message, string(after.Reason))
		default:
			x.Reason = cmp.Or(after.Message, string(after.Reason))
		}
		c.add(x)
	})
}

const sessionDown = "down"

func sessionState(s topology.Session) string {
	switch {
	case !s.Wanted:
		return "not wanted"
	case s.Up:
		return "up"
	case s.From == topology.FromRules:
		return "not known"
	}
	return sessionDown
}

func (c *comparison) node(old, now *topology.Node) {
	switch {
	case old == nil:
		c.add(Change{Kind: kindNode, Subject: now.Name, What: "node", After: "joined"})
		return
	case now == nil:
		c.add(Change{Kind: kindNode, Subject: old.Name, What: "node", Before: "there", After: "gone", Bad: true})
		return
	}
	if old.Agent.Running != now.Agent.Running {
		x := Change{Kind: kindNode, Subject: now.Name, What: "agent", Before: agentState(*old), After: agentState(*now), Bad: !now.Agent.Running, Good: now.Agent.Running}
		x.Reason = now.Agent.Absence
		c.add(x)
	}
	c.differ(kindNode, now.Name, "refusal", string(old.Refusal), string(now.Refusal))
	c.differ(kindNode, now.Name, "drain", old.Drain, now.Drain)
	c.differ(kindNode, now.Name, "FRR", old.FRR, now.FRR)
	c.differ(kindNode, now.Name, "layer 2", old.Layer2, now.Layer2)
	c.differ(kindNode, now.Name, "errors", strings.Join(old.Errors, "; "), strings.Join(now.Errors, "; "))
}

func agentState(n topology.Node) string {
	if n.Agent.Running {
		return "running"
	}
	return "not running"
}

func (c *comparison) service(old, now *topology.Service) {
	switch {
	case old == nil:
		c.add(Change{Kind: kindService, Subject: now.Name, What: "Service", After: stateText(now)})
		return
	case now == nil:
		delete(c.failing, old.Name)
		c.add(Change{Kind: kindService, Subject: old.Name, What: "Service", Before: stateText(old), After: "gone"})
		return
	}
	c.differ(kindService, now.Name, "addresses", addressesText(old), addressesText(now))
	if old.State != now.State {
		x := Change{Kind: kindService, Subject: now.Name, What: "state", Before: old.State, After: now.State}
		x.Bad, x.Good = illness[now.State] > illness[old.State], illness[now.State] < illness[old.State]
		if now.State != topology.StateAnnounced {
			x.Reason = reasonOf(now)
		}
		since, failed := c.failing[now.Name]
		switch {
		case illness[now.State] == 0 && failed:
			x.Took = c.at.Sub(since).Seconds()
			delete(c.failing, now.Name)
		case illness[now.State] > 0 && !failed:
			c.failing[now.Name] = c.at
		}
		c.add(x)
	}
	for _, protocol := range []status.Protocol{status.BGP, status.Layer2} {
		before, after := nodesOf(old, protocol), nodesOf(now, protocol)
		c.differ(kindService, now.Name, "announced by "+string(protocol)+" from", before, after)
	}
}

// illness says how bad the state of a Service is.
var illness = map[string]int{topology.StateDegraded: 1, topology.StateNoAddress: 2, topology.StateNotAnnounced: 2}

func stateText(s *topology.Service) string {
	if text := addressesText(s); text != "" {
		return s.State + ", " + text
	}
	return s.State
}

func addressesText(s *topology.Service) string {
	var out []string
	for _, a := range s.Addresses {
		out = append(out, a.Addr.String())
	}
	return strings.Join(out, ", ")
}

func reasonOf(s *topology.Service) string {
	switch {
	case s.State == topology.StateNoAddress:
		return cmp.Or(s.Assigned.Message, string(s.Assigned.Reason))
	case s.State == topology.StateDegraded:
		return cluster.List(s.Lacks, "; ")
	}
	return cmp.Or(s.Announced.Message, string(s.Announced.Reason))
}

func nodesOf(s *topology.Service, protocol status.Protocol) string {
	var out []string
	for _, a := range s.Announcers {
		if a.Protocol == protocol {
			out = append(out, a.Node)
		}
	}
	return cluster.List(out, ", ")
}

// merged makes one of changes that are alike, if there are many.
func merged(changes []Change) []Change {
	type likeness struct {
		kind, what string
		bad, good  bool
	}
	of := func(c Change) likeness { return likeness{c.Kind, c.What, c.Bad, c.Good} }
	count := map[likeness]int{}
	for _, c := range changes {
		count[of(c)]++
	}
	first := map[likeness]int{}
	var out []Change
	for _, c := range changes {
		key := of(c)
		n := count[key]
		if n <= maxAlike {
			out = append(out, c)
			continue
		}
		i, known := first[key]
		if !known {
			first[key] = len(out)
			c.Count, c.Subject = n, fmt.Sprintf("%s and %d others", c.Subject, n-1)
			out = append(out, c)
			continue
		}
		m := &out[i]
		m.Took = max(m.Took, c.Took)
		if m.Before != c.Before {
			m.Before = various
		}
		if m.After != c.After {
			m.After = various
		}
		if m.Reason != c.Reason {
			m.Reason = ""
		}
	}
	slices.SortStableFunc(out, func(a, b Change) int { return a.At.Compare(b.At) })
	return out
}
