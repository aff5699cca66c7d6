// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/heraldlb/herald/alloc"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/condition"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/status"
)

// poolProblems are that a pool has no address for a Service that waits for one of it.
func (b *builder) poolProblems() {
	for _, p := range b.t.Pools {
		object := "pool/" + p.Name
		if b.ofResources() {
			object = config.KindPool + "/" + p.Name
		}
		for _, family := range []struct {
			name string
			is4  bool
		}{{"IPv4", true}, {"IPv6", false}} {
			if p.full(family.is4) && b.awaited(p) {
				b.problem(Problem{ID: ProblemPoolFull, Severity: Warning, Cause: "it has no free " + family.name + " address: " + p.Usage(family.is4) + " in use",
					Next: whyOf(SubjectPool + p.Name)}, object)
			}
		}
	}
}

// awaited reports whether a Service has no address because a pool that it may use is full.
func (b *builder) awaited(p Pool) bool {
	return slices.ContainsFunc(b.t.Services, func(s Service) bool { return b.t.awaits(s, p) })
}

// awaits reports whether a Service lacks an address that it would take of a pool.
func (t Topology) awaits(s Service, p Pool) bool {
	return s.State != StateOther && s.Assigned.Reason == status.Reason(alloc.PoolExhausted) && !s.Assigned.True && strings.Contains(s.Assigned.Message, "pool "+p.Name+":")
}

// Share says in short how many addresses of a family are taken: "3/11".
func (p Pool) Share(is4 bool) string {
	text := strings.Replace(p.Usage(is4), " of ", "/", 1)
	if before, more, is := strings.Cut(text, ", "); is {
		text = before + " (" + more + ")"
	}
	if p.full(is4) {
		text += " FULL"
	}
	return text
}

// Usage says how many addresses of a family are used: "3 of 11".
func (p Pool) Usage(is4 bool) string {
	total, used, reserved, held := p.TotalV6, p.InUseV6, p.ReservedV6, p.RetainedV6
	if is4 {
		total, used, reserved, held = p.TotalV4, p.InUseV4, p.ReservedV4, p.RetainedV4
	}
	if total == nil || total.Sign() == 0 {
		return ""
	}
	text := fmt.Sprintf("%d of %s", used, status.Size(total))
	if reserved > 0 {
		text += fmt.Sprintf(", %d reserved", reserved)
	}
	if held > 0 {
		text += fmt.Sprintf(", %d held", held)
	}
	return text
}

func (b *builder) serviceProblems() {
	for i := range b.t.Services {
		s := &b.t.Services[i]
		if s.State == StateOther {
			continue
		}
		object, next := "Service/"+s.Name, whyOf(s.Name)
		if s.Annotations != "" {
			b.problem(Problem{ID: ProblemAnnotation, Severity: Warning, Cause: s.Annotations, Cure: "correct the name of the annotation", Next: ofService("edit", s.Name)}, object)
		}
		switch {
		case s.State == StateNoAddress && s.Assigned.True:
			p := Problem{ID: string(status.NoAddress), Severity: Warning, Cause: "the controller has not written the address yet: " + s.Assigned.Message,
				Cure: "wait a moment; then look at the controllers", Next: next}
			if !b.in.unasked(KindPods) && !b.ready() {
				p.Severity, p.Cause, p.Cure = Error, "no controller is ready that gives it an address: "+s.Assigned.Message, "have a controller start"
			}
			b.problem(p, object)
		case s.State == StateNoAddress && s.Assigned.Reason == "":
		case s.State == StateNoAddress:
			b.problem(Problem{ID: string(s.Assigned.Reason), Severity: Error, Cause: "no address: " + s.Assigned.Message, Cure: b.addressCure(s), Next: next}, object)
		case !s.Assigned.True && s.Assigned.Reason != "" && !s.Assigned.Pending:
			b.problem(Problem{ID: string(s.Assigned.Reason), Severity: Warning, Cause: "it keeps its address, but: " + s.Assigned.Message, Next: next}, object)
		}
		switch s.State {
		case StateNotAnnounced:
			cure, next := b.announcedCure(s)
			b.problem(Problem{ID: string(s.Announced.Reason), Severity: Error, Cause: "not announced: " + b.because(s), Cure: cure, Next: next}, object)
		case StateDegraded:
			severity := Warning
			if s.silent {
				severity = Error
			}
			cure, next := b.degradedCure(s)
			b.problem(Problem{ID: ProblemDegraded, Severity: severity, Cause: "announced, but not by all: " + cluster.List(s.Lacks, "; "), Cure: cure, Next: next}, object)
		}
		b.ownerProblems(s, object)
	}
}

