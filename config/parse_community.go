// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"strings"
)

// wellKnown are the communities that routers know by name. RFC 1997, RFC 3765,
// RFC 7611, RFC 7999, RFC 8326. MetalLB wants them defined; a definition in the
// document overrides these.
var wellKnown = map[string]Community{
	"graceful-shutdown":   {a: 65535, b: 0},
	"accept-own":          {a: 65535, b: 1},
	"blackhole":           {a: 65535, b: 666},
	"no-export":           {a: 65535, b: 65281},
	"no-advertise":        {a: 65535, b: 65282},
	"local-as":            {a: 65535, b: 65283},
	"no-export-subconfed": {a: 65535, b: 65283},
	"no-peer":             {a: 65535, b: 65284},
}

// readCommunities reads the names that the document gives to communities.
func (p *parser) readCommunities(v value) {
	p.alias = map[string]Community{}
	for _, e := range v.entries() {
		c, err := ParseCommunity(e.value.text())
		if err != nil {
			e.value.fail("%v", err)
		}
		// A name with a wrong value is still defined: one mistake, one message.
		p.alias[e.key] = c
		p.cfg.Communities = append(p.cfg.Communities, CommunityAlias{e.key, c})
	}
}

// maxCommunities is how many of an advertisement fit in one command of FRR, however
// long they are.
const maxCommunities = 100

// communities reads the communities of an advertisement, by name or number.
func (p *parser) communities(v value) []Community {
	var all []Community
	list := v.list()
	if len(list) > maxCommunities {
		v.fail("%d communities, at most %d fit in a command of FRR", len(list), maxCommunities)
	}
	written, known := map[string]bool{}, map[Community]bool{}
	for _, item := range list {
		s := item.text()
		if written[s] {
			item.fail("duplicate definition of community %s", quote(s))
			continue
		}
		written[s] = true
		c, err := p.community(s)
		if err != nil {
			item.fail("%v", err)
			continue
		}
		if !known[c] { // two names may stand for one community
			known[c] = true
			all = append(all, c)
		}
	}
	return all
}

// community returns what s stands for. As in MetalLB a name that looks like a
// number counts as a name.
func (p *parser) community(s string) (Community, error) {
	if c, ok := p.alias[s]; ok {
		return c, nil
	}
	if c, ok := wellKnown[s]; ok {
		return c, nil
	}
	if !strings.Contains(s, ":") {
		return Community{}, fmt.Errorf("unknown community %s: want ASN:VALUE, large:A:B:C, or a name that is defined in bgp-communities", quote(s))
	}
	return ParseCommunity(s)
}
