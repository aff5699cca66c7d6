// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/status"
)

// whyService explains a Service: what it asks for, its addresses, what advertises them, its
// endpoints, what each node decides, sessions and owner, what was sent, and the data plane.
func (t Topology) whyService(c *Chain, name string) error {
	s, err := t.namedService(name)
	if err != nil {
		return err
	}
	c.Subject = "Service " + s.Name
	if t.others[cluster.ParseKey(s.Name)] {
		c.Summary = "it is not of type LoadBalancer"
		c.add("request", LinkBroken, "Herald gives addresses to Services of type LoadBalancer alone")
		c.Problems = []Problem{{
			ID: "NotLoadBalancer", Severity: Error, Objects: []string{"Service/" + s.Name}, Cause: "it is not of type LoadBalancer",
			Cure: "set spec.type to LoadBalancer", Next: ofService("edit", s.Name),
		}}
		return nil
	}
	c.Summary = summaryOf(s)
	if t.requestLink(c, s); s.State == StateOther {
		return nil
	}
	t.addressLink(c, s)
	if len(s.Addresses) > 0 {
		advertisementLink(c, s, t.Config.Unread)
		t.endpointsLink(c, s)
		nodesLink(c, s)
		t.bgpLinks(c, s)
		t.layer2Links(c, s)
		t.proxyLink(c, s)
	}
	c.Problems = t.problemsOf(t.dependencies(s)...)
	return nil
}

// namedService returns a Service by namespace/name, or by its name if no other has it. One
// that is no LoadBalancer has a name alone.
func (t Topology) namedService(name string) (Service, error) {
	name = strings.TrimPrefix(strings.TrimPrefix(name, "service/"), "svc/")
	var found, names []string
	consider := func(full string) {
		_, short, _ := strings.Cut(full, "/")
		if names = append(names, full); full == name || short == name {
			found = append(found, full)
		}
	}
	for _, s := range t.Services {
		consider(s.Name)
	}
	if len(found) == 0 {
		for key := range t.others {
			consider(key.String())
		}
	}
	slices.Sort(found)
	switch {
	case len(found) == 1:
		if s, ok := t.Service(found[0]); ok {
			return s, nil
		}
		return Service{Name: found[0]}, nil
	case len(found) > 1:
		return Service{}, fmt.Errorf("several Services have the name %q: %s; name the namespace, too", name, cluster.List(found, ", "))
	}
	if i := slices.IndexFunc(t.Unasked, func(u Unasked) bool { return u.What == KindServices }); i >= 0 {
		return Service{}, errors.New(t.Unasked[i].Error)
	}
	return Service{}, missing("Service", name, names)
}

// summaryOf says in one line what a Service has.
func summaryOf(s Service) string {
	var addrs []string
	for _, a := range s.Addresses {
		addrs = append(addrs, a.Addr.String())
	}
	policy := "Cluster"
	if s.Local {
		policy = "Local"
	}
	text := cmp.Or(strings.Join(addrs, ", "), "no address")
	if s.Announced.True {
		text += ", " + s.Announced.Message
	} else if s.Announced.Reason != "" && len(addrs) > 0 {
		text += ", not announced"
	}
	return text + "; externalTrafficPolicy " + policy
}

// dependencies returns the objects that a Service depends on, and itself.
func (t Topology) dependencies(s Service) []string {
	out := []string{"Service/" + s.Name}
	if len(s.Addresses) == 0 || !t.Config.Loaded && t.Config.Unread == "" {
		out = append(out, configuration, "controller")
	}
	peers := map[string]bool{}
	for _, a := range s.Addresses {
		out = append(out, config.KindPool+"/"+a.Pool, SubjectPool+a.Pool)
		out = append(out, a.Advertisements...)
		if len(a.Advertisements) == 0 { // one may be meant for it that refers to nothing
			for _, p := range t.Problems {
				if p.ID == ProblemRefs || p.ID == config.VerdictInvalid {
					out = append(out, p.Objects...)
				}
			}
		}
	}
	for _, v := range s.Verdicts {
		for _, p := range v.Peers {
			peers[p] = true
		}
		if s.State != StateAnnounced && v.Announce || v.Reason == reasonAgentAbsent || v.Reason == status.NodeNetworkDown || v.Reason == status.MembersUnknown {
			for _, n := range v.Nodes {
				out = append(out, "Node/"+n)
			}
		}
		if v.Reason == status.NoPeers {
			for _, p := range t.Peers {
				peers[p.Name] = true
			}
		}
	}
	for p := range peers {
		out = append(out, config.KindPeer+"/"+p, SubjectPeer+p)
	}
	return out
}

