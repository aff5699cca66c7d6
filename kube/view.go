// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/source"
	"github.com/heraldlb/herald/topology"
)

// unaskedReports is what no View has, as a Topology names it.
const unaskedReports = "reports of the agents"

// Why a View lacks something.
const (
	whyNoReports = "the controller goes by what agents write into objects, and asks none of them"
	whyStandby   = "this controller is on standby: the leading one reads them"
	whyForbidden = "the kind is not installed, or the controller may not read it"
	whyDisabled  = "--service-status is off"
	whyFile      = "--config-file is set"
)

// A View is what the watches of a controller know of a whole Herald: the input of a
// Topology. It sends no request.
type View struct {
	Namespace     string                       // required
	Class         string                       // of the Services that Herald handles
	IgnoreExclude bool                         // announce.LabelExcludeNode has no meaning
	Protect       bool                         // --protect-addresses
	Pod           string                       // required: of this controller
	Leader        func() string                // required: the pod that leads, as far as this one knows
	Watcher       *Watcher                     // required
	Text          source.Documents             // optional: the ConfigMap, or the file
	Similar       func() []string              // optional: other ConfigMaps that hold a configuration
	Recorded      func() (source.Source, bool) // optional: the source in force as the leading controller says
	Resources     *Resources                   // optional: nil, none are read
	Agents        *AgentStates                 // optional: nil, none are read
	Announced     *Announcements               // optional: nil, none are read
}

// Input returns what is known now, and whether everything was read that this controller
// decides by.
func (v View) Input(now time.Time) (in topology.Input, read bool) {
	tables, synced := v.Watcher.Tables()
	if !synced {
		return in, false
	}
	in = topology.Input{
		At: now, Namespace: v.Namespace, Class: v.Class, IgnoreExclude: v.IgnoreExclude, Protect: v.Protect, Silent: v.Announced == nil,
		Unasked: []topology.Unasked{{What: unaskedReports, Error: whyNoReports}},
	}
	if !v.configuration(&in) {
		return in, false
	}
	in.Leader = v.Leader()
	leading := in.Leader == v.Pod
	in.Controllers = []topology.Controller{{Pod: v.Pod, Ready: true, Leading: leading}}
	switch {
	case in.Leader == "":
		in.Unasked = append(in.Unasked, topology.Unasked{What: topology.KindLease, Error: "it is not known yet which controller leads"})
	case !leading:
		in.Controllers = append(in.Controllers, topology.Controller{Pod: in.Leader, Ready: true, Leading: true})
		slices.SortFunc(in.Controllers, func(a, b topology.Controller) int { return strings.Compare(a.Pod, b.Pod) })
	}
	v.agents(&in, &tables)
	in.Cluster = tables.Snapshot()
	return in, true
}

// configuration adds the sources of the configuration, and returns whether they were read.
func (v View) configuration(in *topology.Input) bool {
	if v.Text != nil {
		doc, read := v.Text.Document()
		if !read {
			return false
		}
		in.ConfigMap = doc
	}
	switch {
	case v.Resources == nil:
		in.Source = "configmap"
	case v.Text == nil:
		in.Source = "resources"
	}
	if v.Similar != nil {
		in.Similar = v.Similar()
	}
	if v.Resources == nil {
		return true
	}
	doc, read := v.Resources.Document()
	if !read {
		return false
	}
	if doc.Resources != nil {
		in.Resources = doc.Resources.Objects
	}
	refused := v.Resources.refusals()
	in.Refused, in.Unprogrammed = refused.accepted, refused.programmed
	// With one configuration nobody needs to know which one is in force.
	if v.Recorded != nil && in.ConfigMap.Err == nil && len(in.Resources) > 0 {
		in.Recorded, _ = v.Recorded()
	}
	return true
}

