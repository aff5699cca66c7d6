// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strings"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/render"
	"github.com/heraldlb/herald/status"
)

// A session is a peer that the node is to hold a session with.
type session struct {
	name     string
	addr     netip.Addr
	internal bool // iBGP
}

// sessionsOf decides which peers a node has sessions with. FRR has one AS
// number and one router ID a node: the first peer that runs here sets them.
// The sessions are in the order of their addresses.
func sessionsOf(cfg config.Config, n Node, known bool) (render.Config, []status.Peer, []session) {
	c := render.Config{Hostname: n.Name}
	var peers []status.Peer
	var sessions []session
	var routerIDFrom string
	names := map[netip.Addr]string{} // of the peers that run here
	for _, p := range cfg.Peers {
		st := status.Peer{Name: p.Name, Address: p.Address, Port: p.Port, ASN: p.PeerASN, BFDProfile: p.BFDProfile}
		earlier, taken := names[p.Address]
		ours := c.ASN == 0 || c.ASN == p.MyASN
		switch {
		case !config.AnyMatches(p.NodeSelectors, n.Labels) && !known:
			st.Reason = status.NodeUnknown
		case !config.AnyMatches(p.NodeSelectors, n.Labels):
			st.Reason = status.NodeNotSelected
		case taken:
			st.Reason = status.AddressConflict
			st.Detail = fmt.Sprintf("peer %s has the same address", earlier)
		// FRR shows another AS than the router's to external peers alone.
		case !ours && p.PeerASN == p.MyASN:
			st.Reason = status.ASNConflict
			st.Detail = fmt.Sprintf("internal peer of AS %d, but the node's AS is %d, as peer %s has it", p.PeerASN, c.ASN, sessions[0].name)
		case !ours && p.PeerASN == c.ASN:
			st.Reason = status.ASNConflict
			st.Detail = fmt.Sprintf("the peer is in the node's AS %d, as peer %s has it, and cannot be shown AS %d", c.ASN, sessions[0].name, p.MyASN)
		default:
			st.Wanted, st.Reason = true, status.Configured
		}
		if st.Wanted {
			names[p.Address] = p.Name
			if c.ASN == 0 {
				c.ASN = p.MyASN
			}
			switch {
			case !p.RouterID.IsValid() || c.RouterID == p.RouterID:
			case !c.RouterID.IsValid():
				c.RouterID, routerIDFrom = p.RouterID, p.Name
			default:
				st.Detail = fmt.Sprintf("router ID %s is not used: peer %s set %s first", p.RouterID, routerIDFrom, c.RouterID)
			}
			c.Neighbors = append(c.Neighbors, neighbor(p, c.ASN))
			sessions = append(sessions, session{p.Name, p.Address, p.PeerASN == c.ASN})
		}
		peers = append(peers, st)
	}
	if c.ASN != 0 && !c.RouterID.IsValid() {
		c.RouterID = routerID(n)
	}
	c.BFDProfiles = profilesOf(cfg, c.Neighbors)
	slices.SortFunc(c.Neighbors, func(a, b render.Neighbor) int { return a.Address.Compare(b.Address) })
	slices.SortFunc(sessions, func(a, b session) int { return a.addr.Compare(b.addr) })
	return c, peers, sessions
}

// neighbor returns the session with p of a node whose AS number is asn.
func neighbor(p config.Peer, asn uint32) render.Neighbor {
	n := render.Neighbor{
		Address:       p.Address,
		ASN:           p.PeerASN,
		Port:          p.Port,
		SourceAddress: p.SourceAddress,
		HoldTime:      p.HoldTime,
		KeepaliveTime: p.KeepaliveTime,
		Password:      p.Password,
		EBGPMultiHop:  p.EBGPMultiHop,
		BFDProfile:    p.BFDProfile,
	}
	if p.MyASN != asn {
		n.LocalASN = p.MyASN
	}
	return n
}

// routerID returns the BGP Identifier of a node that no peer sets one for: its
// own IPv4 address, else a number made from its name, which RFC 6286 allows.
// FRR's own choice may be an address that a Service has put on an interface.
func routerID(n Node) netip.Addr {
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
