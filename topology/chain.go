// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/heraldlb/herald/alloc"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/status"
)

// A Chain says why something works or does not, link by link.
type Chain struct {
	SchemaVersion int       `json:"schemaVersion"`
	Subject       string    `json:"subject"` // "Service shop/web", "node n1", "peer tor", "pool web", "address 192.0.2.9"
	Summary       string    `json:"summary"`
	Health        string    `json:"health"`             // fine, broken or unknown
	Broken        string    `json:"broken,omitempty"`   // the first link that is
	Problems      []Problem `json:"problems,omitempty"` // about the subject and what it depends on, the cause of others first
	Links         []Link    `json:"links"`
	LastChange    string    `json:"lastChange,omitempty"` // that an agent has seen: when, on which nodes, how and why
	Unasked       []Unasked `json:"unasked,omitempty"`
}

// Results of a Link.
const (
	LinkOK      = "ok"
	LinkPart    = "part" // it works in part
	LinkBroken  = "broken"
	LinkNone    = "-" // nothing depends on it
	LinkUnknown = "unknown"
)

// A Link is one condition of the whole.
type Link struct {
	Name    string   `json:"name"`
	Result  string   `json:"result"`
	Text    string   `json:"text"`
	Details []string `json:"details,omitempty"`
}

// Healths of a Chain.
const (
	ChainFine    = "fine"
	ChainBroken  = "broken"
	ChainUnknown = "unknown"
)

// add adds a link.
func (c *Chain) add(name, result, text string, details ...string) {
	c.Links = append(c.Links, Link{Name: name, Result: result, Text: text, Details: details})
}

// Prefixes of the subjects of Why that are no Services.
const (
	SubjectNode = "node/"
	SubjectPeer = "peer/"
	SubjectPool = "pool/"
)

// Why explains a Service (NAMESPACE/NAME, or NAME if only one has it), an address, node/N,
// peer/P or pool/P. Its error is that there is none of this name.
func (t Topology) Why(subject string) (Chain, error) {
	c := Chain{SchemaVersion: SchemaVersion, Links: []Link{}}
	for prefix, explain := range map[string]func(*Chain, string) error{
		SubjectNode: t.whyNode, SubjectPeer: t.whyPeer, SubjectPool: t.whyPool,
	} {
		// A namespace may have that name, too.
		if name, ok := strings.CutPrefix(subject, prefix); ok {
			if _, service := t.Service(subject); service {
				continue
			}
			return t.conclude(c, explain(&c, name))
		}
	}
	if a, err := netip.ParseAddr(subject); err == nil {
		return t.conclude(c, t.whyAddress(&c, a.Unmap()))
	}
	return t.conclude(c, t.whyService(&c, subject))
}

// conclude completes a Chain.
func (t Topology) conclude(c Chain, err error) (Chain, error) {
	if err != nil {
		return c, err
	}
	c.Unasked, c.LastChange = t.Unasked, t.lastChange(c.Subject)
	c.Problems = slices.Clone(c.Problems)
	for i := range c.Problems {
		if c.Problems[i].Next == whyOf(subjectOf(c)) {
			c.Problems[i].Next = t.closer(c.Problems[i], c)
		}
	}
	unknown := false
	for _, l := range c.Links {
		if l.Result == LinkBroken && c.Broken == "" {
			c.Broken = l.Name
		}
		unknown = unknown || l.Result == LinkUnknown
	}
	errors := slices.ContainsFunc(c.Problems, func(p Problem) bool { return p.Severity == Error })
	switch {
	case c.Broken != "" || errors:
		c.Health = ChainBroken
	case unknown || t.unknown:
		c.Health = ChainUnknown
	default:
		c.Health = ChainFine
	}
	return c, nil
}

// subjectOf returns what Why was asked about.
func subjectOf(c Chain) string {
	kind, name, _ := strings.Cut(c.Subject, " ")
	if kind == "Service" || kind == "address" {
		return name
	}
	return kind + "/" + name
}

