// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"slices"
)

// refer notes in the verdict of an object what its newest version refers to and
// does not exist, and which of its selectors match no pool.
func (s *set) refer(v *Verdict, newest *version) {
	if newest == nil {
		return
	}
	switch {
	case newest.peer != nil:
		v.Refers = true
		s.referPeer(v, newest.peer)
	case newest.bgp != nil:
		ad := newest.bgp
		v.Refers, v.Nodes = true, ad.NodeSelectors
		s.referPools(v, ad.Pools, ad.PoolSelectors)
		for _, name := range ad.Peers {
			if !slices.ContainsFunc(s.peers, func(p *decodedPeer) bool { return p.Name == name }) {
				v.Missing = append(v.Missing, s.absent(ID{KindPeer, name}, "peer"))
			}
		}
		for _, written := range ad.communities {
			if _, err := s.community(written); err != nil {
				v.Missing = append(v.Missing, err.Error())
			}
		}
	case newest.l2 != nil:
		ad := newest.l2
		v.Refers, v.Nodes, v.Interfaces = true, ad.NodeSelectors, ad.Interfaces
		s.referPools(v, ad.Pools, ad.PoolSelectors)
	}
}

func (s *set) referPeer(v *Verdict, p *decodedPeer) {
	if name := p.BFDProfile; name != "" && (s.profiles[name] == nil || s.borrowed[name]) {
		v.Missing = append(v.Missing, s.absent(ID{KindBFDProfile, name}, "BFD profile"))
	}
	if p.secret == "" {
		return
	}
	if _, ok := s.secrets[p.secret]; !ok {
		v.Missing = append(v.Missing, fmt.Sprintf("there is no Secret %q", p.secret))
	} else if _, _, err := s.password(p); err != nil {
		v.Missing = append(v.Missing, err.Error())
	}
}

func (s *set) referPools(v *Verdict, names []string, selectors []Selector) {
	for _, name := range names {
		if !slices.ContainsFunc(s.pools, func(p *decodedPool) bool { return p.Name == name }) {
			v.Missing = append(v.Missing, s.absent(ID{KindPool, name}, "pool"))
		}
	}
	if len(selectors) > 0 && !slices.ContainsFunc(s.pools, func(p *decodedPool) bool { return AnyMatches(selectors, p.Labels) }) {
		v.Empty = append(v.Empty, fmt.Sprintf("ipAddressPoolSelectors match 0 of %d pools", len(s.pools)))
	}
}

// absent says that nothing of a name is in force: it does not exist, or is refused.
func (s *set) absent(id ID, what string) string {
	if s.refused[id] {
		return fmt.Sprintf("%s %q is refused, and no version of it is in force", what, id.Name)
	}
	text := fmt.Sprintf("there is no %s %q", what, id.Name)
	var names []string
	switch id.Kind {
	case KindPool:
		for _, p := range s.pools {
			names = append(names, p.Name)
		}
	case KindPeer:
		for _, p := range s.peers {
			names = append(names, p.Name)
		}
	case KindBFDProfile:
		for name := range s.profiles {
			names = append(names, name)
		}
		slices.Sort(names)
	}
	for _, name := range names {
		if !s.borrowed[name] && near(id.Name, name) {
			return fmt.Sprintf("%s, did you mean %q?", text, name)
		}
	}
	return text
}
