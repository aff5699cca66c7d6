// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/topology"
)

var servicesKind = kind[topology.Service]{
	name: "services", short: "List Services of type LoadBalancer", aliases: []string{"service", "svc"},
	filters: []string{"node", "pool", "peer", "ip"}, required: topology.KindServices,
	of:      func(t topology.Topology) []topology.Service { return t.Services },
	id:      func(s topology.Service) string { return s.Name },
	objects: func(s topology.Service) []string { return []string{"Service/" + s.Name} },
	keeps: func(f *filter, s topology.Service) bool {
		return f.hasAddress(s) && (f.node == "" && f.peer == "" || slices.ContainsFunc(s.Announcers, f.announces) || slices.ContainsFunc(s.Verdicts, f.decides))
	},
	columns: []column[topology.Service]{
		always("SERVICE", func(s topology.Service) any { return s.Name }),
		always("STATE", func(s topology.Service) any { return s.State }),
		always("ADDRESSES", func(s topology.Service) any {
			return joined(s.Addresses, func(a topology.Address) string { return a.Addr.String() })
		}),
		always("POOLS", func(s topology.Service) any {
			return joined(s.Addresses, func(a topology.Address) string { return a.Pool })
		}),
		wideOnly("CLASS", func(s topology.Service) any { return s.Class }),
		wideOnly("POLICY", func(s topology.Service) any {
			if s.Local {
				return "Local"
			}
			return "Cluster"
		}),
		wideOnly("ENDPOINTS", func(s topology.Service) any {
			ready := 0
			for _, e := range s.Endpoints {
				ready += e.Ready
			}
			return ready
		}),
		wideOnly("ADVERTISEMENTS", func(s topology.Service) any {
			var all []string
			for _, a := range s.Addresses {
				all = append(all, a.Advertisements...)
			}
			return joined(all, itself)
		}),
		{"FROM", false, func(_ topology.Topology, s topology.Service, wide bool) any { return announcers(s.Announcers, wide) }},
		wideOnly("TO", func(s topology.Service) any {
			var ends []string
			for _, a := range s.Announcers {
				ends = append(ends, slices.Concat(a.Peers, a.Interfaces)...)
			}
			return joined(ends, itself)
		}),
		{"AGE", false, func(t topology.Topology, s topology.Service, _ bool) any {
			if s.Created.IsZero() {
				return ""
			}
			return duration.HumanDuration(t.At.Sub(s.Created))
		}},
	},
}

var poolsKind = kind[topology.Pool]{
	name: "pools", short: "List pools of addresses", aliases: []string{"pool"},
	filters: []string{"ip"},
	of:      func(t topology.Topology) []topology.Pool { return t.Pools },
	id:      func(p topology.Pool) string { return p.Name },
	objects: func(p topology.Pool) []string {
		return []string{config.KindPool + "/" + p.Name, topology.SubjectPool + p.Name}
	},
	keeps: func(f *filter, p topology.Pool) bool { return !f.addr.IsValid() || contains(p, f.addr) },
	columns: []column[topology.Pool]{
		always("POOL", func(p topology.Pool) any { return p.Name }),
		always("IPV4", func(p topology.Pool) any { return p.Usage(true) }),
		always("IPV6", func(p topology.Pool) any { return p.Usage(false) }),
		always("SERVICES", func(p topology.Pool) any { return len(p.Clients) }),
		always("AUTO", func(p topology.Pool) any { return p.AutoAssign }),
		{"ADVERTISEMENTS", false, func(_ topology.Topology, p topology.Pool, wide bool) any { return brief(p.Advertisements, wide) }},
		wideOnly("ADDRESSES", func(p topology.Pool) any { return strings.Join(p.Addresses, ",") }),
		wideOnly("QUOTAS", func(p topology.Pool) any {
			return joined(p.Quota, func(s status.Share) string {
				return fmt.Sprintf("%s %d+%d of %d", s.Namespace, s.InUseV4, s.InUseV6, s.Limit)
			})
		}),
	},
}

