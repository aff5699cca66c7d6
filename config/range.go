// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"strings"
)

// A Range is the addresses from First to Last, both included, of one family.
// Ranges compare with ==.
type Range struct{ First, Last netip.Addr }

// ParseRange reads a CIDR, whose host bits are ignored, or "start-end".
func ParseRange(s string) (Range, error) {
	start, end, isRange := strings.Cut(s, "-")
	if !isRange {
		p, err := netip.ParsePrefix(strings.TrimSpace(s))
		if err != nil {
			return Range{}, fmt.Errorf("invalid CIDR %q: %s", s, cidrReason(strings.TrimSpace(s)))
		}
		if p.Addr().Is4In6() {
			if p.Bits() < 96 {
				return Range{}, fmt.Errorf("invalid CIDR %q: it spans IPv4-mapped and other addresses", s)
			}
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		p = p.Masked()
		return Range{p.Addr(), lastAddr(p)}, nil
	}
	first, err := parseAddr(strings.TrimSpace(start))
	if err != nil {
		return Range{}, fmt.Errorf("invalid IP range %q: invalid start IP: %v", s, err)
	}
	last, err := parseAddr(strings.TrimSpace(end))
	if err != nil {
		return Range{}, fmt.Errorf("invalid IP range %q: invalid end IP: %v", s, err)
	}
	if first.Is4() != last.Is4() {
		return Range{}, fmt.Errorf("invalid IP range %q: start and end are of different families", s)
	}
	if first.Compare(last) > 0 {
		return Range{}, fmt.Errorf("invalid IP range %q: start IP %q is after the end IP %q", s, first, last)
	}
	return Range{first, last}, nil
}

// parseAddr reads an address without a zone, unmapped. Its error is the reason
// alone, without the text.
func parseAddr(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}, errors.New(strings.TrimPrefix(err.Error(), fmt.Sprintf("ParseAddr(%q): ", s)))
	}
	if a.Zone() != "" {
		return netip.Addr{}, errors.New("a zone is not allowed")
	}
	return a.Unmap(), nil
}

// cidrReason says why s is no CIDR, of which netip's messages repeat the text.
func cidrReason(s string) string {
	text, _, hasLength := strings.Cut(s, "/")
	a, err := parseAddr(text)
	switch {
	case err != nil:
		return err.Error()
	case !hasLength:
		return fmt.Sprintf("a single address is written %s/%d", a, a.BitLen())
	}
	return fmt.Sprintf("prefix length must be 0 to %d", a.BitLen())
}

// lastAddr returns the address of p with all host bits set.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// Contains reports whether a is in r.
func (r Range) Contains(a netip.Addr) bool {
	return r.First.Is4() == a.Is4() && r.First.Compare(a) <= 0 && a.Compare(r.Last) <= 0
}

// Overlaps reports whether r and o have an address in common.
func (r Range) Overlaps(o Range) bool {
	return r.First.Is4() == o.First.Is4() && r.First.Compare(o.Last) <= 0 && o.First.Compare(r.Last) <= 0
}

// Size returns the number of addresses in r.
func (r Range) Size() *big.Int {
	first := new(big.Int).SetBytes(r.First.AsSlice())
	n := new(big.Int).SetBytes(r.Last.AsSlice())
	return n.Sub(n, first).Add(n, big.NewInt(1))
}

// Prefixes returns the fewest prefixes that cover r and nothing else, in order.
func (r Range) Prefixes() []netip.Prefix {
	var out []netip.Prefix
	for a := r.First; ; {
		p := netip.PrefixFrom(a, a.BitLen())
		for p.Bits() > 0 {
			wider := netip.PrefixFrom(a, p.Bits()-1)
			if wider.Masked().Addr() != a || lastAddr(wider).Compare(r.Last) > 0 {
				break
			}
			p = wider
		}
		out = append(out, p)
		last := lastAddr(p)
		if last == r.Last {
			return out
		}
		a = last.Next()
	}
}

// String returns r as a CIDR where it is one, else as "start-end".
func (r Range) String() string {
	if p := r.Prefixes(); len(p) == 1 {
		return p[0].String()
	}
	return r.First.String() + "-" + r.Last.String()
}

// MarshalText returns what String does.
func (r Range) MarshalText() ([]byte, error) { return []byte(r.String()), nil }
