// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"regexp"
)

// readBFDProfiles reads bfd-profiles.
func (p *parser) readBFDProfiles(v value) {
	p.profiles = map[string]value{}
	for _, item := range v.list() {
		m := item.mapping("name", "receive-interval", "transmit-interval", "detect-multiplier",
			"echo-interval", "echo-mode", "passive-mode", "minimum-ttl")
		name := m.get("name")
		b := BFDProfile{
			Name:             name.text(),
			ReceiveInterval:  m.get("receive-interval").optional(10, 60000),
			TransmitInterval: m.get("transmit-interval").optional(10, 60000),
			EchoInterval:     m.get("echo-interval").optional(10, 60000),
			DetectMultiplier: m.get("detect-multiplier").optional(2, 255),
			MinimumTTL:       m.get("minimum-ttl").optional(1, 254),
			EchoMode:         m.get("echo-mode").boolean(false),
			PassiveMode:      m.get("passive-mode").boolean(false),
		}
		switch {
		case name.missing():
			name.fail("missing bfd profile name")
		case b.Name != "":
			if err := checkProfileName(b.Name); err != nil {
				name.fail("invalid bfd profile name %s: %v", quote(b.Name), err)
			}
		}
		unique(name, p.profiles, b.Name, "bfd profile")
		p.cfg.BFDProfiles = append(p.cfg.BFDProfiles, b)
	}
}

// maxProfileName is BFD_PROFILE_NAME_LEN of FRR without the closing NUL.
const maxProfileName = 63

// oneWord is what FRR reads as one word of a command.
var oneWord = regexp.MustCompile(`^[!-~]+$`)

// checkProfileName says why FRR could not take a name.
func checkProfileName(name string) error {
	switch {
	case len(name) > maxProfileName:
		return fmt.Errorf("longer than the %d characters that FRR takes", maxProfileName)
	case !oneWord.MatchString(name):
		return errors.New("FRR takes one word of ASCII letters, digits and marks")
	}
	return nil
}

// missing reports whether v is absent, null or an empty string.
func (v value) missing() bool {
	return v.null() || v.node.Value == "" && len(v.node.Content) == 0
}

// optional returns a number from lo to hi, 0 if there is none.
func (v value) optional(lo, hi uint64) uint32 {
	n, _ := v.number(lo, hi)
	return uint32(n)
}
