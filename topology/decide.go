// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/status"
)

// maxSupposed is how many nodes have their decisions worked out in place of their agents. It
// takes about 15 ms for 5,000 Services on a node.
const maxSupposed = 50

// reasonAgentAbsent is the Reason of a Verdict of a node whose agent does not run.
const reasonAgentAbsent status.Reason = "AgentAbsent"

// nodes adds the Nodes with their agents. Agents on Nodes that could not be read count too.
func (b *builder) nodes() {
	b.agents, b.states, b.peerAt = map[string]AgentPod{}, map[string]AgentState{}, map[string][]status.Peer{}
	for _, s := range b.in.States {
		b.states[s.Node] = s
	}
	names := map[string]bool{}
	for _, n := range b.s.Nodes {
		names[n.Name] = true
	}
	for _, a := range b.in.Agents {
		if a.Node == "" {
			continue // no node would take it; a Problem says so
		}
		if known, ok := b.agents[a.Node]; !ok || known.Absence != "" && a.Absence == "" {
			b.agents[a.Node] = a // of a rollout's two pods the one that runs
		}
		names[a.Node] = true
	}
	for name := range names {
		b.t.Nodes = append(b.t.Nodes, b.node(name))
	}
	slices.SortFunc(b.t.Nodes, func(x, y Node) int { return strings.Compare(x.Name, y.Name) })
}

func (b *builder) node(name string) Node {
	out := Node{Name: name}
	if n := cluster.NodeOf(b.s.Nodes, name); n != nil {
		out.Addrs, out.Refusal = n.Addrs, announce.Refusal(*n, true, announce.Options{IgnoreExcludeLB: b.in.IgnoreExclude})
		if !n.Drain.IsZero() {
			out.Drain = n.Drain.String()
		}
		if n.DrainError != "" {
			out.Errors = append(out.Errors, n.DrainError)
		}
	} else if !b.in.unasked(KindNodes) {
		out.Refusal = status.NodeUnknown
	}
	if s, ok := b.states[name]; ok {
		out.Errors, out.Lacking, out.FRR = append(out.Errors, s.Errors...), s.Lacking, s.Failure
	}
	a, there := b.agents[name]
	switch {
	case there:
		out.Agent = Agent{Pod: a.Pod, Running: a.Absence == "", Absence: a.Absence, Asked: a.Report != nil}
	case b.in.unasked(KindPods):
		out.Agent.Running = true // as far as is known
	default:
		out.Agent.Absence = "no agent pod is on this node"
	}
	if a.Report != nil {
		out.addReport(*a.Report)
	}
	return out
}

// addReport adds what the agent says of its node.
func (n *Node) addReport(r status.Report) {
	n.Agent.Version, n.Agent.Started, n.Agent.Clock, n.Watches = r.Version, r.Started, r.Now, r.Watches
	if r.FRR != nil {
		n.FRRVersion, n.Daemons = r.FRR.Version, r.FRR.Processes
	}
	switch f := r.FRR; {
	case f == nil:
	case f.Error != "":
		n.FRR = f.Error
	case !f.Applied:
		n.FRR = cmp.Or(n.FRR, "FRR does not run the whole configuration yet")
	default:
		n.FRR = ""
	}
	if l := r.Layer2; l != nil {
		if l.Stale {
			n.Layer2 = "which agents are alive is not known"
		}
		for _, m := range l.Members {
			n.Members = append(n.Members, m.Node)
		}
		slices.Sort(n.Members)
	}
	if d := r.DataPlane; d != nil && !d.Healthy && d.Detail != "" {
		n.Proxy = d.Detail
	}
}

