// SPDX-License-Identifier: Apache-2.0

package condition

import (
	"iter"
	"strings"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/status"
)

// An Announcer is a node that was seen to announce a Service over a protocol.
type Announcer struct {
	Node     string
	Protocol status.Protocol
	Ends     []string // BGP: the peers that were sent it; layer 2: the interfaces, or none: every suitable one
}

// AnnouncersText returns which nodes announce a Service, and to which peers or on which
// interfaces. It is short even with many of them. A node that has sent the route to no peer
// announces nothing over BGP. It is empty if no node announces the Service.
func AnnouncersText(all iter.Seq[Announcer]) string {
	var parts []string
	for _, p := range []struct {
		protocol  status.Protocol
		direction string
	}{{status.BGP, " to "}, {status.Layer2, " on "}} {
		nodes, ends := map[string]bool{}, map[string]bool{}
		for a := range all {
			if a.Protocol != p.protocol || p.protocol == status.BGP && len(a.Ends) == 0 {
				continue
			}
			nodes[a.Node] = true
			for _, name := range a.Ends {
				ends[name] = true
			}
		}
		if len(nodes) == 0 {
			continue
		}
		text := string(p.protocol) + " from " + cluster.ListSet(nodes)
		if len(ends) > 0 {
			text += p.direction + cluster.ListSet(ends)
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "; ")
}
