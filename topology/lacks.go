// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"slices"
	"strings"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/condition"
	"github.com/heraldlb/herald/status"
)

// lacks says of an announced Service which part of it is not announced: peers that were not
// sent its route, nodes that do not serve it, addresses that nobody announces. What is not
// known is said apart.
func (b *builder) lacks(s *Service) {
	for _, v := range s.Verdicts {
		nodes := cluster.List(v.Nodes, ", ")
		missing := without(v.Peers, v.Sent)
		switch {
		case v.Announce && v.Protocol == status.BGP && len(missing) > 0 && (v.From != FromRules || b.reported()):
			s.Lacks = append(s.Lacks, nodes+": not sent to "+cluster.List(missing, ", "))
		case v.Announce && v.Protocol == status.Layer2 && !v.Confirmed && v.From == FromAgent:
			s.Lacks = append(s.Lacks, nodes+": does not answer for "+v.Addr.String()+" yet")
		case v.Reason == status.DataPlaneNotReady || v.Reason == status.Conflict || v.Reason == status.ProbeFailed ||
			v.Reason == status.OtherLoadBalancer || v.Reason == reasonAgentAbsent && v.Protocol == status.BGP:
			s.Lacks = append(s.Lacks, strings.TrimSuffix(nodes+": "+string(v.Reason)+": "+v.Detail, ": "))
		}
	}
	var untold []string
	for _, a := range s.Addresses {
		switch known, is := b.announces(s, a); {
		case !known && len(s.Addresses) == 1: // that the Service is announced is known from elsewhere
		case !known:
			untold = append(untold, a.Addr.String())
		case !is:
			s.silent = true
			s.Lacks = append(s.Lacks, "no node announces "+a.Addr.String())
		}
	}
	s.Lacks = slices.Compact(s.Lacks)
	if len(untold) > 0 {
		s.Untold = []string{"whether " + strings.Join(untold, " and ") + " are announced: agents write what they announce of the Service, not of each address"}
	}
}

// announces returns whether a node was seen to announce an address of a Service, and whether
// that is known. An object is about all addresses of a Service together.
func (b *builder) announces(s *Service, a Address) (known, is bool) {
	for _, v := range s.Verdicts {
		if v.Addr == a.Addr && v.Confirmed {
			return true, true
		}
	}
	for _, v := range s.Verdicts {
		if v.Addr == a.Addr && v.Announce && v.From == FromObjects {
			return false, false
		}
	}
	judged := map[string]bool{}
	for _, v := range s.Verdicts {
		for _, n := range v.Nodes {
			judged[n] = true
		}
	}
	// Nodes that nobody judges count by what they have written.
	for _, o := range s.Announcers {
		if !judged[o.Node] {
			return len(s.Addresses) == 1, true
		}
	}
	return b.reported() && len(judged) > 0, false
}

// without returns the names that are not among others.
func without(names, others []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return slices.Contains(others, n) })
}

// announcersText says which nodes announce a Service, as the condition does.
func announcersText(all []Announcer) string {
	return condition.AnnouncersText(func(yield func(condition.Announcer) bool) {
		for _, a := range all {
			ends := a.Peers
			if a.Protocol == status.Layer2 {
				ends = a.Interfaces
			}
			if !yield(condition.Announcer{Node: a.Node, Protocol: a.Protocol, Ends: ends}) {
				return
			}
		}
	})
}
