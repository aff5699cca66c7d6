// SPDX-License-Identifier: Apache-2.0

package render

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// What FRR takes of one command, less some room for its context. It is VTY_BUFSIZ
// in lib/vty.h and CMD_ARGC_MAX in lib/command.h.
const (
	maxCommand = 4000 // bytes, of 4096
	maxWords   = 250  // of 256
)

// validate refuses what would put more into frr.conf than the word or the
// number that it is meant to be. The configuration has been validated before;
// this is the last place where a line break in a name can be stopped.
func validate(c Config) error {
	if err := word(c.Hostname); err != nil {
		return fmt.Errorf("hostname %q: %w", c.Hostname, err)
	}
	if c.RouterID.IsValid() && !c.RouterID.Is4() {
		return fmt.Errorf("router ID %s is not an IPv4 address", c.RouterID)
	}
	if c.ASN == 0 && len(c.Neighbors)+len(c.Networks) > 0 {
		return errors.New("neighbors or networks without an AS number")
	}
	for _, n := range c.Neighbors {
		if err := validateNeighbor(n); err != nil {
			return fmt.Errorf("neighbor %s: %w", n.Address, err)
		}
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

// validateAttributes refuses what does not fit in one command: of a longer one
// FRR carries out the rest as if it were another.
func validateAttributes(a Attributes) error {
	for _, line := range attributeLines(a) {
		if len(line) > maxCommand || strings.Count(line, " ") >= maxWords {
			return fmt.Errorf("%d communities do not fit in a command of FRR", len(a.Communities))
		}
	}
	return nil
}

func validateNeighbor(n Neighbor) error {
	if !n.Address.IsValid() || n.Address.Is4In6() || n.Address.Zone() != "" {
		return errors.New("not an address without a zone")
	}
	if n.ASN == 0 {
		return errors.New("no AS number")
	}
	if n.SourceAddress.Zone() != "" {
		return errors.New("source address with a zone")
	}
	for _, d := range []*time.Duration{n.HoldTime, n.KeepaliveTime} {
		if d != nil && (*d < 0 || *d > maxTimer || *d%time.Second != 0) {
			return fmt.Errorf("time %v is not a whole number of seconds up to %v", *d, maxTimer)
		}
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

// word returns an error unless s is what FRR takes for one word of a command.
func word(s string) error {
	if s == "" {
		return errors.New("empty")
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("not one word of printable ASCII characters")
	}
	return nil
}