// refusals returns what the leading controller says against the newest versions of resources.
func (r *Resources) refusals() refusals {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := newRefusals()
	for name, kind := range r.kinds {
		for _, o := range kind.list() {
			out.add(config.ID{Kind: name, Name: o.Name}, o.status, o.Generation)
		}
	}
	return out
}

// refusals have what statuses of resources say against their newest versions.
type refusals struct {
	accepted, programmed map[config.ID]topology.Refusal
}

func newRefusals() refusals {
	return refusals{accepted: map[config.ID]topology.Refusal{}, programmed: map[config.ID]topology.Refusal{}}
}

// add adds what the status of a resource says against its newest version.
func (r refusals) add(id config.ID, text json.RawMessage, generation int64) {
	var have resourceStatus
	_ = json.Unmarshal(text, &have) // what is no status says nothing
	for kind, to := range map[string]map[config.ID]topology.Refusal{conditionAccepted: r.accepted, conditionProgrammed: r.programmed} {
		c := have.condition(kind)
		if c == nil || c.Status == string(metav1.ConditionTrue) || c.ObservedGeneration != generation {
			continue
		}
		since, _ := time.Parse(time.RFC3339, c.LastTransitionTime) // without, it is not known
		to[id] = topology.Refusal{Reason: c.Reason, Message: c.Message, Since: since}
	}
}

// agents adds what the agents write into objects, and Nodes and endpoints. The leading
// controller alone reads these.
func (v View) agents(in *topology.Input, tables *cluster.Tables) {
	unasked := func(why string, kinds ...string) {
		for _, what := range kinds {
			in.Unasked = append(in.Unasked, topology.Unasked{What: what, Error: why})
		}
	}
	why := whyStandby
	if in.Leader == v.Pod {
		why = whyForbidden
	}
	if v.Agents == nil {
		unasked(whyFile, topology.KindStates)
	} else if states, read := v.Agents.States(); !read {
		unasked(why, topology.KindStates)
	} else {
		for _, s := range states {
			in.States = append(in.States, topology.AgentState{Node: s.Node, Errors: s.Errors, Failure: s.Failure, Lacking: s.Lacking, Sessions: s.Sessions})
		}
	}
	if v.Announced == nil {
		unasked(whyDisabled, topology.KindStatuses, topology.KindNodes, topology.KindEndpointSlices, topology.KindPods)
		return
	}
	v.Announced.view(in, tables, func(kinds ...string) { unasked(why, kinds...) })
}

// view adds what nodes announce, Nodes, endpoints and the agents' pods, and calls unasked
// for what is not read.
func (a *Announcements) view(in *topology.Input, tables *cluster.Tables, unasked func(kinds ...string)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	reported := false
	for _, k := range a.kinds {
		if k.reading != listed {
			continue
		}
		reported = true
		for _, s := range k.list() {
			if s.Node == "" || s.misnamed != "" {
				continue
			}
			in.Announced = append(in.Announced, topology.Announcement{Service: s.Service, Announcer: topology.Announcer{
				Node: s.Node, Protocol: s.Protocol, Peers: s.Peers, Interfaces: s.Interfaces,
			}})
		}
	}
	if !reported {
		unasked(topology.KindStatuses)
	}
	if a.reach.nodes.reading == listed {
		tables.Nodes = a.reach.nodes.list()
	} else {
		unasked(topology.KindNodes)
	}
	if a.reach.endpoints.reading == listed {
		tables.Endpoints = a.reach.endpoints.merged.Table()
	} else {
		unasked(topology.KindEndpointSlices)
	}
	if a.left.agents.reading != listed {
		unasked(topology.KindPods)
		return
	}
	for _, p := range a.left.agents.list() {
		in.Agents = append(in.Agents, topology.AgentPod{Node: p.node, Pod: p.name, Absence: p.absence, Unready: p.unready})
	}
	slices.SortFunc(in.Agents, func(a, b topology.AgentPod) int {
		return strings.Compare(a.Node+"/"+a.Pod, b.Node+"/"+b.Pod)
	})
}
