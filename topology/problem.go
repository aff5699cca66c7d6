// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"cmp"
	"strings"

	"github.com/heraldlb/herald/status"
)

// A Severity says how bad a Problem is.
type Severity string

// The Severities.
const (
	Error   Severity = "error"   // something does not work
	Warning Severity = "warning" // something is probably not as meant
)

// A Problem is something that is not as it should be.
type Problem struct {
	Nodes    []string `json:"nodes,omitempty"` // of a peer: those that it is about
	ID       string   `json:"id"`              // a reason of docs/service-status.md, or one of the Problem constants
	Severity Severity `json:"severity"`
	Objects  []string `json:"objects"` // KIND/NAME, Service/NAMESPACE/NAME, or "configuration"
	Cause    string   `json:"cause"`
	Cure     string   `json:"cure"`
	Next     string   `json:"next,omitempty"` // a command that shows more, or mends it
}

// IDs of Problems that are no reasons of conditions or decisions.
const (
	ProblemNoConfiguration   = "NoConfiguration"
	ProblemConfigRejected    = "ConfigRejected"
	ProblemTwoConfigurations = "ConfigAmbiguous"
	ProblemRefs              = "RefsUnresolved"
	ProblemUnlikely          = "Unlikely"
	ProblemStray             = "OtherNamespace"
	ProblemNoController      = "NoController"
	ProblemNoLeader          = "NoLeader"
	ProblemAgent             = "AgentAbsent"
	ProblemPoolFull          = "PoolExhausted"
	ProblemAnnotation        = "UnknownAnnotation"
	ProblemDegraded          = "Degraded"
	ProblemFRR               = "FRR"
	ProblemLayer2            = "MembersUnknown"
	ProblemProxy             = "DataPlaneNotReady"
	ProblemNodeError         = "NodeError"
	ProblemAgentUnready      = "AgentNotReady"
	ProblemGossip            = "GossipCut"
	ProblemSplitBrain        = "SplitBrain"
	ProblemContest           = "StatusContested"
	ProblemProgrammed        = "NotProgrammed"
)

const reasonNoConfiguration status.Reason = ProblemNoConfiguration

// worse orders Problems: errors first, then what causes others before what follows from
// it, then by object.
func worse(x, y Problem) int {
	return cmp.Or(rank(x)-rank(y), strings.Compare(x.Objects[0], y.Objects[0]), strings.Compare(x.ID, y.ID), strings.Compare(x.Cause, y.Cause))
}

// rank returns the place of a Problem by its severity and the kind of its object.
func rank(p Problem) int {
	r := 0
	if p.Severity == Warning {
		r = 10
	}
	for i, kind := range []string{"configuration", "controller", "IPAddressPool", "pool", "BFDProfile", "Community", "BGPPeer", "peer", "BGPAdvertisement", "L2Advertisement", "Node"} {
		if kindOf(p.Objects[0]) == kind {
			return r*10 + i
		}
	}
	return r*10 + 50
}

// A Health says whether a whole Herald works.
type Health int

// The Healths.
const (
	Fine   Health = iota // no error is known
	Broken               // there is one
	Untold               // too little could be asked
)

// Health returns Broken if there is an error among the Problems, and Untold if there is none
// and Services could not be judged.
func (t Topology) Health() Health {
	for _, p := range t.Problems {
		if p.Severity == Error {
			return Broken
		}
	}
	if t.unknown {
		return Untold
	}
	for _, s := range t.Services {
		if s.Unjudged() {
			return Untold
		}
	}
	return Fine
}

// Unjudged reports whether it is not known if the Service is announced, or a part of it.
func (s Service) Unjudged() bool { return s.State == StateUnknown || len(s.Untold) > 0 }
