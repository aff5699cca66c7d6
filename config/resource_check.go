// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A problem is a rule that some versions break together: all of them cannot be
// in force.
type problem struct {
	reason string
	of     []ID
	say    func(loser ID) string // what the one that has to give way is told
}

// A set is versions that are to be in force together.
type set struct {
	pools       []*decodedPool
	profiles    map[string]*BFDProfile
	communities map[string]Community
	peers       []*decodedPeer
	ads         []*decodedBGP
	l2          []*L2Advertisement
	secrets     map[string]PasswordSecret
	kept        map[ID]bool // what these refer to was resolved before, and may be gone

	borrowed map[string]bool // profiles that are gone, and in force for those in kept
	refused  map[ID]bool     // objects of which no version is in force

	problems []problem
}

// check returns what is wrong with versions, each of which makes sense by
// itself, in an order that depends on them alone.
func check(versions []*version, secrets map[string]PasswordSecret, kept map[ID]bool) *set {
	s := &set{profiles: map[string]*BFDProfile{}, communities: map[string]Community{}, secrets: secrets, kept: kept}
	origin := map[string]ID{} // of aliases
	for _, v := range versions {
		switch {
		case v.pool != nil:
			s.pools = append(s.pools, v.pool)
		case v.profile != nil:
			s.profiles[v.profile.Name] = v.profile
		case v.peer != nil:
			s.peers = append(s.peers, v.peer)
		case v.bgp != nil:
			s.ads = append(s.ads, v.bgp)
		case v.l2 != nil:
			s.l2 = append(s.l2, v.l2)
		}
		for _, a := range v.aliases {
			if first, dup := origin[a.Name]; dup {
				s.pair(first, v.object.ID, func(winner ID) string {
					return fmt.Sprintf("duplicate definition of community %q, already in %s", a.Name, winner)
				})
				continue
			}
			origin[a.Name] = v.object.ID
			s.communities[a.Name] = a.Value
		}
	}
	s.checkOverlaps()
	s.checkPeers()
	s.checkReferences()
	s.checkAdvertisements()
	return s
}

// pair reports that two objects cannot be in force together.
func (s *set) pair(a, b ID, say func(winner ID) string) {
	s.problems = append(s.problems, problem{VerdictConflict, []ID{a, b}, func(loser ID) string {
		if loser == a {
			return say(b)
		}
		return say(a)
	}})
}

// missing reports that an object refers to something that is not there.
func (s *set) missing(id ID, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	s.problems = append(s.problems, problem{VerdictMissing, []ID{id}, func(ID) string { return text }})
}

// checkOverlaps reports pools that have addresses in common: of each bunch of
// overlapping ranges as many pairs as connect it.
func (s *set) checkOverlaps() {
	type owned struct {
		Range
		pool    string
		written string
	}
	var all []owned
	for _, p := range s.pools {
		for i, r := range p.Addresses {
			all = append(all, owned{r, p.Name, p.written[i]})
		}
	}
	slices.SortStableFunc(all, func(a, b owned) int { return a.First.Compare(b.First) })
	var far owned // of the ranges so far the one that ends last
	for i, next := range all {
		if i > 0 && far.Overlaps(next.Range) {
			a, b := far, next
			s.pair(ID{KindPool, a.pool}, ID{KindPool, b.pool}, func(winner ID) string {
				lost, won := a, b
				if winner.Name == a.pool {
					lost, won = b, a
				}
				return fmt.Sprintf("CIDR %q in pool %q overlaps with already defined CIDR %q of pool %q",
					lost.written, lost.pool, won.written, won.pool)
			})
		}
		if i == 0 || !far.Overlaps(next.Range) || next.Last.Compare(far.Last) > 0 {
			far = next
		}
	}
}

// checkPeers reports peers that cannot run on one node, where it is certain
// that some node is meant to run both. Others are told apart on the node.
func (s *set) checkPeers() {
	type endpoint struct{ vrf, to string }
	seen := map[endpoint][]*decodedPeer{}
	for _, p := range s.peers {
		to := p.Interface
		if p.Address.IsValid() {
			to = p.Address.String()
		}
		at := endpoint{p.VRF, to}
		for _, o := range seen[at] {
			if mayMeet(p.NodeSelectors, o.NodeSelectors) {
				s.pair(ID{KindPeer, o.Name}, ID{KindPeer, p.Name}, func(winner ID) string {
					return fmt.Sprintf("peer %s already exists: %s is for the same nodes", to, winner)
				})
			}
		}
		seen[at] = append(seen[at], p)
	}
}

