// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"time"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/source"
	"github.com/heraldlb/herald/status"
)

// Kinds that Unasked may name.
const (
	KindServices       = "Services"
	KindNamespaces     = "Namespaces"
	KindNodes          = "Nodes"
	KindEndpointSlices = "EndpointSlices"
	KindResources      = "resources of metallb.io"
	KindConfigMaps     = "ConfigMaps"
	KindStates         = "ConfigurationStates"
	KindStatuses       = "ServiceL2Statuses and ServiceBGPStatuses"
	KindPods           = "pods of Herald"
	KindLease          = "Lease of the controllers"
)

// required are the kinds without which something broken may be overlooked.
var required = []string{KindServices, KindNamespaces, KindNodes, KindEndpointSlices, KindResources, KindConfigMaps, KindStates, KindStatuses, KindPods}

// An Input is what a Topology is made of. What could not be read is empty, and in Unasked.
type Input struct {
	At        time.Time // required
	Namespace string    // that Herald runs in; required

	Class         string // spec.loadBalancerClass of the Services that Herald handles
	IgnoreExclude bool   // announce.LabelExcludeNode has no meaning
	Source        string // as the daemons' flag --config-source; empty: auto

	Cluster   cluster.Snapshot     // without a configuration
	ConfigMap source.Document      // its Err is source.ErrNotFound if there is none
	Similar   []string             // other ConfigMaps that hold a configuration
	Resources []config.Object      // of Namespace
	Strays    []Stray              // of other namespaces
	Refused   map[config.ID]string // why the leading controller does not accept the newest version of a resource
	Recorded  source.Source        // in force as the leading controller says
	States    []AgentState         // in the order of the nodes
	Announced []Announcement       // in any order

	About string // a node that is asked about; empty: none

	Controllers []Controller // in the order of their names
	Leader      string       // pod that leads; empty: not known, or there is none
	Agents      []AgentPod   // in the order of nodes
	Unasked     []Unasked    // in any order
}

// A Stray is a resource in a namespace where Herald does not read it.
type Stray struct {
	config.ID
	Namespace string
}

// An AgentState is what the ConfigurationState of a node says.
type AgentState struct {
	Node     string
	Errors   []string
	Failure  string                 // why FRR does not run the newest configuration
	Lacking  []string               // interfaces that L2Advertisements name, and that the node lacks
	Sessions []cluster.SessionState // nil: it does not say
}

// An Announcement is a node that announces a Service, as an object says.
type Announcement struct {
	Service cluster.Key
	Announcer
}

// An AgentPod is the pod of an agent.
type AgentPod struct {
	Node    string
	Pod     string
	Absence string         // why it does not run; empty: it does
	Report  *status.Report // nil: it could not be asked
}

// unasked reports whether a kind could not be read.
func (in Input) unasked(kind string) bool {
	for _, u := range in.Unasked {
		if u.What == kind {
			return true
		}
	}
	return false
}
