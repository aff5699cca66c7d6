// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"fmt"
	"strings"

	"github.com/heraldlb/herald/config"
)

// Reasons of the condition Programmed of a resource.
const (
	ReasonProgrammed  = "Programmed"  // the version is in force
	ReasonPending     = "Pending"     // some agent does not run it yet
	ReasonDataPlane   = "DataPlane"   // FRR on some node does not take what follows from it
	ReasonNodeError   = "NodeError"   // a node cannot have it beside others
	ReasonNotAccepted = "NotAccepted" // it is refused
)

// An AgentState is what the agent of a node says about its configuration.
type AgentState struct {
	Node    string
	Version string   // of the configuration that is in force there
	Trouble string   // why a newer one is not; empty: nothing is known to be wrong
	Errors  []string // what of it is not in force there; a State's
	Silent  bool     // it runs another one for so long, without a word, that nobody waits for it
}

// A Fleet is the controller and all agents.
type Fleet struct {
	Version string       // of the configuration that the controller uses
	Agents  []AgentState // in the order of their nodes
}

// A Programmed says whether a version of a resource is in force everywhere.
type Programmed struct {
	True    bool
	Reason  string
	Message string
}

// Programmed judges the newest version of a resource, given what was said of the
// same version before; empty unless it was in force. What was in force stays so
// while agents are on their way to a configuration that differs in other resources.
func (f Fleet) Programmed(v config.Verdict, before string) Programmed {
	if !v.Accepted {
		return Programmed{Reason: ReasonNotAccepted, Message: v.Message}
	}
	var done, silent, waiting, troubles, errs []string
	for _, a := range f.Agents {
		switch {
		case a.Version == f.Version:
			done = append(done, a.Node)
			for _, e := range a.Errors {
				if what, ok := strings.CutPrefix(e, v.ID.String()+": "); ok {
					errs = append(errs, a.Node+": "+what)
				}
			}
		case a.Trouble != "":
			troubles = append(troubles, a.Node+": "+a.Trouble)
		case a.Silent:
			silent = append(silent, a.Node)
		default:
			waiting = append(waiting, a.Node)
		}
	}
	complete := len(done) == len(f.Agents)
	if len(errs) > 0 {
		return Programmed{Reason: ReasonNodeError, Message: clipList(errs, "; ")}
	}
	if before != "" && (!complete || !strings.Contains(before, "; ")) {
		return Programmed{True: true, Reason: ReasonProgrammed, Message: before}
	}
	if len(done)+len(silent) == 0 && len(waiting)+len(troubles) == 0 {
		return Programmed{Reason: ReasonPending, Message: "no agent has said which configuration it runs"}
	}
	parts := []string{fmt.Sprintf("in force on %d of %d nodes", len(done), len(f.Agents))}
	if len(troubles) > 0 {
		parts = append(parts, clipList(troubles, "; "))
	}
	parts = append(parts, about(waiting, "runs an older configuration", "run an older configuration")...)
	parts = append(parts, about(silent, "runs an older configuration and is not heard of", "run an older configuration and are not heard of")...)
	p := Programmed{Reason: ReasonPending, Message: strings.Join(parts, "; ")}
	switch {
	case len(troubles) > 0:
		p.Reason = ReasonDataPlane
	case len(waiting) == 0 && len(done) > 0:
		p.True, p.Reason = true, ReasonProgrammed
	}
	return p
}

// about says something of nodes, if there are any.
func about(nodes []string, one, many string) []string {
	switch len(nodes) {
	case 0:
		return nil
	case 1:
		return []string{nodes[0] + " " + one}
	}
	return []string{clipList(nodes, ", ") + " " + many}
}

// clipList joins texts, and says how many it leaves out.
func clipList(all []string, separator string) string {
	if len(all) <= shownNames {
		return strings.Join(all, separator)
	}
	return fmt.Sprintf("%s and %d more", strings.Join(all[:shownNames], separator), len(all)-shownNames)
}

// versionOf returns which resources a configuration is made of; empty if it is
// made of a text.
func versionOf(l Loaded) string {
	if l.Config == nil || l.Accepted.Resources == nil {
		return ""
	}
	return l.Accepted.Version
}
