// SPDX-License-Identifier: Apache-2.0

package conf

import (
	"slices"

	"github.com/heraldlb/herald/status"
)

// Reopening returns the commands that restart BFD with a peer and open the BGP
// session; none if the peer has no BFD. A source address that follows BFD in the
// configuration is set again: bgpd then creates the BFD session with it.
func Reopening(c *Config, peer status.PeerID) []Command {
	var d differ
	name := peer.Name()
	guard := "neighbor " + name + " bfd"
	for _, router := range c.Sections {
		if kind, _ := enter(inTop, router.Text); kind != inRouter || vrfOf(router.Text) != peer.VRF {
			continue
		}
		i := slices.IndexFunc(router.Sub, func(s Section) bool { return s.Text == guard })
		if i < 0 {
			return nil
		}
		ctx := []Line{router.Line}
		var again []Line
		d.add(ctx, Line{Text: "no " + guard})
		for _, s := range router.Sub[i:] {
			p, attr, ok := cutNeighbor(s.Text)
			switch key := neighborKey(attr); {
			case !ok || p != name:
			case key == "update-source":
				d.add(ctx, Line{Text: unset(inRouter, s.Text)})
				again = append(again, s.Line)
			case key == "bfd" || key == "bfd profile" || key == "timers connect":
				again = append(again, s.Line)
			}
		}
		for _, line := range again {
			d.add(ctx, line)
		}
	}
	return d.commands
}
