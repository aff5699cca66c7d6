// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/netip"
	"slices"
)

// A writtenRange is an item of addresses, or a part of one.
type writtenRange struct {
	Range
	whole Range // what is written, with the addresses that no Service can have
	value value
	pool  string
	index int // in document order
}

// readPools reads address-pools. Each becomes a Pool and the advertisements
// that its protocol stands for.
func (p *parser) readPools(v value) {
	names := map[string]value{}
	for _, item := range v.list() {
		m := item.mapping("name", "protocol", "addresses", "avoid-buggy-ips", "auto-assign", "bgp-advertisements")
		name := m.get("name")
		pool := Pool{
			Name:          name.text(),
			AutoAssign:    m.get("auto-assign").boolean(true),
			AvoidBuggyIPs: m.get("avoid-buggy-ips").boolean(false),
		}
		if name.missing() {
			name.fail("missing pool name")
		}
		unique(name, names, pool.Name, "pool")
		protocol := m.get("protocol").text()
		written := p.addresses(m.get("addresses"), &pool)
		for _, w := range written {
			pool.Addresses = append(pool.Addresses, w.Range)
		}
		p.cfg.Pools = append(p.cfg.Pools, pool)
		p.announce(m, protocol, pool.Name, written)
	}
}

// addresses reads the addresses of a pool. Addresses that no Service can have are left
// out with a remark. They are no error: MetalLB accepts them, and a migration would lose
// the whole document.
func (p *parser) addresses(v value, pool *Pool) []writtenRange {
	var written []writtenRange
	items := v.list()
	for _, item := range items {
		r, err := ParseRange(item.text())
		if err != nil {
			item.fail("%v", err)
			continue
		}
		pool.Remarks = append(pool.Remarks, rangeRemarks(item.text(), r)...)
		parts, _ := r.usable()
		for _, part := range parts {
			written = append(written, writtenRange{part, r, item, pool.Name, len(p.ranges) + len(written)})
		}
	}
	if len(items) == 0 && v.missing() {
		v.fail("pool has no prefixes defined")
	}
	p.ranges = append(p.ranges, written...)
	return written
}

// announce adds the advertisements of a pool.
func (p *parser) announce(m mapping, protocol, pool string, written []writtenRange) {
	at, ads := m.get("protocol"), m.get("bgp-advertisements")
	switch {
	case protocol == "bgp":
		p.readAdvertisements(ads, pool, written)
	case protocol == "layer2":
		p.cfg.L2Advertisements = append(p.cfg.L2Advertisements, L2Advertisement{Name: pool, Scope: Scope{Pools: []string{pool}}})
		if !ads.missing() {
			ads.fail("cannot have bgp-advertisements configuration element in a layer2 address pool")
		}
	case at.missing():
		at.fail("address pool is missing the protocol field, want layer2 or bgp")
	case protocol != "":
		at.fail("unknown protocol %s, want layer2 or bgp", quote(protocol))
	}
}

// checkOverlaps reports each range that has addresses in common with one that
// is written before it, in the same pool or another.
func (p *parser) checkOverlaps() {
	sorted := slices.Clone(p.ranges)
	slices.SortStableFunc(sorted, func(a, b writtenRange) int { return a.First.Compare(b.First) })
	var last writtenRange // the range before next that is not itself reported
	for i, next := range sorted {
		if i == 0 || !last.Overlaps(next.Range) {
			last = next
			continue
		}
		first, second := last, next
		if first.index > second.index {
			first, second = second, first
		}
		second.value.fail("%s in pool %s overlaps with %s in pool %s, already defined on line %d",
			quote(second.value.node.Value), quote(second.pool), quote(first.value.node.Value), quote(first.pool),
			first.value.doc.lineAt(first.value.line))
		last = first
	}
}

// widest returns the prefix with the most addresses of those that make up r.
func widest(r Range) netip.Prefix {
	return slices.MinFunc(r.Prefixes(), func(a, b netip.Prefix) int { return a.Bits() - b.Bits() })
}