// mayMeet reports whether two lists of selectors are known to choose a common
// node: one has all nodes, or they have a selector in common.
func mayMeet(a, b []Selector) bool {
	all := func(s []Selector) bool { return len(s) == 0 || slices.ContainsFunc(s, Selector.everything) }
	return all(a) || all(b) || slices.ContainsFunc(a, func(x Selector) bool { return slices.ContainsFunc(b, x.Equal) })
}

// checkReferences reports what is named and does not exist.
func (s *set) checkReferences() {
	for _, p := range s.peers {
		id := ID{KindPeer, p.Name}
		if s.kept[id] {
			continue
		}
		if p.BFDProfile != "" && s.profiles[p.BFDProfile] == nil {
			s.missing(id, "peer %s referencing non existing bfd profile %s", p.Name, p.BFDProfile)
		}
		if _, err := s.password(p); err != nil {
			s.missing(id, "%v", err)
		}
	}
	for _, ad := range s.ads {
		id := ID{KindBGPAdvertisement, ad.Name}
		if s.kept[id] {
			continue
		}
		if _, err := s.resolve(ad); err != nil {
			s.missing(id, "%v", err)
		}
	}
}

// password returns the password of a peer, from where it is.
func (s *set) password(p *decodedPeer) (Secret, error) {
	if p.secret == "" {
		return p.Password, nil
	}
	found, ok := s.secrets[p.secret]
	if !ok {
		return Secret{}, fmt.Errorf("secret ref not found for peer config %q: there is no secret %q", p.Name, p.secret)
	}
	return found.password()
}

// resolve returns what the communities of an advertisement stand for. As in
// MetalLB a name that looks like a number counts as a name.
func (s *set) resolve(ad *decodedBGP) ([]Community, error) {
	var out []Community
	for _, written := range ad.communities {
		c, err := s.community(written)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(out, c) { // two names may stand for one community
			out = append(out, c)
		}
	}
	return out, nil
}

// community returns what a community of an advertisement stands for.
func (s *set) community(written string) (Community, error) {
	if c, ok := s.communities[written]; ok {
		return c, nil
	}
	if c, ok := wellKnown[written]; ok {
		return c, nil
	}
	c, err := ParseCommunity(written)
	switch {
	case err != nil && strings.Contains(written, ":"):
		return c, fmt.Errorf("invalid community %q in BGP advertisement: %w", written, err)
	case err != nil:
		return c, fmt.Errorf("invalid community format: %s: no Community defines it", written)
	}
	return c, nil
}

// checkAdvertisements reports advertisements that do not go with a pool, or
// with each other.
func (s *set) checkAdvertisements() {
	echo := s.echoPeers()
	for _, p := range s.pools {
		var of []*decodedBGP
		for _, ad := range s.ads {
			if ad.selects(&p.Pool) {
				of = append(of, ad)
				s.checkAggregation(p, ad)
				s.checkEcho(p, ad, echo)
			}
		}
		s.checkPreferences(p, of)
	}
}

// selects reports whether an advertisement is about a pool.
func (a BGPAdvertisement) selects(p *Pool) bool { return selectsPool(a.Pools, a.PoolSelectors, p) }

// selects reports whether an advertisement is about a pool.
func (a L2Advertisement) selects(p *Pool) bool { return selectsPool(a.Pools, a.PoolSelectors, p) }

func selectsPool(names []string, selectors []Selector, p *Pool) bool {
	if len(names) == 0 && len(selectors) == 0 {
		return true
	}
	return slices.Contains(names, p.Name) || len(selectors) > 0 && AnyMatches(selectors, p.Labels)
}

// checkAggregation reports routes that would reach beyond the pool.
func (s *set) checkAggregation(p *decodedPool, ad *decodedBGP) {
	for i, r := range p.Addresses {
		length := ad.AggregationLength
		if r.First.Is6() {
			length = ad.AggregationLengthV6
		}
		if length == r.First.BitLen() {
			continue
		}
		if w := widest(r); w.Bits() > length {
			s.pair(ID{KindPool, p.Name}, ID{KindBGPAdvertisement, ad.Name}, func(winner ID) string {
				return fmt.Sprintf("invalid aggregation length %d: prefix %d in this pool is more specific than the aggregation length for addresses %q (%s)",
					length, w.Bits(), p.written[i], winner)
			})
			return
		}
	}
}

// echoPeers returns the peers whose BFD session echoes.
func (s *set) echoPeers() []*decodedPeer {
	var out []*decodedPeer
	for _, p := range s.peers {
		if b := s.profiles[p.BFDProfile]; b != nil && b.EchoMode {
			out = append(out, p)
		}
	}
	return out
}

