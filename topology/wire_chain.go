// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/status"
)

// bgpLinks are the sessions that a Service is announced over, and what was sent.
func (t Topology) bgpLinks(c *Chain, s Service) {
	var over []Verdict
	for _, v := range s.Verdicts {
		if v.Announce && v.Protocol == status.BGP {
			over = append(over, v)
		}
	}
	if len(over) == 0 {
		return
	}
	up, wanted, partly := 0, 0, false
	var down, sent, unsent []string
	for _, v := range over {
		partly = partly || v.From == FromObjects && !v.Confirmed
		for _, node := range v.Nodes {
			for _, peer := range v.Peers {
				p, _ := t.Peer(peer)
				for _, x := range p.Sessions {
					if x.Node != node || !x.Wanted || x.From == FromRules {
						continue
					}
					if wanted++; x.Up {
						up++
						continue
					}
					down = append(down, fmt.Sprintf("%s to %s is down%s: %s", node, peer, t.lasting(x.Since), cmp.Or(withoutCure(x.Message), x.State, "no reason is known")))
				}
			}
		}
		missing := slices.DeleteFunc(slices.Clone(v.Peers), func(p string) bool { return slices.Contains(v.Sent, p) })
		nodes := cluster.List(v.Nodes, ", ")
		if len(v.Sent) > 0 {
			sent = append(sent, nodes+" to "+cluster.List(v.Sent, ", "))
		}
		if len(missing) > 0 {
			unsent = append(unsent, nodes+" not to "+cluster.List(missing, ", "))
		}
	}
	slices.Sort(down)
	text := fmt.Sprintf("%d of %d are up", up, wanted)
	switch {
	case wanted == 0:
		c.add("BGP sessions", LinkUnknown, "no agent has said whether they are up")
	case up == 0:
		c.add("BGP sessions", LinkBroken, text, firstOf(down)...)
	case up < wanted:
		c.add("BGP sessions", LinkPart, text, firstOf(down)...)
	default:
		c.add("BGP sessions", LinkOK, text)
	}
	slices.Sort(sent)
	slices.Sort(unsent)
	sent, unsent = slices.Compact(sent), slices.Compact(unsent)
	switch {
	case len(sent) == 0 && !t.told(s):
		c.add("routes sent", LinkUnknown, "no agent has said which")
	case partly:
		c.add("routes sent", LinkUnknown, cluster.List(sent, "; ")+", of at least one of its addresses: the agents alone know of which", firstOf(unsent)...)
	case len(sent) == 0 && up > 0:
		c.add("routes sent", LinkBroken, "none, though a session is up", firstOf(unsent)...)
	case len(sent) == 0:
		c.add("routes sent", LinkNone, "none")
	case len(unsent) > 0:
		c.add("routes sent", LinkPart, cluster.List(sent, "; "), firstOf(unsent)...)
	default:
		c.add("routes sent", LinkOK, cluster.List(sent, "; "))
	}
}

// told reports whether something was said of what nodes announce.
func (t Topology) told(s Service) bool {
	return !t.silent && !t.Lacks(KindStatuses) || slices.ContainsFunc(s.Verdicts, func(v Verdict) bool { return v.From == FromAgent })
}

// Lasting returns " for 14m", given since when something lasts; empty if that is not known.
func (t Topology) Lasting(since time.Time) string { return t.lasting(since) }

