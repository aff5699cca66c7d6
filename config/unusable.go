// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/netip"
	"strings"
)

// A block is addresses that have a meaning of their own.
type block struct {
	Range
	what string
}

// unusable are the addresses that no Service can have: no host takes a packet
// for one of them from the network. RFC 6890, Section 2.2.
var unusable = []block{
	newBlock("0.0.0.0/32", "the unspecified address"),
	newBlock("127.0.0.0/8", "a loopback address"),
	newBlock("224.0.0.0/4", "a multicast address"),
	newBlock("255.255.255.255/32", "the limited broadcast address"),
	newBlock("::/128", "the unspecified address"),
	newBlock("::1/128", "a loopback address"),
	newBlock("ff00::/8", "a multicast address"),
}

// linkLocal are the addresses that no router passes on. RFC 3927, Section 2.7,
// and RFC 4291, Section 2.5.6.
var linkLocal = []Range{newBlock("169.254.0.0/16", "").Range, newBlock("fe80::/10", "").Range}

func newBlock(prefix, what string) block {
	p := netip.MustParsePrefix(prefix)
	return block{Range{p.Addr(), lastAddr(p)}, what}
}

// usable returns the parts of r that Services can have, in order, and the
// blocks that the rest is of.
func (r Range) usable() (parts []Range, rest []block) {
	parts = []Range{r}
	for _, b := range unusable {
		if !r.Overlaps(b.Range) {
			continue
		}
		rest = append(rest, b)
		var left []Range
		for _, p := range parts {
			left = append(left, p.without(b.Range)...)
		}
		parts = left
	}
	return parts, rest
}

// without returns what of r is not in o.
func (r Range) without(o Range) []Range {
	if !r.Overlaps(o) {
		return []Range{r}
	}
	var out []Range
	if r.First.Less(o.First) {
		out = append(out, Range{r.First, o.First.Prev()})
	}
	if o.Last.Less(r.Last) {
		out = append(out, Range{o.Last.Next(), r.Last})
	}
	return out
}

// intersection returns what r and o have in common; they must overlap.
func (r Range) intersection(o Range) Range {
	if r.First.Less(o.First) {
		r.First = o.First
	}
	if o.Last.Less(r.Last) {
		r.Last = o.Last
	}
	return r
}

// unusableText says that no address of a range can be given to a Service.
func unusableText(written string, rest []block) string {
	return fmt.Sprintf("%s is of no use: no Service can have %s", quote(written), rest[0].what)
}

// rangeRemarks says what of a range, as it is written, is probably not meant.
func rangeRemarks(written string, r Range) []string {
	var out []string
	_, rest := r.usable()
	for _, b := range rest {
		what := quote(written)
		if part := r.intersection(b.Range); part.First == part.Last {
			what = part.First.String() + " of " + what
		} else if part != r {
			what = part.String() + " of " + what
		}
		out = append(out, fmt.Sprintf("%s is left out: no Service can have %s", what, b.what))
	}
	prefix, err := netip.ParsePrefix(strings.TrimSpace(written))
	switch {
	case prefixIsAll(r):
		out = append(out, fmt.Sprintf("%s is every address there is; automatic assignment would begin at the lowest", quote(written)))
	case err == nil && prefix.Addr() != prefix.Masked().Addr():
		out = append(out, fmt.Sprintf("%s has bits set behind its length, and stands for %s to %s; for fewer addresses write FIRST-LAST",
			quote(written), r.First, r.Last))
	}
	for _, l := range linkLocal {
		if r.Overlaps(l) && !prefixIsAll(r) {
			out = append(out, fmt.Sprintf("%s is link-local: no router passes such addresses on", quote(written)))
		}
	}
	return out
}

// prefixIsAll reports whether r is a whole family.
func prefixIsAll(r Range) bool {
	p := r.Prefixes()
	return len(p) == 1 && p[0].Bits() == 0
}

// SubnetRouterAnycast reports whether a is the address that all routers of a
// link have in common, where its prefix has the usual length of 64 bits.
// RFC 4291, Section 2.6.1.
func SubnetRouterAnycast(a netip.Addr) bool {
	if !a.Is6() || a.Is4In6() {
		return false
	}
	b := a.As16()
	return [8]byte(b[8:]) == [8]byte{}
}
