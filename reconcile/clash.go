// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"fmt"
	"slices"

	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/table"
)

// reportClashes logs new clashes, and sends an event about the other load balancer's
// Service. The event about Herald's Service goes with its condition.
func (c *Controller) reportClashes(t *term, services table.Table[cluster.Key, *cluster.Service], clashes []status.Clash) {
	before := t.clashes
	if len(clashes) == len(before) && (len(clashes) == 0 || &clashes[0] == &before[0]) {
		return
	}
	t.clashes = clashes
	for _, clash := range clashes {
		if slices.Contains(before, clash) {
			continue
		}
		c.opts.Logger.Warn("another load balancer gave out the address of a service",
			"service", clash.Service, "addr", clash.Addr, "other", clash.Other)
		if other, ok := services.Get(cluster.ParseKey(clash.Other)); ok && c.opts.Events != nil {
			c.opts.Events(other, cluster.Event{Warning: true, Reason: assign.EventConflict, Message: fmt.Sprintf(
				"%s is an address of Service %s, too, which Herald gave it: give one of the two Services another address", clash.Addr, clash.Service)})
		}
	}
}
