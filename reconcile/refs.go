// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/condition"
	"github.com/heraldlb/herald/config"
)

// Reasons of the condition ResolvedRefs of a resource.
const (
	ReasonResolvedRefs = "ResolvedRefs"   // the condition is True
	ReasonRefNotFound  = "RefNotFound"    // a pool, peer, community, BFD profile, Secret or interface does not exist
	ReasonSelectsNone  = "SelectsNothing" // selectors match no pool or no node
)

// Reasons of the events about what a resource refers to.
const (
	EventRefsUnresolved = "RefsUnresolved"  // warning: the condition ResolvedRefs is False, or for another cause
	EventRefsResolved   = "RefsResolved"    // it was False
	EventUnadvertised   = "NoAdvertisement" // warning: no advertisement selects the pool
)

// Refs are the references of a resource that do not resolve, and its selectors that match
// nothing. They compare with reflect.DeepEqual and cmp.
type Refs struct {
	Missing    []string // what does not exist, one sentence each
	Empty      []string // which selectors match nothing, likewise
	Interfaces []string // of an L2Advertisement: those it names
}

// resolveRefs judges each resource that refers to something. Without a Reach the Nodes are
// not known, and are not judged.
func resolveRefs(verdicts []config.Verdict, r *condition.Reach) map[config.ID]Refs {
	out := map[config.ID]Refs{}
	for _, v := range verdicts {
		if !v.Refers {
			continue
		}
		refs := Refs{Missing: v.Missing, Empty: v.Empty, Interfaces: v.Interfaces}
		if r != nil && len(r.Nodes) > 0 && !slices.ContainsFunc(r.Nodes, func(n *cluster.Node) bool { return config.AnyMatches(v.Nodes, n.Labels) }) {
			refs.Empty = append(slices.Clip(refs.Empty), fmt.Sprintf("nodeSelectors match 0 of %d nodes", len(r.Nodes)))
		}
		out[v.ID] = refs
	}
	return out
}

// A ResolvedRefs is the content of the condition of that name.
type ResolvedRefs struct {
	True    bool
	Reason  string
	Message string
}

// Resolve returns the condition; nowhere reports whether no node has an interface.
func (r Refs) Resolve(nowhere func(iface string) bool) ResolvedRefs {
	missing := r.Missing
	for _, name := range r.Interfaces {
		if nowhere(name) {
			missing = append(slices.Clip(missing), fmt.Sprintf("no node has an interface %q that layer 2 can use", name))
		}
	}
	out := ResolvedRefs{Reason: ReasonRefNotFound, Message: strings.Join(slices.Concat(missing, r.Empty), "; ")}
	switch {
	case len(missing) > 0:
	case len(r.Empty) > 0:
		out.Reason = ReasonSelectsNone
	default:
		out = ResolvedRefs{True: true, Reason: ReasonResolvedRefs, Message: "all that it refers to exists"}
	}
	return out
}

// lackingInterfaces returns the interfaces that advertisements name and that a node
// cannot answer on, sorted. While it is not known which it can answer on, it lacks
// none.
func lackingInterfaces(c *config.Config, node string, m announce.Membership) []string {
	i := slices.IndexFunc(m.Members, func(m announce.Member) bool { return m.Node == node })
	if c == nil || m.Disabled || i < 0 || len(m.Members[i].Interfaces) == 0 {
		return nil
	}
	var out []string
	for _, ad := range c.L2Advertisements {
		for _, name := range ad.Interfaces {
			if !slices.Contains(m.Members[i].Interfaces, name) {
				out = append(out, name)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
