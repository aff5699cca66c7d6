// SPDX-License-Identifier: Apache-2.0

package render

import "github.com/heraldlb/herald/config"

// wellKnown has the communities that FRR shows by name, see IANA's registry
// "BGP Well-known Communities". FRR 8 also shows 0:0 as "internet", a name that FRR
// 10 does not know.
var wellKnown = map[string]string{
	"65535:0":     "graceful-shutdown",
	"65535:1":     "accept-own",
	"65535:2":     "route-filter-translated-v4",
	"65535:3":     "route-filter-v4",
	"65535:4":     "route-filter-translated-v6",
	"65535:5":     "route-filter-v6",
	"65535:6":     "llgr-stale",
	"65535:7":     "no-llgr",
	"65535:8":     "accept-own-nexthop",
	"65535:666":   "blackhole",
	"65535:65281": "no-export",
	"65535:65282": "no-advertise",
	"65535:65283": "local-AS",
	"65535:65284": "no-peer",
}

// communityName returns c as FRR shows it.
func communityName(c config.Community) string {
	if name, ok := wellKnown[c.String()]; ok {
		return name
	}
	return c.String()
}
