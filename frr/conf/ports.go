// SPDX-License-Identifier: Apache-2.0

package conf

import (
	"strconv"
	"strings"

	"github.com/heraldlb/herald/status"
)

// Ports returns the ports that neighbors are configured with.
func (c *Config) Ports() map[status.PeerID]uint16 {
	ports := make(map[status.PeerID]uint16)
	for _, s := range c.Sections {
		if kind, _ := enter(inTop, s.Text); kind != inRouter {
			continue
		}
		for _, l := range s.Sub {
			f := strings.Fields(l.Text)
			if len(f) != 4 || f[0] != "neighbor" || f[2] != "port" {
				continue
			}
			if port, err := strconv.ParseUint(f[3], 10, 16); err == nil {
				ports[status.PeerOf(vrfOf(s.Text), f[1])] = uint16(port)
			}
		}
	}
	return ports
}
