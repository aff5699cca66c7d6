// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/render"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/wake"
)

// A parting is a neighbor that a node is not to send a route of an address any more, though it
// goes on announcing the address.
type parting struct {
	addr     netip.Addr
	prefix   netip.Prefix
	neighbor status.PeerID
}

// compare orders partings by address, route and neighbor.
func (p parting) compare(o parting) int {
	return cmp.Or(p.addr.Compare(o.addr), p.prefix.Compare(o.prefix), p.neighbor.Compare(o.neighbor))
}

// partings are remembered from pass to pass: the neighbor gets the route until another node was
// seen to send it. What has come to an end stays at its end for as long as there is cause for
// it: another Service may have the neighbor get the same route.
type partings map[parting]oneParting

// An oneParting is what is remembered of a parting.
type oneParting struct {
	route routeHandover
	over  bool // the neighbor does not get the route for this address any more
}

// A parted is what partings come to.
type parted struct {
	neighbors map[netip.Prefix][]status.PeerID // that still get the route
	parts     map[netip.Addr][]announce.Part   // likewise
	givenUp   []netip.Addr                     // that none was seen to send, in order
	next      time.Time                        // step again then; zero: no need
}

// step decides which neighbors still get which routes. sends returns how a route was announced
// after the last step; nil: it was not.
func (p *partings) step(all map[netip.Addr][]announce.Part, sends func(netip.Prefix) *render.Class, now time.Time, t Times) parted {
	var out parted
	if len(all)+len(*p) == 0 {
		return out
	}
	known := map[parting]announce.Part{}
	for addr, parts := range all {
		for _, part := range parts {
			id := parting{addr, part.Prefix, part.Neighbor}
			if other, twice := known[id]; twice && !other.Succession.Confirmed {
				continue // Services share the address
			}
			known[id] = part
		}
	}
	ids := make([]parting, 0, len(known))
	for id := range known {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, parting.compare)
	after := partings{}
	for _, id := range ids {
		part := known[id]
		var held Protocols
		if announce.Sends(sends(id.prefix), id.neighbor) {
			held = ViaBGP
		}
		before := (*p)[id]
		if before.over {
			after[id] = before
			continue
		}
		s := part.Succession
		h, o := before.route.step(Input{Wanted: ViaBGP, Left: s.Due, Taken: s.Confirmed, Brief: s.Brief}, held, now, t)
		if over := h == (routeHandover{}) && before.route != h && held != 0 && s.Due; over || h != (routeHandover{}) {
			after[id] = oneParting{route: h, over: over}
		}
		if o.GivenUp != 0 && !slices.Contains(out.givenUp, id.addr) {
			out.givenUp = append(out.givenUp, id.addr)
		}
		if o.Announce != 0 {
			out.keep(id, part)
		}
		out.next = wake.Earlier(out.next, o.Next)
	}
	*p = after
	return out
}

// keep has a neighbor still get a route.
func (d *parted) keep(id parting, part announce.Part) {
	if d.neighbors == nil {
		d.neighbors, d.parts = map[netip.Prefix][]status.PeerID{}, map[netip.Addr][]announce.Part{}
	}
	if !slices.Contains(d.neighbors[id.prefix], id.neighbor) {
		d.neighbors[id.prefix] = append(d.neighbors[id.prefix], id.neighbor)
	}
	d.parts[id.addr] = append(d.parts[id.addr], part)
}

// note adds to decisions which peers still get a route.
func (d parted) note(decisions []status.Decision) []status.Decision {
	if !slices.ContainsFunc(decisions, d.concerns) {
		return decisions
	}
	decisions = slices.Clone(decisions)
	for i := range decisions {
		if one := &decisions[i]; d.concerns(*one) {
			peers := slices.Clone(one.Peers)
			for _, part := range d.parts[one.Addr] {
				if peers = append(peers, part.Peer); !slices.Contains(one.Routes, part.Prefix) {
					one.Routes = append(slices.Clone(one.Routes), part.Prefix)
					slices.SortFunc(one.Routes, func(a, b netip.Prefix) int { return cmp.Compare(a.Bits(), b.Bits()) })
				}
			}
			slices.Sort(peers)
			one.Peers, one.Detail = slices.Compact(peers), also(one.Detail, d.parts[one.Addr][0].Detail())
		}
	}
	return decisions
}

// concerns reports whether a peer still gets a route by a decision.
func (d parted) concerns(one status.Decision) bool {
	return one.Announce && one.Protocol == status.BGP && len(d.parts[one.Addr]) > 0
}

// also puts two details together.
func also(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}

// partServices adds the Services with an address of which a neighbor got a route still, or does
// now.
func (m *TableMemory) partServices(before, now parted, services map[cluster.Key]bool) {
	for _, d := range []parted{before, now} {
		for addr := range d.parts {
			for _, key := range m.users[addr] {
				services[key] = true
			}
		}
	}
}
