// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// A problem is a rule that some versions break together: all of them cannot be
// in force.
type problem struct {
	reason    string
	reference bool // it is about what the one object of it refers to
	of        []ID
	say       func(loser ID) string // the message of the object that yields
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
					return fmt.Sprintf("spec.communities: duplicate definition of community %q, already in %s; remove one of them", a.Name, winner)
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
	s.problems = append(s.problems, problem{VerdictConflict, false, []ID{a, b}, func(loser ID) string {
		if loser == a {
			return say(b)
		}
		return say(a)
	}})
}

// missing reports that a field of an object refers to something that is not
// there, or that cannot be used: then the reason is VerdictInvalid.
func (s *set) missing(id ID, reason, path, format string, args ...any) {
	text := path + ": " + fmt.Sprintf(format, args...)
	s.problems = append(s.problems, problem{reason, true, []ID{id}, func(ID) string { return text }})
}

// checkOverlaps reports pools that have addresses in common: of each bunch of
// overlapping ranges as many pairs as connect it.
func (s *set) checkOverlaps() {
	type owned struct {
		Range
		pool    string
		written writtenAddresses
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
				return fmt.Sprintf("%s: CIDR %q in pool %q overlaps with already defined CIDR %q of pool %q; an address can be in one pool alone",
					lost.written.path(), lost.written.text, lost.pool, won.written.text, won.pool)
			})
		}
		if i == 0 || !far.Overlaps(next.Range) || next.Last.Compare(far.Last) > 0 {
			far = next
		}
	}
}

// checkPeers reports peers that cannot run on one node, where it is certain
// that some node is meant to run both. The node decides about others.
func (s *set) checkPeers() {
	type endpoint struct{ vrf, to string }
	seen := map[endpoint][]*decodedPeer{}
	for _, p := range s.peers {
		field, to := "spec.interface", p.Interface
		if p.Address.IsValid() {
			field, to = "spec.peerAddress", p.Address.String()
		}
		at := endpoint{p.VRF, to}
		for _, o := range seen[at] {
			if mayMeet(p.NodeSelectors, o.NodeSelectors) {
				s.pair(ID{KindPeer, o.Name}, ID{KindPeer, p.Name}, func(winner ID) string {
					return fmt.Sprintf("%s: peer %s already exists: %s is for the same nodes; nodeSelectors can tell them apart", field, to, winner)
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
			s.missing(id, VerdictMissing, "spec.bfdProfile", "peer %s referencing non existing bfd profile %s; create that BFDProfile, or name one that exists", p.Name, p.BFDProfile)
		}
		if _, _, err := s.password(p); err != nil {
			reason := VerdictInvalid
			if secret, exists := s.secrets[p.secret]; !exists || secret.Unread != "" {
				reason = VerdictMissing
			}
			s.missing(id, reason, "spec.passwordSecret", "%v", err)
		}
	}
	for _, ad := range s.ads {
		id := ID{KindBGPAdvertisement, ad.Name}
		if s.kept[id] {
			continue
		}
		if _, err := s.resolve(ad); err != nil {
			reason := VerdictMissing
			if err.malformed {
				reason = VerdictInvalid
			}
			s.missing(id, reason, index("spec.communities", err.index), "%s", err.text)
		}
	}
}

// password returns the password of a peer, from where it is, and whether a line
// break was cut off its end.
func (s *set) password(p *decodedPeer) (password Secret, cut bool, err error) {
	if p.secret == "" {
		return p.Password, p.PasswordCut, nil
	}
	found, ok := s.secrets[p.secret]
	if !ok {
		return Secret{}, false, fmt.Errorf("secret ref not found for peer config %q: there is no secret %q in Herald's namespace", p.Name, p.secret)
	}
	return found.password()
}

// An unresolved community is one that stands for nothing.
type unresolved struct {
	index     int  // in the advertisement's list
	malformed bool // it looks like a number; no name is missing
	text      string
}

// resolve returns what the communities of an advertisement stand for. As in
// MetalLB a name that looks like a number counts as a name.
func (s *set) resolve(ad *decodedBGP) ([]Community, *unresolved) {
	var out []Community
	for i, written := range ad.communities {
		c, err := s.community(written)
		if err != nil {
			return nil, &unresolved{i, strings.Contains(written, ":"), err.Error()}
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
		reason := strings.TrimPrefix(err.Error(), fmt.Sprintf("invalid community %q: ", written))
		return c, fmt.Errorf("invalid community %q in BGP advertisement: %s", written, reason)
	case err != nil:
		return c, fmt.Errorf("invalid community format: %s: no Community defines it; want ASN:VALUE, large:A:B:C, or such a name", written)
	}
	return c, nil
}

// checkAdvertisements reports advertisements that do not go with a pool, or
// with each other.
func (s *set) checkAdvertisements() {
	for _, p := range s.pools {
		var of []*decodedBGP
		for _, ad := range s.ads {
			if ad.AppliesToPool(&p.Pool) {
				of = append(of, ad)
				s.checkAggregation(p, ad)
			}
		}
		s.checkPreferences(p, of)
	}
}

// checkAggregation reports routes that would reach beyond the pool.
func (s *set) checkAggregation(p *decodedPool, ad *decodedBGP) {
	for i, r := range p.Addresses {
		length, field := ad.AggregationLength, "spec.aggregationLength"
		if r.First.Is6() {
			length, field = ad.AggregationLengthV6, "spec.aggregationLengthV6"
		}
		if length == r.First.BitLen() {
			continue
		}
		if w := widest(p.written[i].whole); w.Bits() > length {
			pool := ID{KindPool, p.Name}
			s.pair(pool, ID{KindBGPAdvertisement, ad.Name}, func(winner ID) string {
				path := field
				if winner != pool {
					path = p.written[i].path()
				}
				return fmt.Sprintf("%s: invalid aggregation length %d: prefix %d in this pool is more specific than the aggregation length for addresses %q (%s), must be %d or more",
					path, length, w.Bits(), p.written[i].text, winner, w.Bits())
			})
			return
		}
	}
}

// checkPreferences reports advertisements that give one route two local
// preferences. With service selectors that depends on the Service, where it is
// reported.
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
				return fmt.Sprintf("spec.localPref: invalid local preference %s: local preference %s was already set for the same type of BGP update by %s, for pool %q; "+
					"both must have one, or other aggregation lengths",
					showPreference(lost.LocalPref), showPreference(won.LocalPref), winner, p.Name)
			})
		}
	}
}

// showPreference returns a local preference as it was written.
func showPreference(n uint32) string {
	if n == 0 {
		return "(not set)"
	}
	return strconv.FormatUint(uint64(n), 10)
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

// notes returns what an object in force says that is probably not meant.
func (s *set) notes(v *version) []string {
	var out []string
	if unknown := UnknownAnnotations(v.object.Kind, v.object.Annotations); unknown != "" {
		out = append(out, unknown)
	}
	var pools, peers []string
	switch {
	case v.pool != nil:
		if !slices.ContainsFunc(s.ads, func(a *decodedBGP) bool { return a.AppliesToPool(&v.pool.Pool) }) &&
			!slices.ContainsFunc(s.l2, func(a *L2Advertisement) bool { return a.AppliesToPool(&v.pool.Pool) }) {
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
