// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A Community is a standard community (RFC 1997) or a large one (RFC 8092).
// Communities compare with ==.
type Community struct {
	large   bool
	a, b, c uint32 // c of large ones alone
}

// GracefulShutdown asks routers to prefer any other path, RFC 8326.
var GracefulShutdown = Community{a: 65535, b: 0}

// ParseCommunity reads "A:B" with two 16-bit numbers, or "large:X:Y:Z" with
// three 32-bit ones.
func ParseCommunity(s string) (Community, error) {
	rest, large := strings.CutPrefix(s, "large:")
	fields := strings.Split(rest, ":")
	want, bits := 2, 16
	if large {
		want, bits = 3, 32
	}
	if len(fields) != want {
		return Community{}, fmt.Errorf("invalid community %q: neither A:B nor large:X:Y:Z", s)
	}
	cure := ""
	if !large {
		cure = ", large:X:Y:Z has numbers of 32"
	}
	var n [3]uint32
	for i, f := range fields {
		v, err := strconv.ParseUint(f, 10, bits)
		if errors.Is(err, strconv.ErrRange) {
			return Community{}, fmt.Errorf("invalid community %q: %s does not fit in %d bits%s", s, f, bits, cure)
		}
		if err != nil {
			return Community{}, fmt.Errorf("invalid community %q: %q is not a number", s, f)
		}
		n[i] = uint32(v)
	}
	return Community{large, n[0], n[1], n[2]}, nil
}

// IsLarge reports whether c is a large community.
func (c Community) IsLarge() bool { return c.large }

// String returns the numbers as FRR takes them, A:B or X:Y:Z.
func (c Community) String() string {
	if c.large {
		return fmt.Sprintf("%d:%d:%d", c.a, c.b, c.c)
	}
	return fmt.Sprintf("%d:%d", c.a, c.b)
}

// MarshalText returns what ParseCommunity reads.
func (c Community) MarshalText() ([]byte, error) {
	if c.large {
		return []byte("large:" + c.String()), nil
	}
	return []byte(c.String()), nil
}

// Compare orders standard communities before large ones, then by number.
func (c Community) Compare(d Community) int {
	switch {
	case c == d:
		return 0
	case c.large != d.large && d.large,
		c.large == d.large && (c.a < d.a || c.a == d.a && (c.b < d.b || c.b == d.b && c.c < d.c)):
		return -1
	}
	return 1
}
