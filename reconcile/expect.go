// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/table"
)

// expect prepares FRR for the routes of Services that have just come, and get their addresses
// in a moment.
func (a *Agent) expect(services table.Table[cluster.Key, *cluster.Service]) {
	before := a.services
	a.services = services
	if !a.passed {
		return
	}
	for c := range table.Diff(before, services, table.Same) {
		if c.After != nil && a.awaits(*c.After) && (c.Before == nil || !a.awaits(*c.Before)) {
			a.opts.FRR.Hurry()
			return
		}
	}
}

// awaits reports whether a Service is about to get an address.
func (a *Agent) awaits(s *cluster.Service) bool {
	return s.LoadBalancer && s.Class == a.opts.Announce.Class && len(s.Ingress) == 0
}
