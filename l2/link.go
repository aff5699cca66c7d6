// SPDX-License-Identifier: Apache-2.0

package l2

import (
	"fmt"
	"net/netip"
	"regexp"
)

// A Link has the properties of a network interface that matter here. Links compare with
// ==.
type Link struct {
	Index     int
	Name      string
	MAC       MAC        // zero unless it is an Ethernet address
	LinkLocal netip.Addr // IPv6, without zone, past duplicate address detection; invalid if there is none
	Up        bool       // set up by the administrator, and with a carrier
	Loopback  bool
	Broadcast bool
	NoARP     bool
	Enslaved  bool // part of a bond, bridge or team, which answers in its place
}

// A Skip is the reason why an interface does not serve a protocol.
type Skip int

// The Skips. The zero value is none.
const (
	Suitable    Skip = iota
	Excluded         // its name matches an exclude expression
	IsLoopback       // no other host is behind it
	IsEnslaved       // its bond or bridge serves instead
	IsDown           // it is down or has no carrier
	HasNoARP         // by its flags, addresses are not resolved on it
	NotEthernet      // it has no Ethernet address
	NoBroadcast      // ARP asks by broadcast
	NoLinkLocal      // neighbor advertisements are sent from a link-local address
	skips
)

var skipNames = [skips]string{
	Suitable:    "Suitable",
	Excluded:    "Excluded",
	IsLoopback:  "IsLoopback",
	IsEnslaved:  "IsEnslaved",
	IsDown:      "IsDown",
	HasNoARP:    "HasNoARP",
	NotEthernet: "NotEthernet",
	NoBroadcast: "NoBroadcast",
	NoLinkLocal: "NoLinkLocal",
}

// String returns the name of the constant.
func (s Skip) String() string {
	if s < 0 || s >= skips {
		return fmt.Sprintf("Skip(%d)", int(s))
	}
	return skipNames[s]
}

// MarshalText returns the same as String.
func (s Skip) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// skip returns why a link cannot serve a protocol, or Suitable.
func (l Link) skip(p Protocol, exclude []*regexp.Regexp) Skip {
	switch {
	case l.Loopback:
		return IsLoopback
	case l.Enslaved:
		return IsEnslaved
	}
	for _, e := range exclude {
		if e.MatchString(l.Name) {
			return Excluded
		}
	}
	switch {
	case !l.Up:
		return IsDown
	case l.NoARP:
		return HasNoARP
	case l.MAC == MAC{}:
		return NotEthernet
	case p == ARP && !l.Broadcast:
		return NoBroadcast
	case p == NDP && !l.LinkLocal.IsValid():
		return NoLinkLocal
	}
	return Suitable
}
