// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"net/netip"
	"slices"

	"github.com/heraldlb/herald/config"
)

// An Index answers which advertisements apply to an address of a Service, for all that
// decide about it: BGP, layer 2, the drain and the condition Announced. It belongs to
// one configuration. It is not safe for concurrent use.
type Index struct {
	config *config.Config
	ranges []poolRange // by first address; none overlap
}

type poolRange struct {
	config.Range
	pool *Pool
}

// A Pool is a pool with the advertisements that apply to it, in document order.
type Pool struct {
	Name   string
	BGP    []*config.BGPAdvertisement
	Layer2 []*config.L2Advertisement

	sets map[string]*Ads // by which of BGP and Layer2 they have
}

// Ads are the advertisements of a pool that apply to some Services, in document order.
// Each set of them has one Ads, so that a map may have it as a key.
type Ads struct {
	BGP    []*config.BGPAdvertisement
	Layer2 []*config.L2Advertisement

	most   int             // the highest of their MinReady
	fewer  map[int]*Ads    // of them, by how many endpoints are ready
	probes bool            // some have one
	parts  map[string]*Ads // of them, see part
}

func (a *Ads) addBGP(ad *config.BGPAdvertisement) {
	a.BGP, a.most, a.probes = append(a.BGP, ad), max(a.most, ad.MinReady), a.probes || !ad.Probe.IsZero()
}

func (a *Ads) addLayer2(ad *config.L2Advertisement) {
	a.Layer2, a.most, a.probes = append(a.Layer2, ad), max(a.most, ad.MinReady), a.probes || !ad.Probe.IsZero()
}

// NewIndex returns the Index of a configuration.
func NewIndex(cfg *config.Config) *Index {
	x := &Index{config: cfg}
	for i := range cfg.Pools {
		p := &cfg.Pools[i]
		pool := &Pool{Name: p.Name, sets: map[string]*Ads{}}
		for i := range cfg.BGPAdvertisements {
			if ad := &cfg.BGPAdvertisements[i]; ad.AppliesToPool(p) {
				pool.BGP = append(pool.BGP, ad)
			}
		}
		for i := range cfg.L2Advertisements {
			if ad := &cfg.L2Advertisements[i]; ad.AppliesToPool(p) {
				pool.Layer2 = append(pool.Layer2, ad)
			}
		}
		for _, r := range p.Addresses {
			x.ranges = append(x.ranges, poolRange{r, pool})
		}
	}
	slices.SortFunc(x.ranges, func(a, b poolRange) int { return a.First.Compare(b.First) })
	return x
}

// Of returns the Index of a configuration: this one if it is that, else another one.
// There may be none yet.
func (x *Index) Of(cfg *config.Config) *Index {
	if x != nil && x.config == cfg {
		return x
	}
	return NewIndex(cfg)
}

// Pool returns the pool that contains addr; nil if there is none.
func (x *Index) Pool(addr netip.Addr) *Pool {
	after, exact := slices.BinarySearchFunc(x.ranges, addr, func(r poolRange, a netip.Addr) int { return r.First.Compare(a) })
	if exact {
		return x.ranges[after].pool
	}
	if after == 0 || !x.ranges[after-1].Contains(addr) {
		return nil
	}
	return x.ranges[after-1].pool
}

// Pools yields every range of addresses, in their order, and its pool.
func (x *Index) Pools(yield func(config.Range, *Pool) bool) {
	for _, r := range x.ranges {
		if !yield(r.Range, r.pool) {
			return
		}
	}
}

// Ads returns the advertisements of the pool that apply to a Service with these labels.
func (p *Pool) Ads(labels map[string]string) *Ads {
	var few [16]byte
	key := few[:0]
	for _, ad := range p.BGP {
		key = append(key, bit(ad.AppliesToService(labels)))
	}
	for _, ad := range p.Layer2 {
		key = append(key, bit(ad.AppliesToService(labels)))
	}
	if ads := p.sets[string(key)]; ads != nil {
		return ads
	}
	ads := &Ads{}
	for i, ad := range p.BGP {
		if key[i] == 1 {
			ads.addBGP(ad)
		}
	}
	for i, ad := range p.Layer2 {
		if key[len(p.BGP)+i] == 1 {
			ads.addLayer2(ad)
		}
	}
	p.sets[string(key)] = ads
	return ads
}

// With returns those of the advertisements that ask for no more ready endpoints than these.
func (a *Ads) With(ready int) *Ads {
	if ready >= a.most {
		return a
	}
	if some := a.fewer[ready]; some != nil {
		return some
	}
	some := &Ads{}
	for _, ad := range a.BGP {
		if ad.MinReady <= ready {
			some.addBGP(ad)
		}
	}
	for _, ad := range a.Layer2 {
		if ad.MinReady <= ready {
			some.addLayer2(ad)
		}
	}
	if a.fewer == nil {
		a.fewer = map[int]*Ads{}
	}
	a.fewer[ready] = some
	return some
}

// Least returns how many ready endpoints the least demanding of the advertisements asks
// for, and its name.
func (a *Ads) Least() (least int, name string) {
	consider := func(n int, of string) {
		if name == "" || n < least {
			least, name = n, of
		}
	}
	for _, ad := range a.BGP {
		consider(ad.MinReady, ad.Name)
	}
	for _, ad := range a.Layer2 {
		consider(ad.MinReady, ad.Name)
	}
	return least, name
}

func bit(is bool) byte {
	if is {
		return 1
	}
	return 0
}

// None reports whether no advertisement applies.
func (a *Ads) None() bool { return len(a.BGP)+len(a.Layer2) == 0 }

// ApplyToNode reports whether one of the advertisements applies to a Node with these
// labels.
func (a *Ads) ApplyToNode(labels map[string]string) bool {
	return slices.ContainsFunc(a.BGP, func(ad *config.BGPAdvertisement) bool { return ad.AppliesToNode(labels) }) ||
		slices.ContainsFunc(a.Layer2, func(ad *config.L2Advertisement) bool { return ad.AppliesToNode(labels) })
}
