// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"fmt"
	"slices"
	"strings"

	"github.com/heraldlb/herald/alloc"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/condition"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/status"
)

// sessionProblem adds a Problem with the session of a node, or the node to an equal one.
func (b *builder) sessionProblem(object string, p Problem, node string) {
	for i := range b.t.Problems {
		o := &b.t.Problems[i]
		if o.ID == p.ID && o.Cause == p.Cause && slices.Equal(o.Objects, []string{object}) && len(o.Nodes) > 0 {
			o.Nodes = append(o.Nodes, node)
			return
		}
	}
	p.Cure, p.Objects, p.Nodes = cureOf(status.Reason(p.ID)), []string{object}, []string{node}
	b.t.Problems = append(b.t.Problems, p)
}

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
			if p.full(family.is4) {
				b.problem(Problem{ID: ProblemPoolFull, Severity: Warning, Cause: "it has no free " + family.name + " address: " + p.Usage(family.is4) + " in use",
					Next: whyCommand + "pool/" + p.Name}, object)
			}
		}
	}
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
		object, next := "Service/"+s.Name, whyCommand+s.Name
		if s.Annotations != "" {
			namespace, name, _ := strings.Cut(s.Name, "/")
			b.problem(Problem{ID: ProblemAnnotation, Severity: Warning, Cause: s.Annotations, Cure: "correct the name of the annotation",
				Next: fmt.Sprintf("kubectl -n %s edit service %s", namespace, name)}, object)
		}
		switch {
		case s.State == StateNoAddress && s.Assigned.True:
			b.problem(Problem{ID: string(status.NoAddress), Severity: Warning, Cause: "the controller has not written the address yet: " + s.Assigned.Message,
				Cure: "wait a moment; then look at the controllers", Next: next}, object)
		case s.State == StateNoAddress && s.Assigned.Reason == "":
		case s.State == StateNoAddress:
			b.problem(Problem{ID: string(s.Assigned.Reason), Severity: Error, Cause: "no address: " + s.Assigned.Message, Cure: b.addressCure(s), Next: next}, object)
		case !s.Assigned.True && s.Assigned.Reason != "" && !s.Assigned.Pending:
			b.problem(Problem{ID: string(s.Assigned.Reason), Severity: Warning, Cause: "it keeps its address, but: " + s.Assigned.Message, Next: next}, object)
		}
		switch s.State {
		case StateNotAnnounced:
			b.problem(Problem{ID: string(s.Announced.Reason), Severity: Error, Cause: "not announced: " + b.because(s), Cure: b.announcedCure(s), Next: b.announcedNext(s)}, object)
		case StateDegraded:
			severity := Warning
			if len(s.silent()) > 0 {
				severity = Error
			}
			b.problem(Problem{ID: ProblemDegraded, Severity: severity, Cause: "announced, but not by all: " + cluster.List(s.Lacks, "; "),
				Cure: "repair what is named, or wait while it is being set up", Next: next}, object)
		}
	}
}

// silent returns the addresses that no node announces, as far as agents were asked.
func (s Service) silent() (out []Address) {
	if !slices.ContainsFunc(s.Verdicts, func(v Verdict) bool { return v.From == FromAgent }) {
		return nil
	}
	for _, a := range s.Addresses {
		if !slices.ContainsFunc(s.Verdicts, func(v Verdict) bool { return v.Confirmed && v.Addr == a.Addr }) {
			out = append(out, a)
		}
	}
	return out
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
	if s.Announced.Reason != condition.ReasonNotAnnounced || strings.Contains(s.Announced.Message, ": ") {
		return s.Announced.Message
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

// announcedCure returns what to do about a Service that is not announced; empty: what its
// reason says.
func (b *builder) announcedCure(s *Service) string {
	if s.Announced.Reason == condition.ReasonNotAnnounced && !slices.ContainsFunc(b.t.Nodes, func(n Node) bool { return n.Agent.Running }) {
		return "have the agents' pods start"
	}
	return ""
}

// announcedNext returns the command to run about a Service that is not announced.
func (b *builder) announcedNext(s *Service) string {
	namespace, _, _ := strings.Cut(s.Name, "/")
	switch s.Announced.Reason {
	case status.NoEndpoints, status.TooFewEndpoints:
		if s.Selector != "" {
			return fmt.Sprintf("kubectl -n %s get pods -o wide -l %s", namespace, s.Selector)
		}
	case status.NoAdvertisement:
		return b.kubectl("get bgpadvertisements,l2advertisements,ipaddresspools")
	case status.NodeNotSelected, status.NodeExcluded:
		return "kubectl get nodes --show-labels"
	}
	return whyCommand + s.Name
}
