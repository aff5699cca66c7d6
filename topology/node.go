// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/source"
	"github.com/heraldlb/herald/status"
)

// nodes adds the Nodes with their agents. Agents on Nodes that could not be read count too.
func (b *builder) nodes() {
	b.agents, b.states, b.peerAt = map[string]AgentPod{}, map[string]AgentState{}, map[string][]status.Peer{}
	for _, s := range b.in.States {
		b.states[s.Node] = s
	}
	names := map[string]bool{}
	for _, n := range b.s.Nodes {
		names[n.Name] = true
	}
	for _, a := range b.in.Agents {
		if a.Node == "" {
			continue // no node would take it; a Problem says so
		}
		if a.Absence == "" && a.Unready != "" && b.answers() && b.in.unasked("agent of "+a.Node) {
			a.Absence = a.Unready + ", and it does not answer"
		}
		if known, ok := b.agents[a.Node]; !ok || known.Absence != "" && a.Absence == "" {
			b.agents[a.Node] = a // of a rollout's two pods the one that runs
		}
		names[a.Node] = true
	}
	for name := range names {
		b.t.Nodes = append(b.t.Nodes, b.node(name))
	}
	slices.SortFunc(b.t.Nodes, func(x, y Node) int { return strings.Compare(x.Name, y.Name) })
	b.versions()
	b.gossip()
}

func (b *builder) node(name string) Node {
	out := Node{Name: name}
	if n := cluster.NodeOf(b.s.Nodes, name); n != nil {
		out.Addrs, out.Refusal = n.Addrs, announce.Refusal(*n, true, announce.Options{IgnoreExcludeLB: b.in.IgnoreExclude})
		if !n.Drain.IsZero() {
			out.Drain = n.Drain.String()
		}
		if n.DrainError != "" {
			out.Errors = append(out.Errors, n.DrainError)
		}
	} else if !b.in.unasked(KindNodes) {
		out.Refusal = status.NodeUnknown
	}
	if s, ok := b.states[name]; ok {
		out.Errors, out.Lacking, out.FRR, out.Version = append(out.Errors, s.Errors...), s.Lacking, s.Failure, s.Version
	}
	a, there := b.agents[name]
	switch {
	case there:
		out.Agent = Agent{Pod: a.Pod, Running: a.Absence == "", Absence: a.Absence, Asked: a.Report != nil}
		if out.Agent.Running && a.Report == nil {
			out.Agent.Trouble = a.Unready
		}
	case b.in.unasked(KindPods):
		out.Agent.Running = true // as far as is known
	default:
		out.Agent.Absence = "no agent pod is on this node"
	}
	if a.Report != nil {
		b.addReport(&out, *a.Report)
	}
	return out
}

// answers reports whether agents could be asked: at least one has answered.
func (b *builder) answers() bool {
	return slices.ContainsFunc(b.in.Agents, func(a AgentPod) bool { return a.Report != nil })
}

// addReport adds what the agent says of its node.
func (b *builder) addReport(n *Node, r status.Report) {
	n.Agent.Version, n.Agent.Started, n.Agent.Clock, n.Watches = r.Version, r.Started, r.Now, r.Watches
	if r.FRR != nil {
		n.FRRVersion, n.Daemons = r.FRR.Version, r.FRR.Processes
	}
	n.Version = r.Config.Version
	newest := b.in.ConfigMap.Version
	c := r.Config
	switch {
	case !r.Synced:
		n.Agent.Trouble = "it has not read everything from the API server yet"
	case r.Error != "":
		n.Agent.Trouble = "its last pass failed: " + r.Error
	case !c.Loaded && b.t.Config.Loaded:
		n.Agent.Trouble = "no configuration is in force on it"
	case c.Source == b.in.ConfigMap.Source && b.loaded.Source() == source.SourceConfigMap && c.Newest != "" && newest != "" && c.Newest != newest:
		n.Agent.Trouble = fmt.Sprintf("it has read version %s of the configuration, and the newest is %s", c.Newest, newest)
	}
	if e := r.Config.Error; e != "" && e != b.t.Config.Error {
		n.Errors = append(n.Errors, e)
	}
	if d := r.Drain; d != nil && n.Drain != "" {
		switch n.Draining = "it asks routers for other paths"; {
		case d.Over:
			n.Draining = "the hold is over"
		case !d.Until.IsZero():
			n.Draining += ", and withdraws its routes at " + d.Until.UTC().Format(time.TimeOnly) + " UTC"
		}
	}
	if r.Drain != nil && r.Drain.Error != "" && !slices.Contains(n.Errors, r.Drain.Error) {
		n.Errors = append(n.Errors, r.Drain.Error)
	}
	n.ProxyAsked = r.DataPlane != nil
	if d := r.DataPlane; d != nil && !d.Healthy && d.Detail != "" {
		n.Proxy = d.Detail
	}
	if !c.Loaded {
		return // an agent begins its work with its first configuration
	}
	b.addFRR(n, r.FRR)
	switch l := r.Layer2; {
	case l == nil:
	case l.Stale:
		n.Layer2 = "which agents are alive is not known"
	default:
		for _, m := range l.Members {
			n.Members = append(n.Members, m.Node)
		}
		slices.Sort(n.Members)
	}
}

// addFRR adds what the agent says of FRR. While FRR takes in an edit, nothing is wrong.
func (b *builder) addFRR(n *Node, f *status.FRR) {
	if f == nil {
		return
	}
	var silent []string
	for name, answers := range f.Daemons {
		if !answers {
			silent = append(silent, name)
		}
	}
	slices.Sort(silent)
	switch x := f.Extras; {
	case len(silent) > 0:
		n.FRR = cluster.List(silent, ", ") + " does not answer its agent"
	case f.Error != "":
		n.FRR = f.Error
	case x != nil && x.Error != "":
		n.FRR = "the raw configuration is refused: " + x.Error
	case f.Applied:
		n.FRR = ""
	default:
		n.Applying = n.FRR == ""
	}
}

// versions finds the nodes that have another version of the configuration than most.
func (b *builder) versions() {
	count := map[string]int{}
	for _, n := range b.t.Nodes {
		if n.Agent.Running && n.Version != "" {
			count[n.Version]++
		}
	}
	most := ""
	for _, v := range slices.Sorted(maps.Keys(count)) {
		if count[v] > count[most] {
			most = v
		}
	}
	for i := range b.t.Nodes {
		n := &b.t.Nodes[i]
		n.Behind = n.Agent.Running && n.Version != "" && n.Version != most && 2*count[most] > len(b.t.Nodes)
	}
}

// gossip compares whom agents see with who has answered.
func (b *builder) gossip() {
	for i := range b.t.Nodes {
		n := &b.t.Nodes[i]
		if len(n.Members) == 0 {
			continue // it takes part in no gossip, or does not know
		}
		for _, o := range b.t.Nodes {
			if o.Name != n.Name && o.Agent.Asked && len(o.Members) > 0 && !slices.Contains(n.Members, o.Name) {
				n.Unseen = append(n.Unseen, o.Name)
			}
		}
	}
}
