// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/status"
)

// Reasons of the condition Programmed, as the controller writes them.
const (
	reasonPending   = "Pending"
	reasonNodeError = "NodeError"
	reasonDataPlane = "DataPlane"
)

// pendingFor is how long agents may take until they say that a resource is in force.
const pendingFor = 30 * time.Second

func (b *builder) resourceProblems() {
	for _, o := range b.in.Resources {
		b.unprogrammed(o.ID)
	}
	judged := map[config.ID]bool{}
	for _, v := range b.loaded.Verdicts {
		if b.part {
			break // it may refer to what could not be read
		}
		judged[v.ID] = true
		edit := b.ofResource("edit", v.ID)
		said, refused := b.in.Refused[v.ID]
		refused = refused && !put(said.Reason)
		switch {
		case put(v.Reason):
			continue // the configuration's notice says so
		case !v.Accepted:
			b.problem(Problem{ID: v.Reason, Severity: Error, Cause: cmp.Or(said.Message, v.Message), Next: edit}, v.ID.String())
			continue
		case refused:
			b.problem(Problem{ID: said.Reason, Severity: Error, Cause: said.Message, Next: edit}, v.ID.String())
			continue
		}
		b.referenceProblems(v, edit)
	}
	for _, id := range slices.SortedFunc(maps.Keys(b.in.Refused), config.ID.Compare) {
		if said := b.in.Refused[id]; !judged[id] && !put(said.Reason) {
			b.problem(Problem{ID: said.Reason, Severity: Error, Cause: said.Message, Next: b.ofResource("edit", id)}, id.String())
		}
	}
}

// put reports whether an object is not in force because somebody wants that.
func put(verdict string) bool {
	return verdict == config.VerdictIgnored || verdict == config.VerdictDeleted
}

// referenceProblems are about what a resource in force refers to.
func (b *builder) referenceProblems(v config.Verdict, edit string) {
	object := v.ID.String()
	empty := v.Empty
	if v.Kind != config.KindPeer && len(b.s.Nodes) > 0 && !slices.ContainsFunc(b.s.Nodes, func(n *cluster.Node) bool { return config.AnyMatches(v.Nodes, n.Labels) }) {
		empty = append(slices.Clip(empty), fmt.Sprintf("nodeSelectors match 0 of %d nodes", len(b.s.Nodes)))
	}
	if len(v.Missing) > 0 {
		b.problem(Problem{ID: ProblemRefs, Severity: Error, Cause: strings.Join(v.Missing, "; "), Next: edit}, object)
	}
	for _, name := range v.Interfaces {
		if b.nowhere(name) {
			b.problem(Problem{ID: ProblemRefs, Severity: Error, Cause: fmt.Sprintf("no node has an interface %q that layer 2 can use", name),
				Cure: "correct spec.interfaces, or bring the interface up, with an address, on the nodes", Next: edit}, object)
		}
	}
	if len(empty) > 0 {
		b.problem(Problem{ID: ProblemRefs, Severity: Warning, Cause: strings.Join(empty, "; "), Cure: "correct the selectors, or label what they are to match", Next: edit}, object)
	}
	for _, note := range v.Notes {
		p := Problem{ID: ProblemUnlikely, Severity: Warning, Cause: note, Cure: "correct it, unless it is meant", Next: edit}
		switch {
		case slices.Contains(empty, note) || slices.ContainsFunc(v.Missing, func(m string) bool { return strings.HasPrefix(m, note) }):
			continue
		case v.Kind == config.KindPool && strings.HasPrefix(note, "no advertisement selects it"):
			if b.unadvertised(v.Name) {
				continue // Services say so
			}
			p.Cure, p.Next = "create a BGPAdvertisement or L2Advertisement that selects it", b.kubectl("get %s,%s", plural(config.KindBGPAdvertisement), plural(config.KindL2Advertisement))
		}
		b.problem(p, object)
	}
}

// unadvertised reports whether a Service is not announced because its pool has no
// advertisement.
func (b *builder) unadvertised(pool string) bool {
	return slices.ContainsFunc(b.t.Services, func(s Service) bool {
		return s.State == StateNotAnnounced && s.Announced.Reason == status.NoAdvertisement &&
			slices.ContainsFunc(s.Addresses, func(a Address) bool { return a.Pool == pool })
	})
}

// unprogrammed adds that a resource is not in force on all nodes, as the leading controller
// says. It compares what agents write, of which a Problem of their nodes may say more.
func (b *builder) unprogrammed(id config.ID) {
	said, is := b.in.Unprogrammed[id]
	if !is {
		return
	}
	p := Problem{ID: ProblemProgrammed, Severity: Error, Cause: "it is not in force on all nodes: " + said.Message, Next: b.kubectl("get configurationstates." + config.ResourceGroup)}
	switch said.Reason {
	case reasonPending:
		if said.Since.IsZero() || b.in.At.Sub(said.Since) < pendingFor {
			return
		}
		p.Severity = Warning
		p.Cure = "look at the agents that have not said so"
	case reasonNodeError:
		if slices.ContainsFunc(b.t.Nodes, func(n Node) bool {
			return slices.ContainsFunc(n.Errors, func(e string) bool { return strings.HasPrefix(e, id.String()+": ") })
		}) {
			return
		}
		p.Cure = "change what the message names, or select other nodes"
	case reasonDataPlane:
		if slices.ContainsFunc(b.t.Nodes, func(n Node) bool { return n.FRR != "" }) {
			return
		}
		p.Cure = "look at FRR on the nodes that the message names"
	default:
		return // not accepted: that is a Problem of its own
	}
	b.problem(p, id.String())
}
