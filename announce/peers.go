// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"fmt"
	"hash/fnv"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/render"
	"github.com/heraldlb/herald/status"
)

// A session is a peer that the node is to hold a session with.
type session struct {
	name     string
	id       status.PeerID
	internal bool   // iBGP
	dual     bool   // routes of both families
	shown    uint32 // our AS number, as the peer sees it
}

// carries reports whether routes of a family go over the session.
func (s session) carries(is4 bool) bool { return s.dual || s.id.Carries(is4) }

// A vrfRouter is what the peers of one VRF have in common: FRR has one AS number
// and one router ID for each.
type vrfRouter struct {
	asn      uint32 // of the first peer that runs here
	by       string // that peer
	routerID netip.Addr
	idBy     string // the peer that set routerID
}

// sessionsOf decides which peers a node has sessions with. The first peer of a
// VRF that runs here sets its AS number, and the first with a router ID sets the router
// ID. The sessions are in the order of their neighbors. Sessions with peers of kept
// stay, after all others, though these peers no longer select the node.
func sessionsOf(cfg config.Config, n cluster.Node, known bool, kept []string) (render.Config, []status.Peer, []session) {
	c := render.Config{Hostname: n.Name}
	peers := make([]status.Peer, len(cfg.Peers))
	var sessions []session
	routers := map[string]*vrfRouter{} // by VRF
	names := map[status.PeerID]string{}
	admit := func(i int, selected bool) {
		p := cfg.Peers[i]
		st := status.Peer{
			Name: p.Name, Address: p.Address, Interface: p.Interface, VRF: p.VRF, Port: p.Port,
			ASN: p.PeerASN, DynamicASN: string(p.DynamicASN), BFDProfile: p.BFDProfile,
			Authenticated: !p.Password.IsZero(), TTLSecurity: p.TTLSecurity,
		}
		id := status.PeerID{Address: p.Address, Interface: p.Interface, VRF: p.VRF}
		r := routers[p.VRF]
		if r == nil {
			r = &vrfRouter{}
		}
		earlier, taken := names[id]
		conflict := r.conflict(p)
		switch {
		case !selected && !known:
			st.Reason = status.NodeUnknown
		case !selected:
			st.Reason = status.NodeNotSelected
		case taken:
			st.Reason = status.AddressConflict
			what := "address"
			if p.Interface != "" {
				what = "interface"
			}
			st.Detail = fmt.Sprintf("peer %s has the same %s", earlier, what)
		case conflict != "":
			st.Reason, st.Detail = status.ASNConflict, conflict
		default:
			st.Wanted, st.Reason = true, status.Configured
		}
		if st.Wanted {
			names[id] = p.Name
			routers[p.VRF] = r
			st.Detail = r.admit(p)
			c.Neighbors = append(c.Neighbors, neighbor(p, r.asn))
			sessions = append(sessions, session{
				name: p.Name, id: id, dual: p.DualStack, shown: p.ShownASN(),
				internal: p.DynamicASN == config.Internal || p.PeerASN == r.asn,
			})
		}
		peers[i] = st
	}
	var late []int
	for i, p := range cfg.Peers {
		selected := p.AppliesToNode(n.Labels)
		if admit(i, selected); !selected && slices.Contains(kept, p.Name) {
			late = append(late, i)
		}
	}
	for _, i := range late { // no peer that selects the node gives way to one that does not
		was := peers[i]
		if admit(i, true); !peers[i].Wanted {
			peers[i] = was
		}
	}
	setRouters(&c, routers, n)
	noteMadeIDs(peers, routers, n)
	c.BFDProfiles = profilesOf(cfg, c.Neighbors)
	slices.SortFunc(c.Neighbors, func(a, b render.Neighbor) int { return a.ID().Compare(b.ID()) })
	slices.SortFunc(sessions, func(a, b session) int { return a.id.Compare(b.id) })
	return c, peers, sessions
}

// conflict returns why a peer cannot run together with those that do. Empty: it can.
func (r *vrfRouter) conflict(p config.Peer) string {
	if r.asn == 0 {
		return p.ASNConflict(p.MyASN, "its myASN")
	}
	return p.ASNConflict(r.asn, "as peer "+r.by+" has it")
}