// checkEcho reports IPv6 addresses that would be announced to a peer whose BFD
// session echoes, which FRR does over IPv4 alone.
func (s *set) checkEcho(p *decodedPool, ad *decodedBGP, echo []*decodedPeer) {
	if !slices.ContainsFunc(p.Addresses, func(r Range) bool { return r.First.Is6() }) {
		return
	}
	for _, peer := range echo {
		if len(ad.Peers) > 0 && !slices.Contains(ad.Peers, peer.Name) {
			continue
		}
		text := fmt.Sprintf("pool %s has bgpadvertisement %s which references peer %s which has bfd echo enabled, which is not possible",
			p.Name, ad.Name, peer.Name)
		s.problems = append(s.problems, problem{VerdictConflict, []ID{
			{KindPool, p.Name}, {KindBGPAdvertisement, ad.Name}, {KindPeer, peer.Name}, {KindBFDProfile, peer.BFDProfile},
		}, func(ID) string { return text }})
	}
}

// checkPreferences reports advertisements that give one route two local
// preferences. With service selectors that depends on the Service, and is told
// there.
func (s *set) checkPreferences(p *decodedPool, ads []*decodedBGP) {
	preferences := map[uint32]bool{}
	for _, ad := range ads {
		preferences[ad.LocalPref] = true
	}
	if len(preferences) < 2 {
		return
	}
	for i, a := range ads {
		for _, b := range ads[:i] {
			if a.LocalPref == b.LocalPref || len(a.ServiceSelectors) > 0 || len(b.ServiceSelectors) > 0 ||
				!sameRoute(p, a, b) || !sharePeer(a, b) || !mayMeet(a.NodeSelectors, b.NodeSelectors) {
				continue
			}
			s.pair(ID{KindBGPAdvertisement, b.Name}, ID{KindBGPAdvertisement, a.Name}, func(winner ID) string {
				lost, won := a, b
				if winner.Name == a.Name {
					lost, won = b, a
				}
				return fmt.Sprintf("invalid local preference %d: local preference %d was already set for the same type of BGP update by %s, for pool %q",
					lost.LocalPref, won.LocalPref, winner, p.Name)
			})
		}
	}
}

// sameRoute reports whether both make the same routes of a pool's addresses.
func sameRoute(p *decodedPool, a, b *decodedBGP) bool {
	return slices.ContainsFunc(p.Addresses, func(r Range) bool {
		if r.First.Is4() {
			return a.AggregationLength == b.AggregationLength
		}
		return a.AggregationLengthV6 == b.AggregationLengthV6
	})
}

// sharePeer reports whether both announce to one peer.
func sharePeer(a, b *decodedBGP) bool {
	return len(a.Peers) == 0 || len(b.Peers) == 0 ||
		slices.ContainsFunc(a.Peers, func(name string) bool { return slices.Contains(b.Peers, name) })
}

// NoteUnadvertised is the note of a pool that no advertisement selects.
const NoteUnadvertised = "no advertisement selects it, so that its addresses are not announced"

// notes says of an object that is in force what is probably not meant.
func (s *set) notes(v *version) []string {
	var out []string
	if unknown := UnknownAnnotations(v.object.Kind, v.object.Annotations); unknown != "" {
		out = append(out, unknown)
	}
	var pools, peers []string
	switch {
	case v.pool != nil:
		if !slices.ContainsFunc(s.ads, func(a *decodedBGP) bool { return a.selects(&v.pool.Pool) }) &&
			!slices.ContainsFunc(s.l2, func(a *L2Advertisement) bool { return a.selects(&v.pool.Pool) }) {
			out = append(out, NoteUnadvertised)
		}
	case v.bgp != nil:
		pools, peers = v.bgp.Pools, v.bgp.Peers
	case v.l2 != nil:
		pools = v.l2.Pools
	}
	for _, name := range pools {
		if !slices.ContainsFunc(s.pools, func(p *decodedPool) bool { return p.Name == name }) {
			out = append(out, fmt.Sprintf("there is no pool %q", name))
		}
	}
	for _, name := range peers {
		if !slices.ContainsFunc(s.peers, func(p *decodedPeer) bool { return p.Name == name }) {
			out = append(out, fmt.Sprintf("there is no peer %q", name))
		}
	}
	return out
}

// sortedAliases returns the aliases of a set, sorted by name.
func (s *set) sortedAliases() []CommunityAlias {
	var out []CommunityAlias
	for _, name := range slices.Sorted(maps.Keys(s.communities)) {
		out = append(out, CommunityAlias{name, s.communities[name]})
	}
	return out
}