var nodesKind = kind[topology.Node]{
	name: "nodes", short: "List nodes with their agents", aliases: []string{"node"},
	filters: []string{"peer", "ip"}, required: topology.KindNodes,
	of:      func(t topology.Topology) []topology.Node { return t.Nodes },
	id:      func(n topology.Node) string { return n.Name },
	objects: func(n topology.Node) []string { return []string{"Node/" + n.Name} },
	keeps: func(f *filter, n topology.Node) bool {
		return (!f.addr.IsValid() || slices.Contains(n.Addrs, f.addr)) && (f.peer == "" || slices.Contains(f.holders, n.Name))
	},
	columns: []column[topology.Node]{
		always("NODE", func(n topology.Node) any { return n.Name }),
		always("AGENT", func(n topology.Node) any { return agentWord(n.Agent) }),
		always("VERSION", func(n topology.Node) any { return n.Agent.Version }),
		always("ANNOUNCES", func(n topology.Node) any { return announcesWord(n) }),
		always("SESSIONS", func(n topology.Node) any {
			return sessionsText(n.Load.Sessions, n.Load.Wanted)
		}),
		always("ROUTES", func(n topology.Node) any { return routesText(n) }),
		always("ADDRESSES", func(n topology.Node) any { return n.Load.Addresses }),
		always("SERVICES", func(n topology.Node) any { return n.Services }),
		wideOnly("NODE IPS", func(n topology.Node) any {
			return joined(n.Addrs, netip.Addr.String)
		}),
		wideOnly("POD", func(n topology.Node) any { return n.Agent.Pod }),
		wideOnly("MEMBERS", func(n topology.Node) any {
			if len(n.Members) == 0 {
				return ""
			}
			return len(n.Members)
		}),
	},
}

var peersKind = kind[topology.Peer]{
	name: "peers", short: "List BGP peers with the sessions that nodes hold", aliases: []string{"peer"},
	filters: []string{"node", "ip"},
	of:      func(t topology.Topology) []topology.Peer { return t.Peers },
	id:      func(p topology.Peer) string { return p.Name },
	objects: func(p topology.Peer) []string {
		return []string{config.KindPeer + "/" + p.Name, topology.SubjectPeer + p.Name}
	},
	keeps: func(f *filter, p topology.Peer) bool {
		return (!f.addr.IsValid() || p.Address == f.addr.String() || strings.HasPrefix(p.Address, f.addr.String()+" ")) &&
			(f.node == "" || slices.ContainsFunc(p.Sessions, func(s topology.Session) bool { return s.Wanted && s.Node == f.node }))
	},
	narrow: func(f *filter, p topology.Peer) topology.Peer {
		if f.node == "" {
			return p
		}
		all := p.Sessions
		p.Sessions, p.Up, p.Wanted = []topology.Session{}, 0, 0
		for _, s := range all {
			if s.Node != f.node {
				continue
			}
			if p.Sessions = append(p.Sessions, s); s.Wanted {
				p.Wanted++
			}
			if s.Wanted && s.Up {
				p.Up++
			}
		}
		return p
	},
	columns: []column[topology.Peer]{
		always("PEER", func(p topology.Peer) any { return p.Name }),
		always("ADDRESS", func(p topology.Peer) any { return p.Address }),
		always("AS", func(p topology.Peer) any { return p.ASN }),
		wideOnly("BFD PROFILE", func(p topology.Peer) any { return p.BFDProfile }),
		always("SESSIONS", func(p topology.Peer) any { return sessionsText(p.Up, p.Wanted) }),
		always("ROUTES", func(p topology.Peer) any {
			sent, more := 0, ""
			for _, s := range p.Sessions {
				sent += s.Sent
				if s.Wanted && s.From != topology.FromAgent {
					more = "+" // the agents that were not asked may have sent some
				}
			}
			return fmt.Sprint(sent) + more
		}),
		{"UP ON", true, func(_ topology.Topology, p topology.Peer, wide bool) any {
			return holders(p, wide, func(s topology.Session) bool { return s.Up })
		}},
		{"DOWN ON", false, func(_ topology.Topology, p topology.Peer, wide bool) any {
			return holders(p, wide, func(s topology.Session) bool { return !s.Up && s.From != topology.FromRules })
		}},
		{"NOT KNOWN ON", true, func(_ topology.Topology, p topology.Peer, wide bool) any {
			return holders(p, wide, func(s topology.Session) bool { return !s.Up && s.From == topology.FromRules })
		}},
	},
}

var routesKind = kind[topology.Route]{
	name: "routes", short: "List the routes that nodes send to peers", aliases: []string{"route"},
	filters: []string{"node", "peer", "pool", "ip"}, required: topology.KindServices,
	of:      topology.Topology.Routes,
	objects: func(topology.Route) []string { return nil },
	keeps: func(f *filter, r topology.Route) bool {
		return (f.node == "" || r.Node == f.node) && (f.peer == "" || r.Peer == f.peer) && (!f.addr.IsValid() || r.Prefix.Contains(f.addr)) &&
			(f.pool == "" || overlaps(f.among, r.Prefix))
	},
	fault: func(t topology.Topology, r topology.Route) string {
		if r.Sent || !known(t, r) {
			return ""
		}
		return "NotSent"
	},
	columns: []column[topology.Route]{
		always("NODE", func(r topology.Route) any { return r.Node }),
		always("PEER", func(r topology.Route) any { return r.Peer }),
		always("PREFIX", func(r topology.Route) any { return r.Prefix }),
		{"SENT", false, func(t topology.Topology, r topology.Route, _ bool) any {
			switch {
			case r.Sent:
				return "yes"
			case known(t, r):
				return "no"
			}
			return "not known"
		}},
		wideOnly("FROM", func(r topology.Route) any { return r.From }),
		{"SERVICES", false, func(_ topology.Topology, r topology.Route, wide bool) any { return brief(r.Services, wide) }},
	},
}

