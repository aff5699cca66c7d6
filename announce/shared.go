// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/render"
	"github.com/heraldlb/herald/table"
)

// A claim is a route that a Service wants, as a class.
type claim struct {
	prefix netip.Prefix
	class  int
}

// sharedRoutes are routes, each with all Services that want it. They remember between two
// passes what routes does in one.
type sharedRoutes struct {
	classes  *classes
	routes   map[netip.Prefix]*sharedRoute
	networks table.Editor[netip.Prefix, *render.Class]
	touched  map[netip.Prefix]bool // since settle
}

// A sharedRoute is a route with the Services that want it, in their order.
type sharedRoute struct {
	claims  []routeClaim
	results []routeResult // of the claims, if they are of several classes; else nil: all get it
}

type routeClaim struct {
	by    cluster.Key
	n     int // which of the Service's claims
	class int
}

// compare orders claims by Service.
func (c routeClaim) compare(o routeClaim) int {
	return cmp.Or(c.by.Compare(o.by), cmp.Compare(c.n, o.n))
}

// A routeResult is what an adder returns.
type routeResult struct {
	conflicts []conflict
	added     bool
}

func newSharedRoutes(c *classes) sharedRoutes {
	return sharedRoutes{classes: c, routes: map[netip.Prefix]*sharedRoute{}, touched: map[netip.Prefix]bool{}}
}

// reset forgets all claims. Routes that are wanted again as they were stay as they are.
func (r *sharedRoutes) reset(c *classes) {
	networks := r.networks
	*r = newSharedRoutes(c)
	r.networks = networks
	for prefix := range networks.Table().All() {
		r.touched[prefix] = true
	}
}

// replace puts the claims of a Service in the place of those that it had.
func (r *sharedRoutes) replace(by cluster.Key, before, now []claim) {
	if slices.Equal(before, now) {
		return
	}
	for n, c := range before {
		route := r.routes[c.prefix]
		if i, ok := slices.BinarySearchFunc(route.claims, routeClaim{by: by, n: n}, routeClaim.compare); ok {
			route.claims = slices.Delete(route.claims, i, i+1)
		}
		r.touched[c.prefix] = true
	}
	for n, c := range now {
		route := r.routes[c.prefix]
		if route == nil {
			route = &sharedRoute{}
			r.routes[c.prefix] = route
		}
		claim := routeClaim{by, n, c.class}
		i, _ := slices.BinarySearchFunc(route.claims, claim, routeClaim.compare)
		route.claims = slices.Insert(route.claims, i, claim)
		r.touched[c.prefix] = true
	}
}

// settle decides how the routes are announced whose claims have changed. It yields the
// Services that a change of another may concern.
func (r *sharedRoutes) settle(yield func(cluster.Key)) {
	for prefix := range r.touched {
		route := r.routes[prefix]
		if route == nil || len(route.claims) == 0 {
			delete(r.routes, prefix)
			r.networks.Delete(prefix)
			continue
		}
		mixed := route.results != nil
		class := r.classes.list[route.merge(prefix, r.classes)]
		if was, ok := r.networks.Get(prefix); !ok || was != class {
			r.networks.Set(prefix, class)
		}
		if mixed || route.results != nil {
			for _, c := range route.claims {
				yield(c.by)
			}
		}
	}
	clear(r.touched)
}

// merge finds out who gets a route, and returns the class that it is announced as.
func (s *sharedRoute) merge(prefix netip.Prefix, classes *classes) int {
	s.results = nil
	first := s.claims[0].class
	if !slices.ContainsFunc(s.claims, func(c routeClaim) bool { return c.class != first }) {
		return first
	}
	all := routes{classes: classes, owners: map[netip.Prefix]owner{}}
	s.results = make([]routeResult, len(s.claims))
	for i, c := range s.claims {
		s.results[i].conflicts, s.results[i].added = all.add(prefix, c.class, c.by)
	}
	return all.owners[prefix].class
}

// adder returns the adder of a Service, which is called for its claims in order.
func (r *sharedRoutes) adder() adder {
	n := -1
	return func(p netip.Prefix, _ int, by cluster.Key) ([]conflict, bool) {
		n++
		route := r.routes[p]
		if route.results == nil {
			return nil, true
		}
		i, _ := slices.BinarySearchFunc(route.claims, routeClaim{by: by, n: n}, routeClaim.compare)
		return route.results[i].conflicts, route.results[i].added
	}
}
