// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"math"
	"slices"
)

// readAdvertisements reads the BGP advertisements of a pool; without any there
// is one of defaults.
func (p *parser) readAdvertisements(v value, pool string, written []writtenRange) {
	items := v.list()
	if v.missing() {
		items = []value{{doc: v.doc, line: v.line, path: v.path + "[0]"}}
	}
	equal := map[string]int{}
	preference := map[string]BGPAdvertisement{} // by a kind of route
	for i, item := range items {
		before := len(v.doc.errs)
		ad := p.advertisement(item, written)
		ad.Name = fmt.Sprintf("%s-%d", pool, i+1)
		ad.Pools = []string{pool}
		p.cfg.BGPAdvertisements = append(p.cfg.BGPAdvertisements, ad)
		if len(v.doc.errs) > before {
			continue // to compare what was not meant would mislead
		}
		if first, dup := equal[ad.identity()]; dup {
			item.fail("duplicate definition of bgp-advertisements: equals bgp-advertisements[%d]", first)
			continue
		}
		equal[ad.identity()] = i
		for _, kind := range ad.kinds(written) {
			if first, dup := preference[kind]; dup && first.LocalPref != ad.LocalPref {
				item.fail("invalid localpref %d: %s has localpref %d for the same %s", ad.LocalPref, first.Name, first.LocalPref, kind)
				break
			}
			preference[kind] = ad
		}
	}
}

// advertisement reads one of bgp-advertisements.
func (p *parser) advertisement(v value, written []writtenRange) BGPAdvertisement {
	m := v.mapping("aggregation-length", "aggregation-length-v6", "localpref", "communities")
	preference, _ := m.get("localpref").number(0, math.MaxUint32)
	return BGPAdvertisement{
		AggregationLength:   m.get("aggregation-length").aggregation(32, written),
		AggregationLengthV6: m.get("aggregation-length-v6").aggregation(128, written),
		LocalPref:           uint32(preference),
		Communities:         p.communities(m.get("communities")),
	}
}

// aggregation reads the length of the routes for addresses of a family, which
// it names by the number of their bits. A route must lie within the addresses
// that were written; of a range the widest prefix decides.
func (v value) aggregation(bits int, written []writtenRange) int {
	n, ok := v.number(1, uint64(bits))
	if !ok {
		return bits
	}
	for _, w := range written {
		if w.First.BitLen() != bits {
			continue
		}
		if p := widest(w.Range); p.Bits() > int(n) {
			v.fail("invalid aggregation length %d: prefix %d in this pool is more specific than the aggregation length for addresses %s",
				n, p.Bits(), quote(w.value.node.Value))
			return bits
		}
	}
	return int(n)
}

// identity is the same for advertisements that announce alike.
func (a BGPAdvertisement) identity() string {
	communities := slices.SortedFunc(slices.Values(a.Communities), Community.Compare)
	return fmt.Sprint(a.AggregationLength, a.AggregationLengthV6, a.LocalPref, communities)
}

// kinds names the routes that an advertisement makes of a pool's addresses.
// Routes of one kind are the same route, and have one preference.
func (a BGPAdvertisement) kinds(written []writtenRange) []string {
	var v4, v6 bool
	for _, w := range written {
		v4 = v4 || w.First.Is4()
		v6 = v6 || w.First.Is6()
	}
	var kinds []string
	if v4 {
		kinds = append(kinds, fmt.Sprintf("aggregation-length %d", a.AggregationLength))
	}
	if v6 {
		kinds = append(kinds, fmt.Sprintf("aggregation-length-v6 %d", a.AggregationLengthV6))
	}
	return kinds
}