// closer returns the command to run about a Problem in the Chain of its own subject: one
// that shows more, or mends it.
func (t Topology) closer(p Problem, c Chain) string {
	_, name, _ := strings.Cut(c.Subject, " ")
	kind := kindOf(p.Objects[0])
	switch kind {
	case "Service":
		for _, o := range c.Problems {
			if kindOf(o.Objects[0]) != kind && o.Next != "" {
				return o.Next
			}
		}
		switch {
		case p.ID == string(alloc.PoolExhausted) || p.ID == string(alloc.NoPool) || p.ID == string(alloc.FamilyUnavailable):
			return kubectlIn(t.Namespace, "get %s", plural(config.KindPool))
		}
		return ofService("edit", name)
	case "Node":
		if p.ID == ProblemGossip {
			return kubectlIn(t.Namespace, "logs %s -c agent --tail 50", agentPods)
		}
		return kubectlIn(t.Namespace, "get configurationstates.%s speaker-%s -o yaml", config.ResourceGroup, quoted(name))
	case config.KindPool:
		return kubectlIn(t.Namespace, "edit %s %s", plural(kind), quoted(name))
	case config.KindPeer:
		if slices.Contains(configured, status.Reason(p.ID)) {
			return kubectlIn(t.Namespace, "edit %s %s", plural(kind), quoted(name))
		}
	}
	if len(p.Nodes) > 0 {
		return "heraldctl sessions " + quoted(p.Nodes[0])
	}
	return kubectlIn(t.Namespace, "get configmap -o yaml")
}

// configured are the reasons of sessions that the BGPPeer may have to be edited for.
var configured = []status.Reason{status.SessionPeerAS, status.SessionPassword, status.SessionRouterID, status.SessionNoRoute, status.SessionBFD, status.AddressConflict, status.ASNConflict, status.NodeNotSelected}

// problemsOf returns the Problems about one of some objects.
func (t Topology) problemsOf(objects ...string) (out []Problem) {
	for _, p := range t.Problems {
		if slices.ContainsFunc(objects, func(o string) bool { return slices.Contains(p.Objects, o) }) {
			out = append(out, p)
		}
	}
	return out
}

// stateWords are the States of Services in words.
var stateWords = map[string]string{
	StateAnnounced: "announced", StateDegraded: "announced, but not by all", StateNotAnnounced: "not announced",
	StateNoAddress: "without an address", StateOther: "another load balancer's", StateUnknown: "not known",
}

// whyAddress explains the Service that has an address, else the address. Of several that
// share it, it explains the first one that is not fine, and lists all.
func (t Topology) whyAddress(c *Chain, a netip.Addr) error {
	var users, states []string
	for _, s := range t.Services {
		if slices.ContainsFunc(s.Addresses, func(o Address) bool { return o.Addr == a }) {
			users, states = append(users, s.Name), append(states, s.Name+": "+stateWords[s.State])
		}
	}
	if len(users) > 0 {
		var shown Chain
		for i, name := range users {
			one := Chain{SchemaVersion: c.SchemaVersion, Links: []Link{}}
			if err := t.whyService(&one, name); err != nil {
				return err
			}
			if one, _ = t.conclude(one, nil); i == 0 || shown.Health != ChainBroken && one.Health == ChainBroken {
				shown = one
			}
		}
		c.Subject, c.Links, c.Problems = shown.Subject, shown.Links, shown.Problems
		c.Summary = fmt.Sprintf("%s belongs to %s: %s", a, cluster.List(users, ", "), shown.Summary)
		if len(users) > 1 {
			c.add("shared by", LinkNone, counted(len(users), "Service", "Services"), firstOf(states)...)
		}
		return nil
	}
	c.Subject, c.Summary = "address "+a.String(), "no Service has it"
	for _, n := range t.Nodes {
		if slices.Contains(n.Addrs, a) {
			c.Summary = "it is the address of node " + n.Name
			c.add("address", LinkNone, "it is no address of a Service")
			return nil
		}
	}
	for _, p := range t.Peers {
		if p.Address == a.String() {
			c.Summary = "it is the address of peer " + p.Name
			c.add("address", LinkNone, "it is no address of a Service")
			return nil
		}
	}
	for _, p := range t.Pools {
		if !slices.ContainsFunc(p.Addresses, func(text string) bool {
			r, err := config.ParseRange(text)
			return err == nil && r.Contains(a)
		}) {
			continue
		}
		c.add("pool", LinkOK, fmt.Sprintf("pool %s contains it: %s", p.Name, strings.Join(p.Addresses, ", ")))
		c.add("Service", LinkNone, "no Service has it, so that no node announces it")
		return nil
	}
	if !t.Config.Loaded {
		c.add("pool", LinkUnknown, "which pools there are is not known: "+cmp.Or(t.Config.Unread, t.Config.Error))
		return nil
	}
	c.add("pool", LinkBroken, "no pool contains it")
	c.Problems = []Problem{{
		ID: "NotInPool", Severity: Error, Objects: []string{"address/" + a.String()}, Cause: "no Service has it, and no pool contains it",
		Cure: "add it to an IPAddressPool, or look at an address of a Service", Next: kubectlIn(t.Namespace, "get %s", plural(config.KindPool)),
	}}
	return nil
}