// decide adds to each Service what every node decides about it: as its agent says, else
// by the same functions.
func (b *builder) decide() {
	objects := map[string][]Announcement{} // by node
	owners := map[string]string{}          // by Service, a node that an object says answers for it
	for _, a := range b.in.Announced {
		if a.Protocol == status.BGP && len(a.Peers) == 0 {
			continue // no peer was sent the route
		}
		objects[a.Node] = append(objects[a.Node], a)
		if a.Protocol == status.Layer2 {
			owners[a.Service.String()] = a.Node
		}
	}
	voters := slices.DeleteFunc(slices.Clone(b.s.Nodes), func(n *cluster.Node) bool {
		a, there := b.agents[n.Name]
		return !b.in.unasked(KindPods) && (!there || a.Absence != "")
	})
	supposed, left := 0, 0
	for i := range b.t.Nodes {
		n := &b.t.Nodes[i]
		a := b.agents[n.Name]
		if a.Report == nil {
			supposed++
		}
		switch {
		case a.Report != nil:
			b.peerAt[n.Name] = a.Report.Peers
			b.hear(n, a.Report.Decisions)
		case supposed > maxSupposed && n.Name != b.in.About:
			left++
			b.peerAt[n.Name] = b.peersTold(n.Name)
			b.believe(n, objects[n.Name])
		case !n.Agent.Running:
			b.peerAt[n.Name] = b.suppose(n, nil, objects[n.Name], owners)
		default:
			b.peerAt[n.Name] = b.suppose(n, voters, objects[n.Name], owners)
		}
	}
	if left > 0 {
		b.t.Unasked = append(b.t.Unasked, Unasked{What: fmt.Sprintf("decisions of %d nodes", left), Error: fmt.Sprintf("without an agent's answer, those of %d nodes are worked out", maxSupposed)})
	}
	for i := range b.t.Services {
		s := &b.t.Services[i]
		slices.SortStableFunc(s.Verdicts, func(x, y Verdict) int {
			return cmp.Or(x.Addr.Compare(y.Addr), cmp.Compare(x.Protocol, y.Protocol), cmp.Compare(x.Nodes[0], y.Nodes[0]))
		})
		slices.SortFunc(s.Announcers, func(x, y Announcer) int {
			return cmp.Or(cmp.Compare(x.Protocol, y.Protocol), strings.Compare(x.Node, y.Node))
		})
	}
}

// hear adds the decisions of a node whose agent was asked.
func (b *builder) hear(n *Node, decisions []status.Decision) {
	last := ""
	for _, d := range decisions {
		b.add(n.Name, FromAgent, d)
		if !d.Announce || !d.Confirmed {
			continue
		}
		if last != d.Service {
			n.Services++
			last = d.Service
		}
		b.announcer(d.Service, Announcer{Node: n.Name, Protocol: d.Protocol, From: FromAgent, Peers: d.Sent, Interfaces: d.Interfaces})
	}
}

// believe adds what objects say that a node announces.
func (b *builder) believe(n *Node, objects []Announcement) {
	services := map[cluster.Key]bool{}
	for _, o := range objects {
		o.From = FromObjects
		services[o.Service] = true
		b.announcer(o.Service.String(), o.Announcer)
	}
	n.Services = len(services)
}

// peersTold returns the peers that a node has sessions with, as its ConfigurationState has
// them.
func (b *builder) peersTold(node string) (out []status.Peer) {
	if b.s.Config == nil {
		return nil
	}
	for _, p := range b.s.Config.Peers {
		if b.told(node, p.Name) != nil {
			out = append(out, status.Peer{
				Name: p.Name, Address: p.Address, Interface: p.Interface, VRF: p.VRF, ASN: p.PeerASN, DynamicASN: string(p.DynamicASN),
				BFDProfile: p.BFDProfile, Wanted: true, Reason: status.Configured,
			})
		}
	}
	return out
}

// suppose adds the decisions that a node makes by the rules, given the Nodes that take
// part in elections, and returns its peers. What objects say that it announces counts.
// Without such Nodes the node's own agent does not run.
func (b *builder) suppose(n *Node, voters []*cluster.Node, objects []Announcement, owners map[string]string) []status.Peer {
	b.believe(n, objects)
	if b.s.Config == nil {
		return nil
	}
	told := make(map[string]Announcer, len(objects))
	for _, o := range objects {
		told[o.Service.String()+" "+string(o.Protocol)] = o.Announcer
	}
	opts := announce.Options{
		Class: b.in.Class, IgnoreExcludeLB: b.in.IgnoreExclude, Layer2: true, Index: b.ads,
		Members: announce.Membership{Disabled: true},
	}
	desired := announce.BGP(b.s, n.Name, opts)
	alive := voters
	if alive == nil {
		alive = b.s.Nodes
	}
	for _, d := range slices.Concat(desired.Decisions, announce.Layer2(b.s, n.Name, b.membership(alive), opts).Decisions) {
		seen, is := told[d.Service+" "+string(d.Protocol)]
		owner := owners[d.Service]
		switch {
		case is:
			d.Announce, d.Confirmed, d.Reason, d.Detail, d.Sent = true, true, status.Announced, "", seen.Peers
		case voters == nil && (d.Announce || d.Reason == status.NotOwner):
			d = status.Decision{Service: d.Service, Addr: d.Addr, Protocol: d.Protocol, Reason: reasonAgentAbsent, Detail: n.Agent.Absence}
		case n.Drain != "" && d.Announce:
			d = status.Decision{Service: d.Service, Addr: d.Addr, Protocol: d.Protocol, Reason: status.NodeDraining}
		case d.Protocol != status.Layer2 || owner == "" || owner == n.Name:
		case d.Announce || d.Reason == status.NotOwner:
			d.Announce, d.Reason, d.Detail = false, status.NotOwner, "the owner is "+owner
		}
		b.add(n.Name, FromRules, d)
	}
	return desired.Peers
}