func (t Topology) requestLink(c *Chain, s Service) {
	if s.State == StateOther && s.Class != t.Class {
		class := func(name string) string {
			if name == "" {
				return "without a class"
			}
			return "of class " + name
		}
		cause := fmt.Sprintf("it is %s, and Herald handles Services %s", class(s.Class), class(t.Class))
		cure := fmt.Sprintf("nothing, if %s is to serve it; else delete the Service and create it again without spec.loadBalancerClass, which cannot be changed", s.Class)
		if s.Class == "" {
			cure = "nothing, if another load balancer is to serve it; else create the Service again, with spec.loadBalancerClass: " + t.Class
		} else if t.Class != "" {
			cure = fmt.Sprintf("nothing, if %s is to serve it; else delete the Service and create it again with spec.loadBalancerClass: %s", s.Class, t.Class)
		}
		if s.Class != "" {
			cure += "; or start controller and agents with --lb-class=" + s.Class
		}
		c.add("request", LinkNone, cause)
		c.Problems = []Problem{{
			ID: string(assign.ReasonForeign), Severity: Warning, Objects: []string{"Service/" + s.Name}, Cause: cause,
			Cure: cure, Next: ofService("get", s.Name) + " -o yaml",
		}}
		return
	}
	if s.State == StateOther {
		c.add("request", LinkNone, s.Assigned.Message)
		c.Problems = []Problem{{
			ID: string(s.Assigned.Reason), Severity: Warning, Objects: []string{"Service/" + s.Name}, Cause: s.Assigned.Message,
			Cure: "nothing, if another load balancer is to serve it; else have it ask for an address or a pool, or clear its status", Next: ofService("get", s.Name) + " -o yaml",
		}}
		return
	}
	text := "any address"
	if s.Request != "" {
		text = s.Request
	}
	if s.Annotations != "" {
		c.add("request", LinkPart, text, s.Annotations)
		return
	}
	c.add("request", LinkOK, text)
}

func (t Topology) addressLink(c *Chain, s Service) {
	switch {
	case len(s.Addresses) == 0 && s.Assigned.Reason == "":
		c.add("address", LinkUnknown, "none, and the controller has not said why")
	case len(s.Addresses) == 0 && s.Assigned.True:
		c.add("address", LinkBroken, "none yet: the controller is to assign "+s.Assigned.Message)
	case len(s.Addresses) == 0:
		c.add("address", LinkBroken, "none: "+s.Assigned.Message)
	default:
		var texts []string
		result := LinkOK
		for _, a := range s.Addresses {
			if a.Pool == "" && t.Config.Loaded {
				result = LinkBroken
				texts = append(texts, a.Addr.String()+", which is in no pool")
				continue
			}
			texts = append(texts, strings.TrimSuffix(fmt.Sprintf("%s from pool %s", a.Addr, a.Pool), " from pool "))
		}
		if !s.Assigned.True && s.Assigned.Reason != "" {
			result = LinkPart
			texts = append(texts, s.Assigned.Message)
		}
		c.add("address", result, strings.Join(texts, "; "))
	}
}

