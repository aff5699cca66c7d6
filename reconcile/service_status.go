// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"net/netip"
	"slices"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/condition"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/table"
)

// A ServiceStatus is a node that was seen to announce a Service over a protocol.
type ServiceStatus struct {
	Service    cluster.Key
	Node       string
	Protocol   status.Protocol
	Peers      []string // BGP: names of the peers that were sent a route, sorted
	Interfaces []string // layer 2: those that are answered on, sorted, where advertisements name any
}

// A ServiceStatusWriter publishes the ServiceStatuses of a node.
type ServiceStatusWriter interface {
	// Set replaces the function that returns them. It must not block. It may call the
	// function from any goroutine, and again later.
	Set(all func() ServiceStatuses)
	// Published reports whether those of a protocol are published. It must not block.
	Published(p status.Protocol) bool
}

// ServiceStatuses are those of a node by Service. They are read-only; while the list of a
// Service stays equal, it stays the same.
type ServiceStatuses = table.Table[cluster.Key, []ServiceStatus]

// SameStatuses reports whether two lists are equal; it is for table.Diff.
func SameStatuses(a, b []ServiceStatus) bool { return slices.EqualFunc(a, b, ServiceStatus.Equal) }

// Equal reports whether both are the same.
func (s ServiceStatus) Equal(o ServiceStatus) bool {
	return s.Service == o.Service && s.Node == o.Node && s.Protocol == o.Protocol &&
		slices.Equal(s.Peers, o.Peers) && slices.Equal(s.Interfaces, o.Interfaces)
}

// Seen is what a pass of an agent has decided, and how to see the effect. The zero Seen
// announces nothing.
type Seen struct {
	Node      string
	Decisions announce.Decisions
	Peers     []status.Peer
	Sent      SentRoutes
	Answered  Answered
}

// ServiceStatuses returns what a node was seen to announce, by Service and
// protocol. An address that another node is elected for meanwhile belongs to that node. A
// route that was sent to no peer counts for no node.
func (s Seen) ServiceStatuses() (out []ServiceStatus) {
	for key := range s.Decisions.All() {
		out = append(out, s.of(key)...)
	}
	return out
}

// of returns the same about one Service.
func (s Seen) of(key cluster.Key) (out []ServiceStatus) {
	decisions, _ := s.Decisions.Get(key)
	confirmed := status.Report{Decisions: decisions, Peers: s.Peers}
	confirmed.Confirm(func(route netip.Prefix) []status.PeerID {
		peers, _ := s.Sent.Get(route)
		return peers
	})
	for _, d := range confirmed.Decisions {
		layer2 := d.Protocol == status.Layer2 && d.Reason != status.HandingOver && s.answers(d.Addr)
		if !d.Announce || !layer2 && len(d.Sent) == 0 {
			continue
		}
		i := slices.IndexFunc(out, func(o ServiceStatus) bool { return o.Protocol == d.Protocol })
		if i < 0 {
			i = len(out)
			out = append(out, ServiceStatus{Service: key, Node: s.Node, Protocol: d.Protocol})
		}
		one := &out[i]
		if layer2 {
			one.Interfaces = union(one.Interfaces, s.answeredOn(d))
		} else {
			one.Peers = union(one.Peers, d.Sent)
		}
	}
	return out
}

// answers reports whether the node was seen to answer for an address.
func (s Seen) answers(addr netip.Addr) bool {
	_, ok := s.Answered.Get(addr)
	return ok
}

// answeredOn returns the interfaces of a decision that its address is really
// answered on.
func (s Seen) answeredOn(d status.Decision) []string {
	if len(d.Interfaces) == 0 {
		return nil
	}
	on, _ := s.Answered.Get(d.Addr)
	return slices.DeleteFunc(slices.Clone(on), func(name string) bool { return !slices.Contains(d.Interfaces, name) })
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

// Announcers returns as text which nodes announce a Service, given all of its statuses, see
// condition.AnnouncersText.
func Announcers(of []ServiceStatus) string {
	return condition.AnnouncersText(func(yield func(condition.Announcer) bool) {
		for _, s := range of {
			ends := s.Peers
			if s.Protocol == status.Layer2 {
				ends = s.Interfaces
			}
			if !yield(condition.Announcer{Node: s.Node, Protocol: s.Protocol, Ends: ends}) {
				return
			}
		}
	})
}