// admit takes over what a peer that runs here sets for all, and returns remarks about it.
func (r *vrfRouter) admit(p config.Peer) string {
	if r.asn == 0 {
		r.asn, r.by = p.MyASN, p.Name
	}
	var remarks []string
	switch {
	case !p.RouterID.IsValid() || r.routerID == p.RouterID:
	case !r.routerID.IsValid():
		r.routerID, r.idBy = p.RouterID, p.Name
	default:
		remarks = append(remarks, fmt.Sprintf("router ID %s is not used: peer %s set %s first", p.RouterID, r.idBy, r.routerID))
	}
	if p.GracefulRestart && p.BFDProfile != "" {
		// RFC 5882, Section 4.3: bfdd goes down together with bgpd.
		remarks = append(remarks, "graceful restart holds no routes if the peer notices with BFD that FRR restarts")
	}
	return strings.Join(remarks, "; ")
}

// setRouters enters the routers of all VRFs.
func setRouters(c *render.Config, routers map[string]*vrfRouter, n cluster.Node) {
	for _, vrf := range slices.Sorted(maps.Keys(routers)) {
		r := routers[vrf]
		id := r.routerID
		if !id.IsValid() {
			id = routerID(n)
		}
		if vrf == "" {
			c.ASN, c.RouterID = r.asn, id
		} else {
			c.VRFs = append(c.VRFs, render.VRF{Name: vrf, ASN: r.asn, RouterID: id})
		}
	}
}

// noteMadeIDs adds a remark to the first peer of each router whose ID is made from the
// node's name: it looks like an address and is none.
func noteMadeIDs(peers []status.Peer, routers map[string]*vrfRouter, n cluster.Node) {
	if slices.ContainsFunc(n.Addrs, netip.Addr.Is4) {
		return
	}
	for i := range peers {
		p := &peers[i]
		if r := routers[p.VRF]; p.Wanted && r.by == p.Name && !r.routerID.IsValid() {
			note := fmt.Sprintf("router ID %s is made from the node's name, as the node has no IPv4 address; a peer's router ID sets another", routerID(n))
			p.Detail = strings.TrimPrefix(p.Detail+"; "+note, "; ")
		}
	}
}

// madeID returns the router ID that is made from a node's name, if a router has
// that.
func madeID(c render.Config, n cluster.Node) netip.Addr {
	id := routerID(n)
	has := c.RouterID == id || slices.ContainsFunc(c.VRFs, func(v render.VRF) bool { return v.RouterID == id })
	if !has || slices.Contains(n.Addrs, id) {
		return netip.Addr{}
	}
	return id
}

// neighbor returns the session with p of a node whose AS number is asn.
func neighbor(p config.Peer, asn uint32) render.Neighbor {
	n := render.Neighbor{
		Address:         p.Address,
		Interface:       p.Interface,
		VRF:             p.VRF,
		ASN:             p.PeerASN,
		DynamicASN:      p.DynamicASN,
		Port:            p.Port,
		SourceAddress:   p.SourceAddress,
		HoldTime:        p.HoldTime,
		KeepaliveTime:   p.KeepaliveTime,
		ConnectTime:     p.ConnectTime,
		Password:        p.Password,
		EBGPMultiHop:    p.EBGPMultiHop,
		TTLSecurity:     p.TTLSecurity,
		BFDProfile:      p.BFDProfile,
		GracefulRestart: p.GracefulRestart,
		DualStack:       p.DualStack,
	}
	if shown := p.ShownASN(); shown != asn {
		n.LocalASN = shown
	}
	return n
}

// routerID returns the BGP Identifier of a node that no peer sets one for: its
// own IPv4 address, else a number made from its name, which RFC 6286 allows.
// FRR's own choice may be an address that a Service has put on an interface.
func routerID(n cluster.Node) netip.Addr {
	if i := slices.IndexFunc(n.Addrs, netip.Addr.Is4); i >= 0 {
		return n.Addrs[i]
	}
	h := fnv.New32a()
	h.Write([]byte(n.Name))
	sum := h.Sum32()
	return netip.AddrFrom4([4]byte{byte(sum>>24) | 1, byte(sum >> 16), byte(sum >> 8), byte(sum)})
}

// profilesOf returns the BFD profiles that neighbors use, by name.
func profilesOf(cfg config.Config, neighbors []render.Neighbor) []config.BFDProfile {
	var out []config.BFDProfile
	for _, p := range cfg.BFDProfiles {
		if slices.ContainsFunc(neighbors, func(n render.Neighbor) bool { return n.BFDProfile == p.Name }) {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b config.BFDProfile) int { return strings.Compare(a.Name, b.Name) })
	return out
}