// ownerProblems are that several nodes answer for an address on layer 2, or that the last
// node that announces it drains.
func (b *builder) ownerProblems(s *Service, object string) {
	owners := map[netip.Addr][]string{}
	for _, v := range s.Verdicts {
		if v.Last {
			b.problem(Problem{ID: string(status.NodeDraining), Severity: Warning, Cause: fmt.Sprintf("%s drains and keeps %s: no other node was seen to announce it", cluster.List(v.Nodes, ", "), v.Addr),
				Cure: "have another node announce it, or undrain the node", Next: whyOf(SubjectNode + v.Nodes[0])}, object)
		}
		// A node that hands an address over answers for it a moment longer.
		if v.Protocol == status.Layer2 && v.Announce && v.Confirmed && v.Reason == status.Announced {
			owners[v.Addr] = append(owners[v.Addr], v.Nodes...)
		}
	}
	for _, a := range s.Addresses {
		if nodes := owners[a.Addr]; len(nodes) > 1 {
			slices.Sort(nodes)
			b.problem(Problem{ID: ProblemSplitBrain, Severity: Error, Cause: fmt.Sprintf("%s all answer for %s on layer 2: clients reach one or the other", cluster.List(nodes, ", "), a.Addr),
				Cure: b.gossipCure(), Next: whyOf(SubjectNode + nodes[0])}, object)
		}
	}
}

// addressCure returns what to do about a Service without an address.
func (b *builder) addressCure(s *Service) string {
	if s.Assigned.Reason != status.Reason(alloc.PoolUnknown) {
		return ""
	}
	var names []string
	for _, p := range b.t.Pools {
		names = append(names, p.Name)
	}
	if svc := cluster.FindService(b.s.Services, s.Name); svc != nil {
		if meant := config.Closest(svc.Wish.Pool, names); meant != "" {
			return fmt.Sprintf("correct the annotation %s to %q, or create the pool", config.AnnotationAddressPool, meant)
		}
	}
	return ""
}

// because says why a Service is not announced. Where the condition knows no obstacle, the
// nodes' own decisions may.
func (b *builder) because(s *Service) string {
	switch {
	case s.Announced.Reason != condition.ReasonNotAnnounced:
		return s.Announced.Message
	case strings.Contains(s.Announced.Message, ": "):
		return withoutCure(s.Announced.Message) // the Problems of the peers have the cures
	}
	if !b.in.unasked(KindPods) && !slices.ContainsFunc(b.t.Nodes, func(n Node) bool { return n.Agent.Running }) {
		return "no agent runs on any node"
	}
	var why []string
	for _, v := range s.Verdicts {
		if v.Reason != status.Announced && v.Reason != status.NotOwner {
			text := cluster.List(v.Nodes, ", ") + ": " + string(v.Reason)
			if v.Detail != "" {
				text += ": " + v.Detail
			}
			why = append(why, text)
		}
	}
	if len(why) == 0 {
		return s.Announced.Message
	}
	return s.Announced.Message + ": " + cluster.List(slices.Compact(why), "; ")
}

// announcedCure returns what to do about a Service that is not announced, and the command
// to run next. An empty cure is that of its reason.
func (b *builder) announcedCure(s *Service) (cure, next string) {
	namespace, _, _ := strings.Cut(s.Name, "/")
	next = whyOf(s.Name)
	switch s.Announced.Reason {
	case status.NoEndpoints, status.TooFewEndpoints:
		if s.Selector != "" {
			next = kubectlIn(namespace, "get pods -o wide -l %s", quoted(s.Selector))
		}
	case status.NoAdvertisement:
		next = b.kubectl("get %s,%s,%s", plural(config.KindBGPAdvertisement), plural(config.KindL2Advertisement), plural(config.KindPool))
	case status.NodeNotSelected:
		next = "kubectl get nodes --show-labels"
	case status.NodeExcluded:
		next = b.unlabel()
	case condition.ReasonNotAnnounced:
		return b.sessionsCure(s)
	}
	return "", next
}
