// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/source"
	"github.com/heraldlb/herald/status"
)

// peers adds the peers of the configuration in force, and those that agents know. Each has
// the sessions of all nodes.
func (b *builder) peers() {
	at := map[string]int{}
	add := func(name, address, asn, bfd string) *Peer {
		i, known := at[name]
		if !known {
			i, at[name] = len(b.t.Peers), len(b.t.Peers)
			b.t.Peers = append(b.t.Peers, Peer{Name: name, Address: address, ASN: asn, BFDProfile: bfd, Sessions: []Session{}})
		}
		return &b.t.Peers[i]
	}
	if b.s.Config != nil {
		for _, p := range b.s.Config.Peers {
			id := status.PeerID{Address: p.Address, Interface: p.Interface, VRF: p.VRF}
			add(p.Name, id.String(), asnOf(p.PeerASN, string(p.DynamicASN)), p.BFDProfile)
		}
	}
	for _, n := range b.t.Nodes {
		for _, p := range b.peerAt[n.Name] {
			address := ""
			if p.Address.IsValid() || p.Interface != "" { // else an object names it alone
				address = p.ID().String()
			}
			to := add(p.Name, address, asnOf(p.ASN, p.DynamicASN), p.BFDProfile)
			s := b.session(n, p)
			if to.Sessions = append(to.Sessions, s); s.Wanted {
				to.Wanted++
				if s.Up {
					to.Up++
				}
			}
		}
	}
	slices.SortFunc(b.t.Peers, func(x, y Peer) int { return strings.Compare(x.Name, y.Name) })
}

func asnOf(number uint32, dynamic string) string {
	if dynamic == "" && number == 0 {
		return "" // not known
	}
	return cmp.Or(dynamic, fmt.Sprint(number))
}

// session returns the session of a node with a peer.
func (b *builder) session(n Node, p status.Peer) Session {
	out := Session{Node: n.Name, From: FromRules, Wanted: p.Wanted}
	if !n.Agent.Running && n.Agent.Pod == "" {
		out.Wanted, out.Reason, out.Message = false, reasonNoAgent, n.Agent.Absence
		return out
	}
	if !p.Wanted {
		out.Reason, out.Message = p.Reason, p.Detail
	}
	if n.Agent.Asked {
		out.From = FromAgent
		if !p.Wanted {
			return out
		}
		s := p.Session
		out.Up, out.State, out.Sent, out.BFD, out.Details = s.Up(), string(s.State), s.PrefixesSent, s.BFD, s.Details
		if out.Up {
			out.Since = s.Since
			return out
		}
		out.Reason, out.Message, out.Last = s.Fault, cmp.Or(s.Diagnosis, s.LastError), s.LastError
		out.Since = s.DownSince
		// An agent before this one may have written since when it is down.
		if told := b.told(n.Name, p.Name); told != nil && !told.Up {
			out.Since = told.Since
			out.Reason, out.Message = cmp.Or(out.Reason, told.Reason), cmp.Or(out.Message, told.Message)
		}
		return out
	}
	told := b.told(n.Name, p.Name)
	if !p.Wanted || told == nil || !n.Agent.Running { // what an agent wrote before it ended says nothing
		return out
	}
	out.From, out.Up, out.Since, out.Reason, out.Message = FromObjects, told.Up, told.Since, told.Reason, told.Message
	return out
}

// told returns the session as the ConfigurationState of the node has it.
func (b *builder) told(node, peer string) *Session {
	for _, s := range b.states[node].Sessions {
		if s.Peer == peer {
			return &Session{Up: s.Up, Since: s.Since, Reason: s.Reason, Message: s.Message}
		}
	}
	return nil
}

// peerObject returns how a peer is named in a Problem.
func (b *builder) peerObject(name string) string {
	if b.ofResources() {
		return config.KindPeer + "/" + name
	}
	return "peer/" + name
}

// ofResources reports whether resources are in force, not a ConfigMap.
func (b *builder) ofResources() bool {
	return b.in.File == "" && b.loaded.Source() != source.SourceConfigMap
}