// whyPool explains a pool.
func (t Topology) whyPool(c *Chain, name string) error {
	p, ok := t.Pool(name)
	if !ok {
		var names []string
		for _, p := range t.Pools {
			names = append(names, p.Name)
		}
		return missing("pool", name, names)
	}
	c.Subject, c.Summary = "pool "+name, counted(len(p.Clients), "Service has an address of it", "Services have an address of it")
	c.Problems = t.problemsOf(config.KindPool+"/"+name, SubjectPool+name, configuration)
	var waiting []string
	for _, s := range t.Services {
		if t.awaits(s, p) {
			waiting = append(waiting, s.Name+": "+s.Assigned.Message)
		}
	}
	var usage []string
	families, full := 0, 0
	for _, is4 := range []bool{true, false} {
		u := p.Usage(is4)
		if u == "" {
			continue
		}
		if u += " in use"; p.full(is4) {
			u, full = u+" (full)", full+1
		}
		usage, families = append(usage, u), families+1
	}
	result, text := LinkOK, strings.Join(usage, ", ")
	switch {
	case p.TotalV4 == nil:
		result, text = LinkUnknown, "how many are in use is not known"
	case families == 0:
		result, text = LinkNone, "it has no address that a Service can have"
	case full > 0 && len(waiting) > 0:
		result = LinkBroken
	case full > 0:
		result = LinkPart
	}
	c.add("addresses", result, text, firstOf(p.Addresses)...)
	auto := "without an explicit request, too"
	if !p.AutoAssign {
		auto = "only to Services that ask for the pool or for an address of it"
	}
	c.add("assignment", LinkOK, "addresses are given "+auto)
	switch {
	case len(p.Advertisements) == 0 && t.Config.Unread != "":
		c.add("advertisement", LinkUnknown, "not known: "+t.Config.Unread)
	case len(p.Advertisements) == 0 && len(p.Clients) > 0:
		c.add("advertisement", LinkBroken, "no BGPAdvertisement and no L2Advertisement selects it")
	case len(p.Advertisements) == 0:
		c.add("advertisement", LinkPart, "no BGPAdvertisement and no L2Advertisement selects it")
	default:
		c.add("advertisement", LinkOK, cluster.List(p.Advertisements, ", "))
	}
	if len(waiting) > 0 {
		c.add("Services", LinkPart, counted(len(waiting), "has no address", "have no address"), firstOf(waiting)...)
	} else {
		c.add("Services", LinkOK, cmp.Or(cluster.List(p.Clients, ", "), "none"))
	}
	if len(p.Advertisements) == 0 && len(p.Clients) > 0 && len(c.Problems) == 0 {
		c.Problems = t.problemsOf("Service/" + p.Clients[0])
	}
	return nil
}

// shownDetails is how many details a link has at most.
const shownDetails = 20

// firstOf returns all texts, or the first of many.
func firstOf(all []string) []string {
	if len(all) <= shownDetails {
		return all
	}
	return append(slices.Clone(all[:shownDetails]), fmt.Sprintf("and %d more", len(all)-shownDetails))
}

// counted returns "1 Service", or "2 Services".
func counted(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// missing returns the error that there is nothing of a name.
func missing(kind, name string, names []string) error {
	if meant := config.Closest(name, names); meant != "" {
		return fmt.Errorf("there is no %s %q; did you mean %q?", kind, name, meant)
	}
	return fmt.Errorf("there is no %s %q", kind, name)
}
