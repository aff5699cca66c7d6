// SPDX-License-Identifier: Apache-2.0

package members

import (
	"cmp"
	"net/netip"
	"time"
)

// A State is what a node publishes about itself.
type State struct {
	Leaving    bool         // it stops soon: the others take over while it still answers
	Interfaces []string     // names of its suitable interfaces
	MACs       []MAC        // hardware addresses of those
	Held       []netip.Addr // announced: gratuitous packets were sent, or a request was answered
	Faults     []Fault      // probes that are not answered on the node; see List.SetFaults
	Judged     bool         // Faults has all of them; else what it lacks says nothing
}

// A Fault is a probe that is not answered on a node.
type Fault struct {
	Addr    netip.Addr // that is probed
	Digest  uint32     // of how
	Unknown bool       // it has no verdict yet; else it fails
}

func (f Fault) compare(o Fault) int {
	switch c := cmp.Or(f.Addr.Compare(o.Addr), cmp.Compare(f.Digest, o.Digest)); {
	case c != 0 || f.Unknown == o.Unknown:
		return c
	case o.Unknown:
		return -1
	}
	return 1
}

// A MAC is an Ethernet address.
type MAC = [6]byte

// A View is the members as one agent sees them. It is immutable and may be shared.
type View struct {
	Generation uint64   // differs between views with other Members or Gaps
	Stale      bool     // see List.Stale
	Gaps       int      // times that the agent did not run for a while; after each, announce everything again
	Members    []Member // alive, sorted by name, including the node itself
	Departed   []Member // no longer alive, sorted by name, with their last State; they are dropped in time
	Asked      bool     // another node asks which routes this node has sent: see List.SetSent
}

// A Member is a node whose agent is alive.
type Member struct {
	Name   string
	Damped bool // it flaps, and owns no address for a while
	State       // its slices are sorted

	Lost time.Time // of those that departed: their last sign of life; zero: they said goodbye

	Answered bool   // this node asks, and the member has answered
	Sent     []Sent // its answer; read-only
}

// Alive returns the names of the members, sorted.
func (v View) Alive() []string {
	out := make([]string, len(v.Members))
	for i, m := range v.Members {
		out[i] = m.Name
	}
	return out
}

// Held returns the members that have announced each address, sorted by name.
func (v View) Held() map[netip.Addr][]string {
	out := map[netip.Addr][]string{}
	for _, m := range v.Members {
		for _, a := range m.Held {
			out[a] = append(out[a], m.Name)
		}
	}
	return out
}
