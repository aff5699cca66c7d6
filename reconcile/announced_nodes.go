// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/status"
)

// A lack is why nodes do not announce an address.
type lack struct {
	reason status.Reason
	text   string
}

// unable says why no node may announce any of the addresses, though an
// advertisement selects the Service: status.NodeNotSelected, status.NodeExcluded,
// status.NodeNetworkDown, status.NoInterface or status.NoPeers. The reason is empty
// if some node may, or if it is not known which nodes there are.
func (m *announced) unable(svc *cluster.Service, addrs []netip.Addr, a Announced) (status.Reason, string) {
	if a.Reach == nil || len(a.Reach.Nodes) == 0 {
		return "", ""
	}
	var reason status.Reason
	var texts []string
	for _, addr := range addrs {
		pool := m.index.Pool(addr)
		if pool == nil {
			return "", ""
		}
		l, advertised := m.lackIn(pool, svc, a)
		switch {
		case !advertised:
			continue // unadvertised says so where it is all there is
		case l.reason == "":
			return "", ""
		}
		if reason == "" {
			reason = l.reason
		}
		if !slices.Contains(texts, l.text) {
			texts = append(texts, l.text)
		}
	}
	return reason, strings.Join(texts, "; ")
}

// lackIn returns what lackOf does for the advertisements of a pool that apply to a
// Service, once in a pass for all Services that have them in common, and whether
// there are any.
func (m *announced) lackIn(p *announce.Pool, svc *cluster.Service, a Announced) (l lack, advertised bool) {
	ads := p.Ads(svc.Labels)
	if ads.None() {
		return lack{}, false
	}
	l, known := m.lacks[ads]
	if !known {
		l = m.lackOf(ads, a)
		m.lacks[ads] = l
	}
	return l, true
}

// lackOf says why no node announces what advertisements are about.
func (m *announced) lackOf(ads *announce.Ads, a Announced) lack {
	nodes := a.Reach.Nodes
	var names []string
	for _, ad := range ads.BGP {
		names = append(names, ad.Name)
	}
	for _, ad := range ads.Layer2 {
		names = append(names, ad.Name)
	}
	selected := 0
	var able []*cluster.Node // of those selected
	forbidden := map[status.Reason][]string{}
	for _, n := range nodes {
		if !ads.ApplyToNode(n.Labels) {
			continue
		}
		selected++
		if why := announce.Refusal(*n, true, announce.Options{IgnoreExcludeLB: m.ignoreExclude}); why != "" {
			forbidden[why] = append(forbidden[why], n.Name)
			continue
		}
		able = append(able, n)
	}
	switch {
	case selected == 0:
		return lack{status.NodeNotSelected, fmt.Sprintf("the nodeSelectors of %s match 0 of %d nodes", advertisements(names), len(nodes))}
	case len(able) == 0:
		return forbiddenLack(forbidden, selected, len(nodes))
	}
	deaf := a.deaf(ads.Layer2, able)
	switch {
	case len(ads.Layer2) > 0 && deaf.reason == "":
		return lack{}
	case len(ads.BGP) == 0:
		return deaf
	}
	l := m.peerless(ads.BGP, able, names)
	if l.reason != "" && deaf.reason == status.NoInterface {
		l.text += "; " + deaf.text
	}
	return l
}

// deaf says why none of the nodes can answer as layer 2 advertisements have it; it
// is empty if one may be able to.
func (a Announced) deaf(layer2 []*config.L2Advertisement, able []*cluster.Node) lack {
	nowhere := map[string]bool{}
	for _, ad := range layer2 {
		if !slices.ContainsFunc(able, func(n *cluster.Node) bool { return ad.AppliesToNode(n.Labels) }) {
			continue
		}
		for _, name := range ad.Interfaces {
			if a.Nowhere == nil || !a.Nowhere(name) {
				return lack{}
			}
			nowhere[name] = true
		}
		if len(ad.Interfaces) == 0 {
			return lack{}
		}
	}
	if len(nowhere) == 0 {
		return lack{reason: status.NodeNotSelected}
	}
	return lack{status.NoInterface, fmt.Sprintf("no node has an interface %s that layer 2 can use", someOf(nowhere))}
}

// forbiddenLack says why none of the selected nodes may announce anything.
func forbiddenLack(forbidden map[status.Reason][]string, selected, all int) lack {
	var out lack
	var texts []string
	for _, f := range []lack{
		{status.NodeExcluded, "the label " + announce.LabelExcludeNode + " is on "},
		{status.NodeNetworkDown, "the condition NetworkUnavailable is true on "},
	} {
		if nodes := forbidden[f.reason]; len(nodes) > 0 {
			if out.reason == "" {
				out.reason = f.reason
			}
			texts = append(texts, f.text+clipList(nodes, ", "))
		}
	}
	out.text = fmt.Sprintf("no node may announce it, of %d nodes %d are selected: %s", all, selected, strings.Join(texts, "; "))
	return out
}

// peerless says why none of the nodes has a BGP session that BGP advertisements
// are for; it is empty if one is to have one.
func (m *announced) peerless(ads []*config.BGPAdvertisement, able []*cluster.Node, names []string) lack {
	meant := map[string]bool{}
	for _, p := range m.config.Peers {
		for _, ad := range ads {
			if len(ad.Peers) > 0 && !slices.Contains(ad.Peers, p.Name) {
				continue
			}
			meant[p.Name] = true
			if slices.ContainsFunc(able, func(n *cluster.Node) bool {
				return ad.AppliesToNode(n.Labels) && p.AppliesToNode(n.Labels)
			}) {
				return lack{}
			}
		}
	}
	switch {
	case len(m.config.Peers) == 0:
		return lack{status.NoPeers, "there are no BGP peers"}
	case len(meant) == 0:
		return lack{status.NoPeers, fmt.Sprintf("none of the peers of %s exists", advertisements(names))}
	}
	return lack{status.NoPeers, fmt.Sprintf("the nodeSelectors of the peers %s match none of the %d nodes that may announce it", someOf(meant), len(able))}
}

// advertisements names advertisements.
func advertisements(names []string) string {
	if len(names) == 1 {
		return "advertisement " + names[0]
	}
	return "the advertisements " + clipList(names, ", ")
}
