// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"fmt"
	"net/netip"
	"reflect"

	"github.com/heraldlb/herald/render"
)

// apply hands a configuration over to FRR, and returns why it could not.
func (a *Agent) apply(c render.Config) string {
	conf, err := render.FRR(c)
	if err == nil {
		a.opts.FRR.Set(conf)
		routes := make([]netip.Prefix, len(c.Networks))
		for i, n := range c.Networks {
			routes[i] = n.Prefix
		}
		a.opts.Routers.Expect(routes)
		a.opts.Routers.Recheck(repointed(a.applied, c))
		a.applied = c
		a.loggedFailure = ""
		return ""
	}
	failed := fmt.Sprintf("frr.conf: %v", err)
	if failed != a.loggedFailure {
		a.loggedFailure = failed
		a.opts.Logger.Error("configuration not applied", "err", failed)
	}
	return failed
}

// repointed returns the routes of both configurations that are announced differently now,
// for example to other neighbors.
func repointed(before, now render.Config) []netip.Prefix {
	if len(before.Networks) == 0 || len(now.Networks) == 0 {
		return nil
	}
	type pair struct{ before, now int }
	same := map[pair]bool{}
	var out []netip.Prefix
	old := before.Networks
	for _, n := range now.Networks {
		for len(old) > 0 && old[0].Prefix.Compare(n.Prefix) < 0 {
			old = old[1:]
		}
		if len(old) == 0 {
			break
		}
		if old[0].Prefix != n.Prefix {
			continue
		}
		p := pair{old[0].Class, n.Class}
		alike, known := same[p]
		if !known {
			alike = reflect.DeepEqual(before.Classes[p.before], now.Classes[p.now])
			same[p] = alike
		}
		if !alike {
			out = append(out, n.Prefix)
		}
	}
	return out
}
