// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"fmt"
	"net/netip"
	"reflect"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/render"
	"github.com/heraldlb/herald/table"
	"github.com/heraldlb/herald/trace"
)

// An applied is a configuration that was handed over to FRR, or was to be.
type applied struct {
	frame    render.Config // without classes and networks
	networks announce.Networks
	given    announce.Networks // those that FRR was given last
	tried    bool              // there is one
	failure  string            // why FRR was given nothing; empty: it was
}

// apply hands a configuration over to FRR, and returns why it could not.
func (a *Agent) apply(frame render.Config, networks announce.Networks) string {
	before := a.applied
	if before.tried && !differ(before.networks, networks, table.Same) && reflect.DeepEqual(before.frame, frame) {
		return before.failure
	}
	a.applied = applied{frame: frame, networks: networks, given: before.given, tried: true}
	start := time.Now()
	conf, err := a.printer.Print(frame, networks)
	trace.Line(a.opts.Logger, trace.Rendered, "took", time.Since(start))
	if err != nil {
		a.applied.failure = fmt.Sprintf("frr.conf: %v", err)
		if a.applied.failure != before.failure {
			a.opts.Logger.Error("configuration not applied", "err", a.applied.failure)
		}
		return a.applied.failure
	}
	a.opts.FRR.Set(conf)
	a.opts.Routers.Expect(conf.Networks)
	a.opts.Routers.Recheck(repointed(before.given, networks))
	a.applied.given = networks
	return ""
}

// repointed returns the routes of both tables that are announced differently now, for
// example to other neighbors.
func repointed(before, now announce.Networks) (out []netip.Prefix) {
	type pair struct{ before, now *render.Class }
	same := map[pair]bool{}
	for c := range table.Diff(before, now, table.Same) {
		if c.Before == nil || c.After == nil {
			continue
		}
		p := pair{*c.Before, *c.After}
		alike, known := same[p]
		if !known {
			alike = reflect.DeepEqual(p.before, p.now)
			same[p] = alike
		}
		if !alike {
			out = append(out, c.Key)
		}
	}
	return out
}