// lasting returns " for 14m".
func (t Topology) lasting(since time.Time) string {
	if since.IsZero() || since.After(t.At) {
		return ""
	}
	d := t.At.Sub(since)
	switch {
	case d < time.Minute:
		return fmt.Sprintf(" for %ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf(" for %dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf(" for %dh%dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf(" for %dd", int(d.Hours())/24)
}

// layer2Links are the owner of each address, and whether it answers.
func (t Topology) layer2Links(c *Chain, s Service) {
	for _, a := range s.Addresses {
		var owners, answering, steady, unsure []string
		any, partly := false, false
		for _, v := range s.Verdicts {
			if v.Addr != a.Addr || v.Protocol != status.Layer2 {
				continue
			}
			any = true
			if v.Announce {
				owners = append(owners, v.Nodes...)
				partly = partly || v.From == FromObjects && !v.Confirmed
				if v.Confirmed {
					answering = append(answering, v.Nodes...)
				}
				if v.Confirmed && v.Reason == status.Announced {
					steady = append(steady, v.Nodes...)
				}
			} else if v.Reason == status.MembersUnknown || v.Reason == status.Conflict || v.Reason == status.OtherLoadBalancer {
				unsure = append(unsure, cluster.List(v.Nodes, ", ")+": "+string(v.Reason)+": "+v.Detail)
			}
		}
		if !any {
			continue
		}
		slices.Sort(owners)
		slices.Sort(answering)
		name := "layer 2 owner"
		of := ""
		if len(s.Addresses) > 1 {
			of = " of " + a.Addr.String()
		}
		switch {
		case len(owners) == 0 && len(unsure) > 0:
			c.add(name, LinkBroken, "none"+of, firstOf(unsure)...)
		case len(owners) == 0:
			c.add(name, LinkNone, "none"+of)
			continue
		case len(steady) > 1:
			c.add(name, LinkBroken, cluster.List(owners, ", ")+of+": more than one", unsure...)
		default:
			c.add(name, LinkOK, cluster.List(owners, ", ")+of, unsure...)
		}
		switch {
		case len(answering) == 1:
			c.add("ARP and NDP", LinkOK, answering[0]+" answers for "+a.Addr.String())
		case len(answering) > 1:
			c.add("ARP and NDP", LinkPart, cluster.List(answering, ", ")+" answer for "+a.Addr.String())
		case partly:
			c.add("ARP and NDP", LinkUnknown, "not known: an object says of the Service that a node answers, not for which address")
		case !s.Announced.True && t.told(s):
			c.add("ARP and NDP", LinkBroken, "nobody was seen to answer for "+a.Addr.String())
		default:
			c.add("ARP and NDP", LinkUnknown, "it was not seen who answers for "+a.Addr.String())
		}
	}
}

// proxyLink is what the data planes of the nodes that announce a Service say.
func (t Topology) proxyLink(c *Chain, s Service) {
	var bad []string
	asked := 0
	for _, a := range s.Announcers {
		n, _ := t.Node(a.Node)
		if n.ProxyAsked {
			asked++
		}
		if line := n.Name + ": " + n.Proxy; n.Proxy != "" && !slices.Contains(bad, line) {
			bad = append(bad, line)
		}
	}
	for _, v := range s.Verdicts {
		if v.Reason == status.DataPlaneNotReady || v.Reason == status.ProbeFailed {
			bad = append(bad, cluster.List(v.Nodes, ", ")+": "+v.Detail)
		}
	}
	switch {
	case len(bad) > 0:
		c.add("data plane", LinkPart, "not ready everywhere", firstOf(bad)...)
	case asked > 0:
		c.add("data plane", LinkOK, "no node sees anything wrong with kube-proxy, or what replaces it")
	default:
		c.add("data plane", LinkNone, "no agent has said how kube-proxy is")
	}
}

// whyPeer explains a peer.
func (t Topology) whyPeer(c *Chain, name string) error {
	p, ok := t.Peer(name)
	if !ok {
		var names []string
		for _, p := range t.Peers {
			names = append(names, p.Name)
		}
		refused := t.problemsOf(config.KindPeer + "/" + name)
		if len(refused) == 0 {
			return missing("peer", name, names)
		}
		c.Subject, c.Summary, c.Problems = "peer "+name, "it is not in force", refused
		c.add("configuration", LinkBroken, refused[0].Cause)
		return nil
	}
	c.Subject, c.Summary = "peer "+name, fmt.Sprintf("%s, AS %s: %d of %d sessions up", p.Address, p.ASN, p.Up, p.Wanted)
	c.Problems = t.problemsOf(config.KindPeer+"/"+name, SubjectPeer+name)
	c.add("configuration", LinkOK, fmt.Sprintf("%s, AS %s", p.Address, p.ASN))
	var lines, unwanted []string
	sent, unknown := 0, 0
	for _, s := range p.Sessions {
		switch {
		case !s.Wanted:
			unwanted = append(unwanted, strings.TrimSuffix(s.Node+": "+string(s.Reason)+": "+s.Message, ": "))
		case s.From == FromRules:
			unknown++
			lines = append(lines, s.Node+": not known")
		case s.Up:
			lines = append(lines, s.Node+": up"+t.lasting(s.Since)+bfdText(s))
			sent += s.Sent
		default:
			lines = append(lines, fmt.Sprintf("%s: %s%s: %s%s", s.Node, cmp.Or(s.State, "down"), t.lasting(s.Since), cmp.Or(withoutCure(s.Message), "no reason is known"), bfdText(s)))
		}
	}
	switch {
	case p.Wanted == 0 && len(p.Sessions) == 0:
		c.add("nodes", LinkUnknown, "which nodes are to hold a session is not known")
		return nil
	case p.Wanted == 0:
		c.add("nodes", LinkBroken, "none is to hold a session", firstOf(unwanted)...)
		return nil
	case len(unwanted) > 0:
		c.add("nodes", LinkOK, fmt.Sprintf("%d are to hold a session", p.Wanted), firstOf(unwanted)...)
	default:
		c.add("nodes", LinkOK, fmt.Sprintf("%d are to hold a session", p.Wanted))
	}
	text := fmt.Sprintf("%d of %d are up", p.Up, p.Wanted)
	if unknown > 0 {
		text += fmt.Sprintf(", %d not known", unknown)
	}
	switch {
	case unknown == p.Wanted:
		c.add("sessions", LinkUnknown, "no agent has said whether they are up", firstOf(lines)...)
	case p.Up+unknown < p.Wanted && p.Up == 0:
		c.add("sessions", LinkBroken, text, firstOf(lines)...)
	case p.Up < p.Wanted:
		c.add("sessions", LinkPart, text, firstOf(lines)...)
	default:
		c.add("sessions", LinkOK, text, firstOf(lines)...)
	}
	if slices.ContainsFunc(p.Sessions, func(s Session) bool { return s.From == FromAgent }) {
		c.add("routes sent", LinkOK, fmt.Sprintf("%d in all", sent))
	}
	return nil
}

func bfdText(s Session) string {
	if s.BFD == "" {
		return ""
	}
	return ", BFD " + s.BFD
}

// NodeErrors returns what of the configuration is not in force on a node, but for what is
// refused on all of them.
func (t Topology) NodeErrors(n Node) (out []string) {
	for _, p := range t.problemsOf("Node/" + n.Name) {
		if p.ID == ProblemNodeError {
			out = append(out, p.Cause)
		}
	}
	return out
}

// whyNode explains a node.
func (t Topology) whyNode(c *Chain, name string) error {
	n, ok := t.Node(name)
	if !ok {
		var names []string
		for _, n := range t.Nodes {
			names = append(names, n.Name)
		}
		return missing("node", name, names)
	}
	c.Subject, c.Summary = "node "+name, "it announces "+counted(n.Services, "Service", "Services")
	objects := []string{"Node/" + name}
	switch {
	case n.Refusal != "":
		c.add("node", LinkPart, "it announces nothing: "+string(n.Refusal)+": "+cureOf(n.Refusal))
	case n.Drain != "":
		text := "it drains since " + n.Drain + ": heraldctl undrain " + quoted(name) + " ends that"
		if n.Draining != "" {
			text += "; " + n.Draining
		}
		c.add("node", LinkPart, text)
	default:
		c.add("node", LinkOK, "it may announce")
	}
	switch {
	case !n.Agent.Running && n.Agent.Pod == "" && len(t.Nodes) > 1:
		c.add("agent", LinkNone, n.Agent.Absence)
	case !n.Agent.Running:
		c.add("agent", LinkBroken, n.Agent.Absence)
	case n.Agent.Trouble != "":
		c.add("agent", LinkBroken, n.Agent.Trouble)
	case n.Agent.Asked:
		c.add("agent", LinkOK, strings.TrimSpace(n.Agent.Pod+" "+n.Agent.Version))
	default:
		c.add("agent", LinkPart, "it runs, and was not asked")
	}
	link := func(name, wrong, right string) {
		switch {
		case wrong != "":
			c.add(name, LinkBroken, wrong)
		case n.Agent.Asked:
			c.add(name, LinkOK, right)
		default:
			c.add(name, LinkNone, "not asked")
		}
	}
	none := !t.Config.Loaded && !t.Config.Refused && t.Config.Unread == ""
	if none {
		c.add("configuration", LinkBroken, "there is none")
		objects = append(objects, configuration)
	} else if errors := t.NodeErrors(n); len(errors) == 0 && len(n.Errors) > 0 {
		c.add("configuration", LinkOK, "in force, but for what is refused everywhere", firstOf(n.Errors)...)
	} else if n.Behind && len(errors) == 0 {
		c.add("configuration", LinkPart, "another version than on most nodes: "+n.Version)
	} else {
		link("configuration", cluster.List(errors, "; "), "in force")
	}
	if t.NoFRR {
		c.add("FRR", LinkNone, "none: layer 2 alone")
	} else if none {
		c.add("FRR", LinkNone, "it waits for the first configuration")
	} else if n.Applying {
		c.add("FRR", LinkPart, "it takes in a configuration")
	} else {
		link("FRR", n.FRR, "it runs the whole configuration")
	}
	switch members := cluster.List(n.Members, ", "); {
	case none:
		c.add("gossip", LinkNone, "it waits for the first configuration")
	case len(n.Unseen) > 0:
		c.add("gossip", LinkBroken, "it does not see the agents of "+cluster.List(n.Unseen, ", "), "it sees "+members)
	case slices.ContainsFunc(t.Nodes, func(o Node) bool { return slices.Contains(o.Unseen, name) }):
		c.add("gossip", LinkBroken, "others do not see its agent", "it sees "+members)
	case n.Layer2 != "" && !slices.ContainsFunc(t.problemsOf("Node/"+name), func(p Problem) bool { return p.ID == ProblemLayer2 }):
		c.add("gossip", LinkNone, n.Layer2+"; nothing is announced on layer 2")
	default:
		link("gossip", n.Layer2, "alive agents: "+cmp.Or(members, "every node counts"))
	}
	var lines []string
	up, wanted := 0, 0
	for _, p := range t.Peers {
		for _, s := range p.Sessions {
			if s.Node != name || !s.Wanted || s.From == FromRules {
				continue
			}
			if wanted++; s.Up {
				up++
				lines = append(lines, p.Name+": up"+t.lasting(s.Since))
				continue
			}
			lines = append(lines, p.Name+": down"+t.lasting(s.Since)+": "+cmp.Or(withoutCure(s.Message), s.State, "no reason is known"))
		}
	}
	for _, p := range t.Problems {
		if slices.Contains(p.Nodes, name) {
			objects = append(objects, p.Objects...)
		}
	}
	text := fmt.Sprintf("%d of %d are up", up, wanted)
	switch {
	case wanted == 0:
		c.add("BGP sessions", LinkNone, "none")
	case up == 0:
		c.add("BGP sessions", LinkBroken, text, firstOf(lines)...)
	case up < wanted:
		c.add("BGP sessions", LinkPart, text, firstOf(lines)...)
	default:
		c.add("BGP sessions", LinkOK, text, firstOf(lines)...)
	}
	switch {
	case n.Proxy != "":
		c.add("data plane", LinkPart, n.Proxy)
	case n.ProxyAsked:
		c.add("data plane", LinkOK, "kube-proxy, or what replaces it, is healthy")
	}
	c.add("Services", LinkOK, "it announces "+counted(n.Services, "Service", "Services"))
	c.Problems = slices.DeleteFunc(t.problemsOf(objects...), func(p Problem) bool { return len(p.Nodes) > 0 && !slices.Contains(p.Nodes, name) })
	return nil
}
