// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/topology"
)

// notKnown is the value of what could not be read.
const notKnown = "not known"

// printStatus prints the overview: at most eight lines, then the problems.
func printStatus(out io.Writer, t topology.Topology, wide bool) error {
	p := newPrinter(out)
	p.line("Herald %sin %s: %s", versionText(t), t.Namespace, configurationText(t))
	p.line("CONTROLLERS  %s", controllersText(t))
	p.line("AGENTS       %s", agentsText(t))
	p.line("FRR          %s", frrText(t))
	p.line("POOLS        %s", poolsText(t, wide))
	p.line("PEERS        %s", peersText(t))
	p.line("SERVICES     %s", servicesText(t))
	p.problems(t.Problems, wide, t.Health() == topology.Untold)
	p.unasked(t.Unasked, wide)
	if changes := changesText(t, wide); changes != "" {
		p.line("CHANGES (%d m)  %s", int(recentChanges.Minutes()), changes)
	}
	return p.err()
}

// recentChanges is how far back the overview lists changes.
const recentChanges = 15 * time.Minute

// changesText lists what the agents saw change lately, the newest first; empty if nothing has.
func changesText(t topology.Topology, wide bool) string {
	var parts []string
	for _, c := range t.Recent(recentChanges) {
		parts = append(parts, c.At.Local().Format(time.TimeOnly)+" "+c.Words())
	}
	if len(parts) == 0 {
		return ""
	}
	return some(parts, " · ", wide)
}

// versionText returns "v0.2.0 ", if the agents that were asked have the same version.
func versionText(t topology.Topology) string {
	if all := versions(t); len(all) == 1 {
		return all[0] + " "
	}
	return ""
}

