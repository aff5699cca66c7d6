// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"maps"
	"slices"
	"strings"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/status"
)

// shownNames is how many names of a kind Words lists at most.
const shownNames = 5

// A ServiceStatus says that a node was seen to announce a Service over a
// protocol.
type ServiceStatus struct {
	Service    cluster.Key
	Node       string
	Protocol   status.Protocol
	Peers      []string // BGP: names of the peers that were sent a route, sorted
	Interfaces []string // layer 2: those that are answered on, sorted, where advertisements name any
}

// ServiceStatuses returns what a node was seen to announce, by Service and
// protocol. An address that another node is elected for meanwhile is that node's,
// and routes that no peer was sent are nobody's.
func ServiceStatuses(r status.Report) []ServiceStatus {
	type id struct {
		service  string
		protocol status.Protocol
	}
	var out []ServiceStatus
	index := map[id]int{}
	for _, d := range r.Decisions {
		layer2 := d.Protocol == status.Layer2 && d.Confirmed && d.Reason != status.HandingOver
		if !d.Announce || !layer2 && len(d.Sent) == 0 {
			continue
		}
		i, known := index[id{d.Service, d.Protocol}]
		if !known {
			i = len(out)
			index[id{d.Service, d.Protocol}] = i
			namespace, name, _ := strings.Cut(d.Service, "/")
			out = append(out, ServiceStatus{Service: cluster.Key{Namespace: namespace, Name: name}, Node: r.Node, Protocol: d.Protocol})
		}
		s := &out[i]
		if layer2 {
			s.Interfaces = union(s.Interfaces, answeredOn(r.Layer2, d))
		} else {
			s.Peers = union(s.Peers, d.Sent)
		}
	}
	return out
}

// answeredOn returns the interfaces of a decision that its address is really
// answered on.
func answeredOn(n *status.Network, d status.Decision) []string {
	if n == nil || len(d.Interfaces) == 0 {
		return nil
	}
	var out []string
	for _, a := range n.Addresses {
		if a.Addr != d.Addr {
			continue
		}
		for _, p := range a.On {
			if (p.Phase == "Announced" || p.Phase == "Quiet") && slices.Contains(d.Interfaces, p.Interface) {
				out = append(out, p.Interface)
			}
		}
	}
	return out
}

// union returns the names of both, sorted.
func union(a, b []string) []string {
	if len(b) == 0 {
		return a
	}
	out := slices.Concat(a, b)
	slices.Sort(out)
	return slices.Compact(out)
}

// Words says who announces a Service, given all there is to say of it; nothing if
// nobody does. However many nodes and peers there are, it is short.
func Words(of []ServiceStatus) string {
	var parts []string
	for _, p := range []struct {
		protocol  status.Protocol
		direction string
	}{{status.BGP, " to "}, {status.Layer2, " on "}} {
		nodes, ends := map[string]bool{}, map[string]bool{}
		for _, s := range of {
			if s.Protocol != p.protocol || p.protocol == status.BGP && len(s.Peers) == 0 {
				continue
			}
			nodes[s.Node] = true
			for _, name := range slices.Concat(s.Peers, s.Interfaces) {
				ends[name] = true
			}
		}
		if len(nodes) == 0 {
			continue
		}
		text := string(p.protocol) + " from " + someOf(nodes)
		if len(ends) > 0 {
			text += p.direction + someOf(ends)
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "; ")
}

// someOf lists names in order, and says how many it leaves out.
func someOf(names map[string]bool) string {
	return clipList(slices.Sorted(maps.Keys(names)), ", ")
}