func advertisementLink(c *Chain, s Service, unread string) {
	var with []string
	lacking := 0
	for _, a := range s.Addresses {
		if len(a.Advertisements) == 0 {
			lacking++
		}
		with = append(with, a.Advertisements...)
	}
	slices.Sort(with)
	with = slices.Compact(with)
	switch {
	case lacking == len(s.Addresses) && unread != "" && s.Announced.True:
		c.add("advertisement", LinkNone, "not known, and the Service is announced: "+unread)
	case lacking == len(s.Addresses) && unread != "":
		c.add("advertisement", LinkUnknown, "not known: "+unread)
	case lacking == len(s.Addresses) && s.Announced.True: // without a configuration nothing is known
		c.add("advertisement", LinkUnknown, "not known, as the configuration in force is not")
	case lacking == len(s.Addresses):
		c.add("advertisement", LinkBroken, cmp.Or(s.Announced.Message, "none applies"))
	case lacking > 0:
		c.add("advertisement", LinkPart, cluster.List(with, ", ")+"; for one address none applies")
	default:
		c.add("advertisement", LinkOK, cluster.List(with, ", "))
	}
}

func (t Topology) endpointsLink(c *Chain, s Service) {
	ready, terminating := 0, 0
	var nodes []string
	for _, e := range s.Endpoints {
		ready += e.Ready
		if e.Terminating {
			terminating++
		}
		if node := cmp.Or(e.Node, "no node"); !slices.Contains(nodes, node) {
			nodes = append(nodes, node)
		}
	}
	slices.Sort(nodes)
	if t.Lacks(KindEndpointSlices) {
		c.add("endpoints", LinkUnknown, "not known: "+KindEndpointSlices+" could not be read")
		return
	}
	failing := s.Announced.Reason == status.NoEndpoints || s.Announced.Reason == status.TooFewEndpoints
	switch {
	case failing:
		c.add("endpoints", LinkBroken, s.Announced.Message)
	case len(s.Endpoints) == 0:
		c.add("endpoints", LinkBroken, "the Service has no usable endpoint")
	case ready == 0:
		c.add("endpoints", LinkPart, "none is ready; those that terminate still serve, on "+cluster.List(nodes, ", "))
	default:
		text := fmt.Sprintf("%d ready, on %s", ready, cluster.List(nodes, ", "))
		if terminating > 0 {
			text += "; " + counted(terminating, "node has terminating ones alone", "nodes have terminating ones alone")
		}
		c.add("endpoints", LinkOK, text)
	}
}

// nodesLink says what each node decides.
func nodesLink(c *Chain, s Service) {
	var details []string
	announcing := map[string]bool{}
	for _, v := range s.Verdicts {
		where := cluster.List(v.Nodes, ", ")
		what := string(v.Reason)
		if v.Announce {
			for _, n := range v.Nodes {
				announcing[n] = true
			}
			switch what = "announces it"; {
			case v.Last:
				what = "drains, and announces it until another node does"
			case v.Reason != status.Announced && v.Reason != "":
				what += " still: " + string(v.Reason)
			case v.From == FromObjects && !v.Confirmed:
				what = "announces it, or another address of the Service"
			case !v.Confirmed && v.From == FromAgent:
				what = "is to announce it, and does not yet"
			case !v.Confirmed:
				what = "is to announce it"
			}
		}
		line := where + ": " + what
		if v.Detail != "" {
			line += ": " + v.Detail
		}
		if len(s.Addresses) > 1 && v.Addr.IsValid() {
			line = v.Addr.String() + " " + line
		}
		if v.Protocol != "" {
			line += " (" + string(v.Protocol) + ")"
		}
		details = append(details, line)
	}
	switch {
	case len(s.Verdicts) == 0 && len(s.Announcers) > 0:
		nodes := map[string]bool{}
		for _, a := range s.Announcers {
			nodes[a.Node] = true
		}
		c.add("nodes", LinkOK, cluster.ListSet(nodes)+"; what others decide is not known")
	case len(s.Verdicts) == 0:
		c.add("nodes", LinkUnknown, "no node has said what it decides")
	case len(announcing) == 0 && s.Announced.True:
		c.add("nodes", LinkPart, "no node is to announce it any more", firstOf(details)...)
	case len(announcing) == 0:
		c.add("nodes", LinkBroken, "no node is to announce it", firstOf(details)...)
	default:
		c.add("nodes", LinkOK, cluster.ListSet(announcing), firstOf(details)...)
	}
}