// membership returns that these nodes are alive, with the interfaces of advertisements that
// they do not lack.
func (b *builder) membership(alive []*cluster.Node) announce.Membership {
	var named []string
	for _, ad := range b.s.Config.L2Advertisements {
		named = append(named, ad.Interfaces...)
	}
	var out announce.Membership
	for _, n := range alive {
		lacking := b.states[n.Name].Lacking
		m := announce.Member{Node: n.Name, Interfaces: []string{"some"}}
		for _, name := range named {
			if !slices.Contains(lacking, name) {
				m.Interfaces = append(m.Interfaces, name)
			}
		}
		out.Members = append(out.Members, m)
	}
	return out
}

// add adds the decision of a node to those of others that decide alike.
func (b *builder) add(node, from string, d status.Decision) {
	i, ok := b.index[d.Service]
	if !ok {
		return // it has gone, or is newer than what was read
	}
	s := &b.t.Services[i]
	for k := range s.Verdicts {
		v := &s.Verdicts[k]
		if v.Addr == d.Addr && v.Protocol == d.Protocol && v.From == from && v.Announce == d.Announce && v.Confirmed == d.Confirmed &&
			v.Reason == d.Reason && v.Detail == d.Detail && slices.Equal(v.Peers, d.Peers) && slices.Equal(v.Sent, d.Sent) {
			v.Nodes = append(v.Nodes, node)
			if d.Since.After(v.Since) {
				v.Since = d.Since
			}
			return
		}
	}
	s.Verdicts = append(s.Verdicts, Verdict{
		Addr: d.Addr, Protocol: d.Protocol, Nodes: []string{node}, From: from, Announce: d.Announce, Confirmed: d.Confirmed,
		Reason: d.Reason, Detail: d.Detail, Peers: d.Peers, Sent: d.Sent, Since: d.Since,
	})
}

// announcer adds a node that announces a Service. Its addresses have one entry together.
func (b *builder) announcer(service string, a Announcer) {
	i, ok := b.index[service]
	if !ok {
		return
	}
	s := &b.t.Services[i]
	if k := len(s.Announcers) - 1; k >= 0 && s.Announcers[k].Node == a.Node {
		for ; k >= 0 && s.Announcers[k].Node == a.Node; k-- {
			if o := &s.Announcers[k]; o.Protocol == a.Protocol {
				o.Peers, o.Interfaces = union(o.Peers, a.Peers), union(o.Interfaces, a.Interfaces)
				return
			}
		}
	}
	s.Announcers = append(s.Announcers, a)
}

// union returns the names of both, sorted.
func union(a, b []string) []string {
	if len(b) == 0 || slices.Equal(a, b) {
		return a
	}
	out := slices.Concat(a, b)
	slices.Sort(out)
	return slices.Compact(out)
}

// lacks returns which part of an announced Service is not announced: peers that were not
// sent its route, nodes whose data plane does not serve it, addresses that nobody announces.
func lacks(s *Service) (out []string) {
	for _, v := range s.Verdicts {
		nodes := cluster.List(v.Nodes, ", ")
		missing := slices.DeleteFunc(slices.Clone(v.Peers), func(p string) bool { return slices.Contains(v.Sent, p) })
		switch {
		case v.Announce && v.Protocol == status.BGP && len(missing) > 0 && len(v.Peers) > 0:
			out = append(out, nodes+": not sent to "+cluster.List(missing, ", "))
		case v.Announce && v.Protocol == status.Layer2 && !v.Confirmed && v.From == FromAgent:
			out = append(out, nodes+": does not answer for "+v.Addr.String()+" yet")
		case v.Reason == status.DataPlaneNotReady || v.Reason == status.Conflict || v.Reason == reasonAgentAbsent && v.Protocol == status.BGP:
			out = append(out, nodes+": "+string(v.Reason)+": "+v.Detail)
		}
	}
	for _, a := range s.silent() {
		out = append(out, "no node announces "+a.Addr.String())
	}
	return slices.Compact(out)
}

// announcersText says which nodes announce a Service.
func announcersText(all []Announcer) string {
	var parts []string
	for _, p := range []struct {
		protocol status.Protocol
		to       string
	}{{status.BGP, " to "}, {status.Layer2, " on "}} {
		nodes, ends := map[string]bool{}, map[string]bool{}
		for _, a := range all {
			if a.Protocol != p.protocol {
				continue
			}
			nodes[a.Node] = true
			for _, name := range slices.Concat(a.Peers, a.Interfaces) {
				ends[name] = true
			}
		}
		if len(nodes) == 0 {
			continue
		}
		text := string(p.protocol) + " from " + cluster.ListSet(nodes)
		if len(ends) > 0 {
			text += p.to + cluster.ListSet(ends)
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "; ")
}
