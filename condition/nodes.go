// SPDX-License-Identifier: Apache-2.0

package condition

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

// unable returns why no node may announce any of the addresses, though an
// advertisement selects the Service: status.NodeNotSelected, status.NodeExcluded,
// status.NodeNetworkDown, status.NoInterface or status.NoPeers. The reason is empty
// if some node may, or if it is not known which nodes there are.
func (j *Judge) unable(svc *cluster.Service, addrs []netip.Addr, o Observed) (status.Reason, string) {
	if o.Reach == nil || len(o.Reach.Nodes) == 0 {
		return "", ""
	}
	var reason status.Reason
	var texts []string
	for _, addr := range addrs {
		pool := j.index.Pool(addr)
		if pool == nil {
			return "", ""
		}
		l, advertised := j.lackIn(pool, svc, o)
		switch {
		case !advertised:
			continue // reported by unadvertised, if no address has an advertisement
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

// lackIn returns the lack of the advertisements of a pool that apply to a Service, and
// whether there are any. Services with the same advertisements share one lackOf in a pass.
func (j *Judge) lackIn(p *announce.Pool, svc *cluster.Service, o Observed) (l lack, advertised bool) {
	ads := p.Ads(svc.Labels)
	if ads.None() {
		return lack{}, false
	}
	l, known := j.lacks[ads]
	if !known {
		l = j.lackOf(ads, o)
		j.lacks[ads] = l
	}
	return l, true
}

// lackOf returns why no node announces what the advertisements ask for.
func (j *Judge) lackOf(ads *announce.Ads, o Observed) lack {
	nodes := o.Reach.Nodes
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
		if why := announce.Refusal(*n, true, announce.Options{IgnoreExcludeLB: j.IgnoreExclude}); why != "" {
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
	onLayer2 := j.lacksInterface(o, ads.Layer2, able)
	switch {
	case len(ads.Layer2) > 0 && onLayer2.reason == "":
		return lack{}
	case len(ads.BGP) == 0:
		return onLayer2
	}
	l := j.peerless(ads.BGP, able, names)
	if l.reason != "" && onLayer2.reason == status.NoInterface {
		l.text += "; " + onLayer2.text
	}
	return l
}

// lacksInterface returns why none of the nodes can answer for the layer 2 advertisements; empty if
// one may be able to.
func (j *Judge) lacksInterface(o Observed, layer2 []*config.L2Advertisement, able []*cluster.Node) lack {
	nowhere := map[string]bool{}
	for _, ad := range layer2 {
		if !slices.ContainsFunc(able, func(n *cluster.Node) bool { return ad.AppliesToNode(n.Labels) }) {
			continue
		}
		for _, name := range ad.Interfaces {
			if !j.isNowhere(o, name) {
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
	return lack{status.NoInterface, fmt.Sprintf("no node has an interface %s that layer 2 can use", cluster.ListSet(nowhere))}
}

// isNowhere reports whether every node is known to lack an interface.
func (j *Judge) isNowhere(o Observed, iface string) bool {
	is := o.Nowhere != nil && o.Nowhere(iface)
	if j.nowhere == nil {
		j.nowhere = map[string]bool{}
	}
	j.nowhere[iface] = is
	return is
}

// forbiddenLack returns why none of the selected nodes may announce anything.
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
			texts = append(texts, f.text+cluster.List(nodes, ", "))
		}
	}
	out.text = fmt.Sprintf("none of the %d nodes that are selected (of %d) may announce it: %s", selected, all, strings.Join(texts, "; "))
	return out
}

// peerless returns why none of the nodes has a BGP session for the BGP advertisements;
// empty if one should have one.
func (j *Judge) peerless(ads []*config.BGPAdvertisement, able []*cluster.Node, names []string) lack {
	meant := map[string]bool{}
	for _, p := range j.config.Peers {
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
	case len(j.config.Peers) == 0:
		return lack{status.NoPeers, "there are no BGP peers"}
	case len(meant) == 0:
		return lack{status.NoPeers, fmt.Sprintf("none of the peers of %s exists", advertisements(names))}
	}
	return lack{status.NoPeers, fmt.Sprintf("the nodeSelectors of the peers %s match none of the %d nodes that may announce it", cluster.ListSet(meant), len(able))}
}

// advertisements names advertisements.
func advertisements(names []string) string {
	if len(names) == 1 {
		return "advertisement " + names[0]
	}
	return "the advertisements " + cluster.List(names, ", ")
}
