// SPDX-License-Identifier: Apache-2.0

package reconcile_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/source"
)

// FRR prepares for a route when a Service comes that is about to get an address, and not for
// others, or for what was there when the agent started.
func TestAgentExpectsRoutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &scene{synced: true}
		w.doc = &source.Document{Source: "configmap x", Text: []byte(goodConfig)}
		w.snapshot.Nodes = []*cluster.Node{{Name: "n1"}}
		w.snapshot.Services = services("before")
		stop := runAgentOn(t, w)
		defer stop()
		hurried := 0
		is := func(what string, want int, all ...*cluster.Service) {
			t.Helper()
			time.Sleep(time.Second)
			if len(all) > 0 {
				w.mu.Lock()
				w.snapshot.Services = all
				w.mu.Unlock()
				w.wake()
			}
			time.Sleep(time.Second)
			w.mu.Lock()
			defer w.mu.Unlock()
			if got := w.hurried - hurried; got != want {
				t.Errorf("%s: asked to hurry %d times, want %d", what, got, want)
			}
			hurried = w.hurried
		}
		is("at the start", 0)
		before := w.snapshot.Services[0]
		svc := func(change func(*cluster.Service)) *cluster.Service {
			s := services("web")[0]
			change(s)
			return s
		}
		is("another class", 0, before, svc(func(s *cluster.Service) { s.Class = "other" }))
		is("no load balancer", 0, before, svc(func(s *cluster.Service) { s.LoadBalancer = false }))
		is("a load balancer", 1, before, svc(func(*cluster.Service) {}))
		is("another version of it", 0, before, svc(func(s *cluster.Service) { s.ResourceVersion = "7" }))
		is("it has its address", 0, before, svc(func(s *cluster.Service) { s.Ingress = []string{"198.51.100.1"} }))
		is("it has lost it", 1, before, svc(func(*cluster.Service) {}))
		is("it is gone", 0, before)
		is("it is back, with its address", 0, before, svc(func(s *cluster.Service) { s.Ingress = []string{"198.51.100.1"} }))
	})
}
