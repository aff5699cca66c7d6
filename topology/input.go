// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"slices"
	"strings"
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

// ResourcesOf returns the name of a kind of resources in Unasked, if it alone could not be read.
func ResourcesOf(kind string) string { return kind + " of " + config.ResourceGroup }

// required are the kinds without which something broken may be overlooked.
var required = []string{KindServices, KindNamespaces, KindNodes, KindEndpointSlices, KindResources, KindConfigMaps, KindStates, KindStatuses, KindPods}

// An Input is what a Topology is made of. What could not be read is empty, and in Unasked.
type Input struct {
	At        time.Time // required
	Namespace string    // that Herald runs in; required

	Class         string // spec.loadBalancerClass of the Services that Herald handles
	IgnoreExclude bool   // announce.LabelExcludeNode has no meaning
	Source        string // as the daemons' flag --config-source; empty: auto
	File          string // as --config-file: Herald reads it in place of all others; empty: there is none
	Protect       bool   // --protect-addresses
	Silent        bool   // --service-status=false: nobody writes into objects what is announced
	GossipPort    string // as --ml-bindport; empty: 7946
	NoFRR         bool   // the agents' --frr-conf is empty: layer 2 alone

	Cluster   cluster.Snapshot // without a configuration
	ConfigMap source.Document  // its Err is source.ErrNotFound if there is none
	Similar   []string         // other ConfigMaps that hold a configuration
	Resources []config.Object  // of Namespace
	Strays    []Stray          // of other namespaces
	Recorded  source.Source    // in force as the leading controller says
	States    []AgentState     // in the order of the nodes
	Announced []Announcement   // in any order

	// What the leading controller says of the newest versions of resources.
	Refused      map[config.ID]Refusal // it does not accept them
	Unprogrammed map[config.ID]Refusal // they are not in force on all nodes

	About string // a node that is asked about; empty: none

	Controllers []Controller // in the order of their names
	Leader      string       // pod that leads; empty: not known, or there is none
	Agents      []AgentPod   // in the order of nodes
	Unasked     []Unasked    // in any order
}

// A Refusal is why a condition of a resource is not True.
type Refusal struct {
	Reason, Message string
	Since           time.Time // zero: not known
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
	Version  string                 // of the resources in force; empty: a text is
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
	Unready string         // why the kubelet does not count it as ready; empty: it does
	Report  *status.Report // nil: it could not be asked
}

// unasked reports whether a kind could not be read; of resources, whether one of their kinds
// could not be.
func (in Input) unasked(kind string) bool { return unasked(in.Unasked, kind) }

// unaskedWhole reports whether nothing of a kind could be read.
func (in Input) unaskedWhole(kind string) bool {
	return slices.ContainsFunc(in.Unasked, func(u Unasked) bool { return u.What == kind })
}

func unasked(all []Unasked, kind string) bool {
	return slices.ContainsFunc(all, func(u Unasked) bool {
		return u.What == kind || kind == KindResources && strings.HasSuffix(u.What, ResourcesOf(""))
	})
}
