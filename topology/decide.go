// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/status"
)

// maxSupposed is how many nodes have their decisions worked out in place of their agents. It
// takes about 15 ms for 5,000 Services on a node.
const maxSupposed = 50

// Reasons of Verdicts of nodes without an agent.
const (
	reasonAgentAbsent status.Reason = "AgentAbsent" // its pod does not run
	reasonNoAgent     status.Reason = "NoAgent"     // it has no pod: it may not be meant to announce
)

// decide adds to each Service what every node decides about it: as its agent says, else
// by the same functions.
func (b *builder) decide() {
	objects := map[string][]Announcement{} // by node
	owners := map[string][]string{}        // by Service, the nodes that were seen to answer for it
	runs := map[string]bool{}
	for _, n := range b.t.Nodes {
		runs[n.Name] = n.Agent.Running
		if r := b.agents[n.Name].Report; r != nil {
			for _, d := range r.Decisions {
				if d.Protocol == status.Layer2 && d.Announce && d.Confirmed {
					owners[d.Service] = append(owners[d.Service], n.Name)
				}
			}
		}
	}
	for _, a := range b.in.Announced {
		switch {
		case !runs[a.Node]:
			continue // what an agent wrote before it ended says nothing
		case a.Protocol == status.BGP && len(a.Peers) == 0:
			continue // no peer was sent the route
		}
		objects[a.Node] = append(objects[a.Node], a)
		if a.Protocol == status.Layer2 && b.agents[a.Node].Report == nil {
			owners[a.Service.String()] = append(owners[a.Service.String()], a.Node)
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
		case !b.rules():
			b.peerAt[n.Name] = b.peersTold(n.Name)
			b.believe(n, objects[n.Name])
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
	for _, s := range b.states[node].Sessions {
		peer := status.Peer{Name: s.Peer, Wanted: true, Reason: status.Configured}
		if p := b.peerOf(s.Peer); p != nil {
			peer = status.Peer{
				Name: p.Name, Address: p.Address, Interface: p.Interface, VRF: p.VRF, ASN: p.PeerASN, DynamicASN: string(p.DynamicASN),
				BFDProfile: p.BFDProfile, Wanted: true, Reason: status.Configured,
			}
		}
		out = append(out, peer)
	}
	return out
}

// peerOf returns a peer of the configuration in force; nil if there is none of that name.
func (b *builder) peerOf(name string) *config.Peer {
	if b.s.Config == nil {
		return nil
	}
	i := slices.IndexFunc(b.s.Config.Peers, func(p config.Peer) bool { return p.Name == name })
	if i < 0 {
		return nil
	}
	return &b.s.Config.Peers[i]
}

// suppose adds the decisions that a node makes by the rules, given the Nodes that take
// part in elections, and returns its peers. What objects say that it announces counts.
// Without such Nodes the node's own agent does not run.
func (b *builder) suppose(n *Node, voters []*cluster.Node, objects []Announcement, owners map[string][]string) []status.Peer {
	b.believe(n, objects)
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
	decisions := slices.Concat(desired.Decisions, announce.Layer2(b.s, n.Name, b.membership(alive), opts).Decisions)
	may := make(map[string]int, len(decisions)) // how many addresses of Services the rules have it announce
	for _, d := range decisions {
		if d.Announce || d.Reason == status.NotOwner {
			may[d.Service+" "+string(d.Protocol)]++
		}
	}
	for _, d := range decisions {
		key := d.Service + " " + string(d.Protocol)
		seen, is := told[key]
		from := FromRules
		switch rule := d.Announce || d.Reason == status.NotOwner; {
		case is && (rule || may[key] == 0):
			from = FromObjects
			d.Announce, d.Reason, d.Detail, d.Sent = true, status.Announced, "", seen.Peers
			d.Confirmed = may[key] == 1 || b.addressesOf(d.Service) == 1
		case voters == nil && rule:
			d = status.Decision{Service: d.Service, Addr: d.Addr, Protocol: d.Protocol, Reason: reasonNoAgent, Detail: n.Agent.Absence}
			if n.Agent.Pod != "" {
				d.Reason = reasonAgentAbsent
			}
		case n.Drain != "" && d.Announce:
			d = status.Decision{Service: d.Service, Addr: d.Addr, Protocol: d.Protocol, Reason: status.NodeDraining}
		case d.Protocol == status.Layer2 && rule && len(owners[d.Service]) > 0:
			d.Announce, d.Reason, d.Detail = false, status.NotOwner, "the owner is "+cluster.List(owners[d.Service], ", ")
		}
		b.add(n.Name, from, d)
	}
	return desired.Peers
}

// addressesOf returns how many addresses a Service has.
func (b *builder) addressesOf(service string) int {
	i, ok := b.index[service]
	if !ok {
		return 0
	}
	return len(b.t.Services[i].Addresses)
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
			v.Reason == d.Reason && v.Detail == d.Detail && v.Last == d.Last && slices.Equal(v.Peers, d.Peers) && slices.Equal(v.Sent, d.Sent) && slices.Equal(v.Routes, d.Routes) {
			v.Nodes = append(v.Nodes, node)
			if d.Since.After(v.Since) {
				v.Since = d.Since
			}
			return
		}
	}
	s.Verdicts = append(s.Verdicts, Verdict{
		Addr: d.Addr, Protocol: d.Protocol, Nodes: []string{node}, From: from, Announce: d.Announce, Confirmed: d.Confirmed,
		Reason: d.Reason, Detail: d.Detail, Peers: d.Peers, Sent: d.Sent, Since: d.Since, Last: d.Last, Routes: d.Routes,
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
