// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// readAdvertisements reads the BGP advertisements of a pool; without any there
// is one of defaults.
func (p *parser) readAdvertisements(v value, pool string, written []writtenRange) {
	items := v.list()
	if v.missing() {
		items = []value{{doc: v.doc, line: v.line, path: v.path + "[0]"}}
	}
	equal := map[string]int{}
	first := len(p.cfg.BGPAdvertisements)
	for i, item := range items {
		before := len(v.doc.errs)
		ad := p.advertisement(item, written)
		ad.Name = fmt.Sprintf("%s-%d", pool, i+1)
		ad.Pools = []string{pool}
		p.cfg.BGPAdvertisements = append(p.cfg.BGPAdvertisements, ad)
		if len(v.doc.errs) > before {
			continue // to compare what was not meant would mislead
		}
		as := item.asWritten()
		if first, dup := equal[as]; dup {
			item.fail("duplicate definition of bgp-advertisements: equals bgp-advertisements[%d]", first)
			continue
		}
		equal[as] = i
	}
	settlePreferences(p.cfg.BGPAdvertisements[first:], written)
}

// settlePreferences gives each advertisement of a pool the local preference
// that its routes have in the end. Several may make one route: as in MetalLB
// v0.12 it has the communities of all, and of the local preferences that are
// set the highest.
func settlePreferences(ads []BGPAdvertisement, written []writtenRange) {
	four, six := map[int]uint32{}, map[int]uint32{} // by length of the route
	for _, ad := range ads {
		four[ad.AggregationLength] = max(four[ad.AggregationLength], ad.LocalPref)
		six[ad.AggregationLengthV6] = max(six[ad.AggregationLengthV6], ad.LocalPref)
	}
	has := func(is4 bool) bool {
		return slices.ContainsFunc(written, func(w writtenRange) bool { return w.First.Is4() == is4 })
	}
	for i := range ads {
		ad := &ads[i]
		p4, p6 := four[ad.AggregationLength], six[ad.AggregationLengthV6]
		switch {
		case !has(false):
			ad.LocalPref = p4
		case !has(true):
			ad.LocalPref = p6
		case p4 == p6:
			ad.LocalPref = p4
		default:
			ad.LocalPref, ad.LocalPrefV6 = p4, &p6
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
		if p := widest(w.whole); p.Bits() > int(n) {
			v.fail("invalid aggregation length %d: prefix %d in this pool is more specific than the aggregation length for addresses %s, must be %d or more",
				n, p.Bits(), quote(w.value.node.Value), p.Bits())
			return bits
		}
	}
	return int(n)
}

// asWritten is the same for advertisements that are written alike.
func (v value) asWritten() string {
	m := v.fields()
	var out []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if m[key].null() {
			continue
		}
		var words []string
		if m[key].node.Kind == yaml.SequenceNode {
			for _, item := range m[key].list() {
				words = append(words, item.text())
			}
		} else {
			words = append(words, m[key].text())
		}
		out = append(out, fmt.Sprintf("%s %q", key, words))
	}
	return strings.Join(out, "\n")
}
