// SPDX-License-Identifier: Apache-2.0

package members

import "net/netip"

// A State is what a node says of itself to all others.
type State struct {
	Leaving    bool         // it stops soon; the others are to take over while it still answers
	Interfaces []string     // names of those it can answer on
	MACs       []MAC        // hardware addresses of those
	Held       []netip.Addr // announced: its gratuitous packets are out, or it has answered
}

// A MAC is an Ethernet address.
type MAC = [6]byte

// A View is who is alive as one agent sees it. It is immutable: whoever holds
// one may share it.
type View struct {
	Generation uint64   // differs between views with other Members or Gaps
	Stale      bool     // see List.Stale
	Gaps       int      // times that the agent did not run for a while; after each, announce everything anew
	Members    []Member // alive, by name; the node itself is one of them
	Departed   []Member // not alive any more, by name, with what they said last; they are forgotten in time
	Asked      bool     // somebody wants to know what this node has sent: see List.SetSent
}

// A Member is a node whose agent is alive.
type Member struct {
	Name   string
	Damped bool // it came and went too often to own an address
	State       // its slices are sorted

	Answered bool   // this node asks, and it has said what it has sent
	Sent     []Sent // that; nobody may change it
}

// Alive returns the names of the members, sorted.
func (v View) Alive() []string {
	out := make([]string, len(v.Members))
	for i, m := range v.Members {
		out[i] = m.Name
	}
	return out
}

// Held returns who has announced which address, the names sorted.
func (v View) Held() map[netip.Addr][]string {
	out := map[netip.Addr][]string{}
	for _, m := range v.Members {
		for _, a := range m.Held {
			out[a] = append(out[a], m.Name)
		}
	}
	return out
}
