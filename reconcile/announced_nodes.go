// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

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
// status.NodeNetworkDown or status.NoPeers. The reason is empty if some node may,
// or if it is not known which nodes there are.
func (m *announced) unable(svc *Service, addrs []netip.Addr, r *Reach) (status.Reason, string) {
	if r == nil || len(r.Nodes) == 0 {
		return "", ""
	}
	var reason status.Reason
	var texts []string
	for _, addr := range addrs {
		pool := m.pools.find(addr)
		if pool == nil {
			return "", ""
		}
		bgp, layer2 := pool.selecting(svc)
		if len(bgp)+len(layer2) == 0 {
			continue // unadvertised says so where it is all there is
		}
		l := m.lackOf(bgp, layer2, r.Nodes)
		if l.reason == "" {
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

// selecting returns the advertisements of a pool that select a Service.
func (p *poolAds) selecting(svc *Service) (bgp []*config.BGPAdvertisement, layer2 []*config.L2Advertisement) {
	for _, ad := range p.bgp {
		if config.AnyMatches(ad.ServiceSelectors, svc.Labels) {
			bgp = append(bgp, ad)
		}
	}
	for _, ad := range p.layer2 {
		if config.AnyMatches(ad.ServiceSelectors, svc.Labels) {
			layer2 = append(layer2, ad)
		}
	}
	return bgp, layer2
}

// lackOf says why no node announces what advertisements are about.
func (m *announced) lackOf(bgp []*config.BGPAdvertisement, layer2 []*config.L2Advertisement, nodes []*Node) lack {
	var names []string
	for _, ad := range bgp {
		names = append(names, ad.Name)
	}
	for _, ad := range layer2 {
		names = append(names, ad.Name)
	}
	selected := 0
	var able []*Node // of those selected
	forbidden := map[status.Reason][]string{}
	for _, n := range nodes {
		chosen := slices.ContainsFunc(layer2, func(ad *config.L2Advertisement) bool { return config.AnyMatches(ad.NodeSelectors, n.Labels) }) ||
			slices.ContainsFunc(bgp, func(ad *config.BGPAdvertisement) bool { return config.AnyMatches(ad.NodeSelectors, n.Labels) })
		if !chosen {
			continue
		}
		selected++
		if why := refusal(*n, true, AnnounceOptions{IgnoreExcludeLB: m.ignoreExclude}); why != "" {
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
	if len(layer2) > 0 && slices.ContainsFunc(able, func(n *Node) bool {
		return slices.ContainsFunc(layer2, func(ad *config.L2Advertisement) bool { return config.AnyMatches(ad.NodeSelectors, n.Labels) })
	}) {
		return lack{}
	}
	return m.peerless(bgp, able, names)
}

// forbiddenLack says why none of the selected nodes may announce anything.
func forbiddenLack(forbidden map[status.Reason][]string, selected, all int) lack {
	var out lack
	var texts []string
	for _, f := range []lack{
		{status.NodeExcluded, "the label " + LabelExcludeNode + " is on "},
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
func (m *announced) peerless(ads []*config.BGPAdvertisement, able []*Node, names []string) lack {
	meant := map[string]bool{}
	for _, p := range m.config.Peers {
		for _, ad := range ads {
			if len(ad.Peers) > 0 && !slices.Contains(ad.Peers, p.Name) {
				continue
			}
			meant[p.Name] = true
			if slices.ContainsFunc(able, func(n *Node) bool {
				return config.AnyMatches(ad.NodeSelectors, n.Labels) && config.AnyMatches(p.NodeSelectors, n.Labels)
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