// known reports whether somebody has said which routes a node has sent: its agent, or objects
// that it writes.
func known(t topology.Topology, r topology.Route) bool {
	return r.From == topology.FromAgent || !t.Lacks(topology.KindStatuses)
}

// hasAddress reports whether a Service has an address that is wanted.
func (f *filter) hasAddress(s topology.Service) bool {
	return f.pool == "" && !f.addr.IsValid() || slices.ContainsFunc(s.Addresses, func(a topology.Address) bool {
		return (f.pool == "" || a.Pool == f.pool) && (!f.addr.IsValid() || a.Addr == f.addr)
	})
}

// announces reports whether an announcement is by the node and to the peer that are wanted.
func (f *filter) announces(a topology.Announcer) bool {
	return (f.node == "" || a.Node == f.node) && (f.peer == "" || slices.Contains(a.Peers, f.peer))
}

// decides reports the same of a decision to announce, which may not be in force.
func (f *filter) decides(v topology.Verdict) bool {
	return v.Announce && (f.node == "" || slices.Contains(v.Nodes, f.node)) && (f.peer == "" || slices.Contains(v.Peers, f.peer))
}

// contains reports whether an address is in a pool.
func contains(p topology.Pool, a netip.Addr) bool {
	return overlaps(p, netip.PrefixFrom(a, a.BitLen()))
}

// overlaps reports whether a pool and a prefix have an address in common.
func overlaps(p topology.Pool, prefix netip.Prefix) bool {
	route, err := config.ParseRange(prefix.String())
	return err == nil && slices.ContainsFunc(p.Addresses, func(text string) bool {
		r, err := config.ParseRange(text)
		return err == nil && r.Overlaps(route)
	})
}

// holders returns the nodes that hold a session with a peer, or should, if that is as wanted.
func holders(p topology.Peer, all bool, wanted func(topology.Session) bool) string {
	var nodes []string
	for _, s := range p.Sessions {
		if s.Wanted && wanted(s) {
			nodes = append(nodes, s.Node)
		}
	}
	return brief(nodes, all)
}

// announcers returns the nodes that announce a Service, by protocol.
func announcers(all []topology.Announcer, wide bool) string {
	var parts []string
	for _, protocol := range []status.Protocol{status.BGP, status.Layer2} {
		var nodes []string
		for _, a := range all {
			if a.Protocol == protocol {
				nodes = append(nodes, a.Node)
			}
		}
		if len(nodes) > 0 {
			parts = append(parts, string(protocol)+" "+brief(nodes, wide))
		}
	}
	return strings.Join(parts, "; ")
}

// sessionsText returns how many sessions are up of those that are wanted; empty: none is.
func sessionsText(up, wanted int) string {
	if wanted == 0 {
		return ""
	}
	return fmt.Sprintf("%d/%d", up, wanted)
}

// routesText returns how many routes a node has sent to all peers; empty: only its agent
// knows, and was not asked.
func routesText(n topology.Node) string {
	if !n.Agent.Asked {
		return ""
	}
	return fmt.Sprint(n.Load.Routes)
}

func agentWord(a topology.Agent) string {
	switch {
	case a.Asked:
		return "answers"
	case a.Running:
		return "not asked"
	}
	return "absent"
}

// announcesWord says whether a node announces addresses, or why not.
func announcesWord(n topology.Node) string {
	switch {
	case n.Refusal != "":
		return string(n.Refusal)
	case n.Drain != "":
		return string(status.NodeDraining)
	case !n.Agent.Running:
		return "no"
	}
	return "yes"
}

func itself(s string) string { return s }

// brief joins all texts, or the first.
func brief(texts []string, all bool) string {
	if len(texts) == 0 {
		return ""
	}
	return some(texts, ",", all)
}

// joined returns words, each once, with commas between.
func joined[T any](all []T, word func(T) string) string {
	var words []string
	for _, x := range all {
		if w := word(x); w != "" && !slices.Contains(words, w) {
			words = append(words, w)
		}
	}
	return strings.Join(words, ",")
}
