// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/topology"
)

const (
	// skewed is by how much a clock differs that is wrong. Agents are asked within 5 s.
	skewed = 10 * time.Second
	// bfdSettles is how long after a BGP session that of BFD may take.
	bfdSettles = time.Minute
)

// answered returns the nodes whose agents were asked. If one that runs was not, the check is
// not of all nodes.
func (e *examination) answered() (out []topology.Node) {
	var silent []string
	for _, n := range e.Topology.Nodes {
		switch {
		case n.Agent.Asked:
			out = append(out, n)
		case n.Agent.Running:
			silent = append(silent, n.Name)
		}
	}
	if len(silent) > 0 {
		e.skip("not asked: agents of " + cluster.List(silent, ", "))
	}
	return out
}

// versions finds agents of several versions.
func (e *examination) versions() {
	by := map[string][]string{}
	var all []string
	for _, n := range e.answered() {
		if v := n.Agent.Version; v != "" {
			if by[v] == nil {
				all = append(all, v)
			}
			by[v] = append(by[v], n.Name)
		}
	}
	if len(all) < 2 {
		return
	}
	slices.Sort(all)
	var parts, objects []string
	for _, v := range all {
		parts = append(parts, v+" on "+cluster.List(by[v], ", "))
		for _, name := range by[v] {
			objects = append(objects, "Node/"+name)
		}
	}
	e.found(topology.Problem{
		Severity: topology.Warning, Cause: "agents have different versions: " + cluster.List(parts, "; "),
		Cure: "wait for the end of the rollout; if it does not end, look at the pods that are not replaced",
		Next: kubectl(e.Topology.Namespace, "get pods -o wide"),
	}, objects...)
}

// clocks finds nodes whose clocks differ from that of most nodes.
func (e *examination) clocks() {
	nodes := slices.DeleteFunc(e.answered(), func(n topology.Node) bool { return n.Agent.Clock.IsZero() })
	if len(nodes) < 2 {
		return
	}
	var offsets []time.Duration
	for _, n := range nodes {
		offsets = append(offsets, n.Agent.Clock.Sub(e.Topology.At))
	}
	slices.Sort(offsets)
	usual := offsets[len(offsets)/2]
	for _, n := range nodes {
		off := n.Agent.Clock.Sub(e.Topology.At) - usual
		if off.Abs() <= skewed {
			continue
		}
		way := "ahead of"
		if off < 0 {
			way = "behind"
		}
		e.found(topology.Problem{
			Severity: topology.Warning, Cause: fmt.Sprintf("its clock is %v %s that of most nodes: drains, certificates and the times in status and logs go by it", off.Abs().Round(time.Second), way),
			Cure: "have the node's clock set by NTP", Next: "kubectl get node " + topology.Quoted(n.Name) + " -o yaml",
		}, "Node/"+n.Name)
	}
}

// oneEndpoint finds Services with externalTrafficPolicy Local that one node alone can announce.
func (e *examination) oneEndpoint() {
	if len(e.Topology.Nodes) < 2 {
		return
	}
	var objects []string
	for _, svc := range e.Topology.Services {
		on := map[string]bool{}
		for _, ep := range svc.Endpoints {
			if ep.Ready > 0 && ep.Node != "" {
				on[ep.Node] = true
			}
		}
		if svc.Local && len(on) == 1 && (svc.State == topology.StateAnnounced || svc.State == topology.StateDegraded) {
			objects = append(objects, "Service/"+svc.Name)
		}
	}
	if len(objects) > 0 {
		e.found(topology.Problem{
			Severity: topology.Warning, Cause: "externalTrafficPolicy is Local, and all usable endpoints are on one node: while that node or its pod is gone, nothing is announced",
			Cure: "run pods on several nodes (replicas, topologySpreadConstraints), or use externalTrafficPolicy Cluster",
			Next: "heraldctl why " + topology.Quoted(strings.TrimPrefix(objects[0], "Service/")),
		}, objects...)
	}
}

// bfd finds BGP sessions that are up without the BFD that is to guard them.
func (e *examination) bfd() {
	e.answered()
	for _, p := range e.Topology.Peers {
		var nodes []string
		for _, s := range p.Sessions {
			settled := s.Since.IsZero() || e.Topology.At.Sub(s.Since) >= bfdSettles
			if p.BFDProfile != "" && s.Up && settled && s.BFD != "" && !strings.EqualFold(s.BFD, "up") {
				nodes = append(nodes, s.Node)
			}
		}
		if len(nodes) > 0 {
			e.found(topology.Problem{
				Nodes: nodes, Severity: topology.Warning, Cause: fmt.Sprintf("its BGP session is up, and BFD by profile %s is not: a failure is noticed by the hold timer alone", p.BFDProfile),
				Cure: "enable BFD for the node's address on the router, and let UDP port 3784 pass (4784 with several hops); or remove bfdProfile",
				Next: "heraldctl why " + topology.Quoted("peer/"+p.Name),
			}, "peer/"+p.Name)
		}
	}
}

// overwritten finds Services whose addresses somebody has written after Herald.
func (e *examination) overwritten() {
	for _, svc := range e.Services {
		t, ok := e.Topology.Service(svc.String())
		if !ok || t.State == topology.StateOther || svc.Own.IsZero() || !svc.Wrote.After(svc.Own) {
			continue
		}
		e.found(topology.Problem{
			Severity: topology.Warning, Cause: fmt.Sprintf("%s has written status.loadBalancer at %s, after Herald", svc.Writer, svc.Wrote.UTC().Format(time.RFC3339)),
			Cure: "find what else handles Services of this class, and stop that",
			Next: kubectl(svc.Namespace, "get service "+topology.Quoted(svc.Name)+" -o yaml --show-managed-fields"),
		}, "Service/"+svc.String())
	}
}
