// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"slices"
	"strings"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/status"
)

// degradedCure returns what to do about a Service that is announced in part, by the first
// part that is not, and the command to run next.
func (b *builder) degradedCure(s *Service) (cure, next string) {
	for _, v := range s.Verdicts {
		if v.Announce && v.Protocol == status.BGP {
			for _, peer := range without(v.Peers, v.Sent) {
				if cure, down := b.downCure(peer, v.Nodes); down {
					return cure, whyOf(SubjectPeer + peer)
				}
			}
		}
		if known, ok := decisionCure(v.Reason); ok && v.Reason != status.NodeNotSelected && !v.Announce {
			return known, whyOf(SubjectNode + v.Nodes[0])
		}
	}
	return "wait some seconds while it is being set up; then look at the nodes that are named", whyOf(s.Name)
}

// downCure returns what to do about the session of one of some nodes with a peer, and
// whether one is down.
func (b *builder) downCure(peer string, nodes []string) (cure string, down bool) {
	p, _ := b.t.Peer(peer)
	for _, x := range p.Sessions {
		if x.Wanted && !x.Up && x.From != FromRules && slices.Contains(nodes, x.Node) {
			_, cure := b.sessionCure(peer, x.Reason, x.Message)
			return "have the session with peer " + peer + " come up: " + cure, true
		}
	}
	return "", false
}

// unlabel returns the command that lets nodes announce again.
func (b *builder) unlabel() string {
	var nodes []string
	for _, n := range b.t.Nodes {
		if n.Refusal == status.NodeExcluded {
			nodes = append(nodes, quoted(n.Name))
		}
	}
	if len(nodes) == 0 || len(nodes) > 5 {
		return "kubectl get nodes -l " + announce.LabelExcludeNode
	}
	return "kubectl label nodes " + strings.Join(nodes, " ") + " " + announce.LabelExcludeNode + "-"
}

// sessionsCure returns what to do about a Service that could be announced and is not: of the
// agents and sessions that it depends on, what is down.
func (b *builder) sessionsCure(s *Service) (cure, next string) {
	if !slices.ContainsFunc(b.t.Nodes, func(n Node) bool { return n.Agent.Running }) {
		return "have the agents' pods start", b.kubectl("describe pods %s", agentPods)
	}
	peers := map[string]bool{}
	for _, v := range s.Verdicts {
		for _, p := range v.Peers {
			peers[p] = true
		}
	}
	var nodes []string
	for _, n := range b.t.Nodes {
		nodes = append(nodes, n.Name)
	}
	for _, p := range b.t.Peers {
		if cure, down := b.downCure(p.Name, nodes); down && peers[p.Name] {
			return cure, whyOf(SubjectPeer + p.Name)
		}
	}
	for _, v := range s.Verdicts {
		if v.Reason != status.Announced && v.Reason != status.NotOwner {
			if known, ok := decisionCure(v.Reason); ok {
				return known, whyOf(SubjectNode + v.Nodes[0])
			}
		}
	}
	return "look at the agents on the nodes that are to announce it", b.kubectl("logs %s -c agent --tail 50", agentPods)
}
