// SPDX-License-Identifier: Apache-2.0

package render

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/heraldlb/herald/config"
)

// Limits of one command in FRR, less some room for its context. They are VTY_BUFSIZ
// in lib/vty.h and CMD_ARGC_MAX in lib/command.h.
const (
	maxCommand = 4000 // bytes, of 4096
	maxWords   = 250  // of 256
)

// validate refuses values that would be more than one word or number in frr.conf. The
// configuration has been validated before. This is the last place that can stop a
// line break in a name.
func validate(c Config) error {
	if err := word(c.Hostname); err != nil {
		return fmt.Errorf("hostname %q: %w", c.Hostname, err)
	}
	routers, err := validateRouters(c)
	if err != nil {
		return err
	}
	outMaps := map[string]bool{}
	for _, n := range c.Neighbors {
		if err := validateNeighbor(n); err != nil {
			return fmt.Errorf("neighbor %s: %w", n.ID(), err)
		}
		if !routers[n.VRF] {
			return fmt.Errorf("neighbor %s: its VRF has no AS number", n.ID())
		}
		name := outMap(n.ID())
		if outMaps[name] {
			return fmt.Errorf("neighbor %s: another has a route-map of the same name", n.ID())
		}
		outMaps[name] = true
	}
	for _, p := range c.BFDProfiles {
		if err := word(p.Name); err != nil {
			return fmt.Errorf("BFD profile %q: %w", p.Name, err)
		}
	}
	for _, class := range c.Classes {
		for _, a := range class.Attributes {
			if err := validateAttributes(a); err != nil {
				return fmt.Errorf("neighbor %s: %w", a.Neighbor, err)
			}
		}
	}
	for _, n := range c.Networks {
		if !n.Prefix.IsValid() || n.Prefix != n.Prefix.Masked() {
			return fmt.Errorf("network %s is not a prefix", n.Prefix)
		}
		if n.Class < 0 || n.Class >= len(c.Classes) {
			return fmt.Errorf("network %s is of class %d of %d", n.Prefix, n.Class, len(c.Classes))
		}
	}
	return nil
}

// validateRouters returns the VRFs that have a router.
func validateRouters(c Config) (map[string]bool, error) {
	if c.ASN == 0 && len(c.VRFs) == 0 && len(c.Neighbors)+len(c.Networks) > 0 {
		return nil, errors.New("neighbors or networks without an AS number")
	}
	if c.RouterID.IsValid() && !c.RouterID.Is4() {
		return nil, fmt.Errorf("router ID %s is not an IPv4 address", c.RouterID)
	}
	routers := map[string]bool{"": c.ASN != 0}
	for _, v := range c.VRFs {
		if err := word(v.Name); err != nil {
			return nil, fmt.Errorf("VRF %q: %w", v.Name, err)
		}
		if v.ASN == 0 {
			return nil, fmt.Errorf("VRF %s: no AS number", v.Name)
		}
		if v.RouterID.IsValid() && !v.RouterID.Is4() {
			return nil, fmt.Errorf("VRF %s: router ID %s is not an IPv4 address", v.Name, v.RouterID)
		}
		routers[v.Name] = true
	}
	return routers, nil
}

// validateAttributes refuses attributes that do not fit in one command. FRR would
// carry out the rest of a longer one as another command.
func validateAttributes(a Attributes) error {
	for _, line := range attributeLines(a) {
		if len(line) > maxCommand || strings.Count(line, " ") >= maxWords {
			return fmt.Errorf("%d communities do not fit in a command of FRR", len(a.Communities))
		}
	}
	return nil
}

func validateNeighbor(n Neighbor) error {
	switch {
	case n.Interface != "" && n.Address.IsValid():
		return errors.New("both an address and an interface")
	case n.Interface != "":
		if err := word(n.Interface); err != nil {
			return fmt.Errorf("interface %q: %w", n.Interface, err)
		}
		if _, err := netip.ParseAddr(n.Interface); err == nil {
			return fmt.Errorf("interface %q: FRR would take it for an address", n.Interface)
		}
	case !n.Address.IsValid() || n.Address.Is4In6() || n.Address.Zone() != "":
		return errors.New("not an address without a zone")
	}
	switch {
	case n.ASN == 0 && n.DynamicASN != config.Internal && n.DynamicASN != config.External:
		return errors.New("no AS number")
	case n.ASN != 0 && n.DynamicASN != "":
		return errors.New("both an AS number and a dynamic one")
	}
	if n.SourceAddress.Zone() != "" {
		return errors.New("source address with a zone")
	}
	for _, d := range []*time.Duration{n.HoldTime, n.KeepaliveTime} {
		if d != nil && (*d < 0 || *d > maxTimer || *d%time.Second != 0) {
			return fmt.Errorf("time %v is not a whole number of seconds up to %v", *d, maxTimer)
		}
	}
	if d := n.ConnectTime; d != nil && (*d < time.Second || *d > maxTimer || *d%time.Second != 0) {
		return fmt.Errorf("time %v between attempts is not a whole number of seconds from 1 s to %v", *d, maxTimer)
	}
	if n.BFDProfile != "" {
		if err := word(n.BFDProfile); err != nil {
			return fmt.Errorf("BFD profile %q: %w", n.BFDProfile, err)
		}
	}
	if strings.ContainsFunc(n.Password.Reveal(), func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return errors.New("the password contains a space or a control character")
	}
	return nil
}

// word returns an error unless s is one word of a command.
func word(s string) error {
	if s == "" {
		return errors.New("empty")
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("not one word of printable ASCII characters")
	}
	return nil
}