// versions returns those of the agents that were asked, sorted.
func versions(t topology.Topology) (out []string) {
	for _, n := range t.Nodes {
		if v := n.Agent.Version; v != "" && !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	slices.Sort(out)
	return out
}

// configurationText says which configuration is in force.
func configurationText(t topology.Topology) string {
	c := t.Config
	switch {
	case c.Unread != "":
		return "the configuration is not known: " + c.Unread
	case !c.Loaded && c.Refused:
		return "the configuration is refused"
	case !c.Loaded:
		return "there is no configuration"
	}
	text := "the configuration is " + c.Source
	if c.Version != "" {
		text += ", version " + c.Version
	}
	asked, good := 0, 0
	for _, n := range t.Nodes {
		if n.Agent.Asked {
			if asked++; n.Agent.Trouble == "" && len(t.NodeErrors(n)) == 0 && !n.Behind {
				good++
			}
		}
	}
	if asked > 0 {
		text += fmt.Sprintf(", in force on %d of %d nodes", good, asked)
	}
	return text
}

func controllersText(t topology.Topology) string {
	if t.Lacks(topology.KindPods) {
		return notKnown + ": the pods in " + t.Namespace + " could not be read"
	}
	ready, leader := 0, "no leader"
	if t.Lacks(topology.KindLease) {
		leader = "leader " + notKnown
	}
	for _, c := range t.Controllers {
		if c.Ready {
			ready++
		}
		if c.Leading {
			leader = "leader " + c.Pod
		}
	}
	return fmt.Sprintf("%d of %d ready, %s", ready, len(t.Controllers), leader)
}

func agentsText(t topology.Topology) string {
	if t.Lacks(topology.KindPods) {
		return notKnown + ": the pods in " + t.Namespace + " could not be read"
	}
	pods, running, asked, alone := 0, 0, 0, 0
	members := map[int]bool{}
	by := map[string][]string{}
	for _, n := range t.Nodes {
		if n.Agent.Pod != "" {
			pods++
		} else {
			alone++
		}
		if n.Agent.Running {
			running++
		}
		if n.Agent.Asked {
			asked++
		}
		if len(n.Members) > 0 {
			members[len(n.Members)] = true
		}
		if n.Refusal != "" {
			by[string(n.Refusal)] = append(by[string(n.Refusal)], n.Name)
		}
		if n.Drain != "" {
			by["draining"] = append(by["draining"], n.Name)
		}
	}
	text := fmt.Sprintf("%d of %d running, %d answered", running, pods, asked)
	if all := versions(t); len(all) > 1 {
		text += "; versions " + cluster.List(all, ", ")
	}
	switch sizes := slices.Sorted(maps.Keys(members)); {
	case len(sizes) == 1:
		text += fmt.Sprintf("; gossip agrees on %d members", sizes[0])
	case len(sizes) > 1:
		text += fmt.Sprintf("; gossip sees %d to %d members", sizes[0], sizes[len(sizes)-1])
	}
	switch {
	case alone == 1:
		text += "; 1 node has none"
	case alone > 1:
		text += fmt.Sprintf("; %d nodes have none", alone)
	}
	for _, what := range slices.Sorted(maps.Keys(by)) {
		text += fmt.Sprintf("; %s: %s", what, cluster.List(by[what], ", "))
	}
	return text
}

// frrText counts the nodes whose FRR runs the configuration.
func frrText(t topology.Topology) string {
	if t.NoFRR {
		return "none: layer 2 alone"
	}
	asked := 0
	var bad, applying []string
	for _, n := range t.Nodes {
		if n.Agent.Asked {
			asked++
		}
		switch {
		case n.FRR != "":
			bad = append(bad, n.Name)
		case n.Applying:
			applying = append(applying, n.Name)
		}
	}
	var text string
	switch {
	case absent(t.Config) == "none" && !t.Config.Loaded:
		return "there is no configuration to run"
	case asked == 0 && len(bad) == 0:
		return notKnown + ": no agent was asked"
	case asked == 0:
		text = notKnown
	default:
		text = fmt.Sprintf("the configuration runs on %d of %d nodes", max(asked-len(bad)-len(applying), 0), asked)
	}
	if len(bad) > 0 {
		text += "; not on " + cluster.List(bad, ", ")
	}
	if len(applying) > 0 {
		text += "; being applied on " + cluster.List(applying, ", ")
	}
	return text
}

// absent returns "none", or that it is not known, for what there is none of.
func absent(c topology.Config) string {
	if c.Unread != "" || c.Refused {
		return notKnown // what was in force before may still be
	}
	return "none"
}

// poolsText says how much of each pool is used.
func poolsText(t topology.Topology, wide bool) string {
	if len(t.Pools) == 0 {
		return absent(t.Config)
	}
	var parts []string
	for _, p := range t.Pools {
		var usage []string
		for _, is4 := range []bool{true, false} {
			if u := p.Share(is4); u != "" {
				usage = append(usage, u)
			}
		}
		if p.TotalV4 == nil {
			usage = []string{notKnown}
		}
		parts = append(parts, p.Name+" "+strings.Join(usage, " and "))
	}
	return some(parts, "   ", wide)
}

// peersText counts sessions, and names the first one that is down.
func peersText(t topology.Topology) string {
	if len(t.Peers) == 0 {
		return absent(t.Config)
	}
	up, wanted, unknown := 0, 0, 0
	var down []string
	for _, p := range t.Peers {
		up, wanted = up+p.Up, wanted+p.Wanted
		for _, s := range p.Sessions {
			switch {
			case s.Wanted && s.From == topology.FromRules:
				unknown++
			case s.Wanted && !s.Up:
				down = append(down, fmt.Sprintf("%s -> %s %s AS %s%s", s.Node, p.Name, p.Address, p.ASN, t.Lasting(s.Since)))
			}
		}
	}
	text := fmt.Sprintf("%d, %d of %d sessions up", len(t.Peers), up, wanted)
	switch {
	case wanted == 0 && t.Lacks(topology.KindNodes), wanted > 0 && unknown == wanted:
		text = fmt.Sprintf("%d, sessions %s", len(t.Peers), notKnown)
	case unknown > 0:
		text += fmt.Sprintf(", %d %s", unknown, notKnown)
	}
	if len(down) > 0 {
		text += "; DOWN " + down[0]
	}
	if len(down) > 1 {
		text += fmt.Sprintf(" and %d more: heraldctl sessions", len(down)-1)
	}
	return text
}

// servicesText counts Services by state.
func servicesText(t topology.Topology) string {
	if t.Lacks(topology.KindServices) {
		return notKnown
	}
	count, untold := map[string]int{}, 0
	for _, s := range t.Services {
		count[s.State]++
		if len(s.Untold) > 0 {
			untold++
		}
	}
	var parts []string
	for _, of := range []struct{ state, word string }{
		{topology.StateAnnounced, "announced"}, {topology.StateDegraded, "announced, but not by all"}, {topology.StateNotAnnounced, "not announced"},
		{topology.StateNoAddress, "without an address"}, {topology.StateUnknown, notKnown}, {topology.StateOther, "of other load balancers"},
	} {
		if n := count[of.state]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, of.word))
		}
	}
	text := fmt.Sprintf("%d of type LoadBalancer", len(t.Services))
	if len(parts) > 0 {
		text += ": " + strings.Join(parts, ", ")
	}
	if untold > 0 {
		text += fmt.Sprintf("; of %d it is not known with which addresses", untold)
	}
	return text
}
