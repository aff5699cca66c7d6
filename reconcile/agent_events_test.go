// SPDX-License-Identifier: Apache-2.0

package reconcile_test

import (
	"context"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/handover"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/render"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/table"
)

// A street is a node's routers and its neighbors on layer 2: what they have seen.
type street struct {
	router
	sent     []netip.Prefix
	answered []netip.Addr

	conflicts map[netip.Addr]reconcile.Conflict
}

func (s *street) Expect(table.Table[netip.Prefix, string]) {}
func (s *street) Recheck([]netip.Prefix)                   {}
func (s *street) Look()                                    {}
func (s *street) Looked() time.Time                        { return time.Time{} }

func (s *street) AllSent() reconcile.SentRoutes       { return reconcile.SentRoutes{} }
func (s *street) SentTo(netip.Prefix) []status.PeerID { return nil }
func (s *street) Sent(p netip.Prefix) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sent := range s.sent {
		if sent == p {
			return true
		}
	}
	return false
}

func (s *street) Set(render.Text) {}

// A lane is the layer 2 of a street.
type lane struct{ *street }

func (lane) Set(handover.Answers)       {}
func (lane) Ask(bool)                   {}
func (lane) Tell([]announce.Sent)       {}
func (lane) Alone(int)                  {}
func (lane) SetFaults([]announce.Fault) {}
func (lane) SetNodes([]*cluster.Node)   {}
func (l lane) Neighborhood() reconcile.Neighborhood {
	l.mu.Lock()
	defer l.mu.Unlock()
	return reconcile.Neighborhood{Membership: announce.Membership{Disabled: true}, Answered: answeredOn(nil, l.answered...), Conflicts: l.conflicts}
}

// answeredOn returns addresses that are answered for on the same interfaces.
func answeredOn(on []string, addrs ...netip.Addr) reconcile.Answered {
	var e table.Editor[netip.Addr, []string]
	for _, addr := range addrs {
		e.Set(addr, on)
	}
	return e.Table()
}

// A conflict is one event of the Service until it is settled, however many hosts claim
// the address. One event says that a Service's endpoints come and go.
func TestAgentTellsOnce(t *testing.T) {
	const settings = `
peers: [{peer-address: 192.0.2.254, peer-asn: 64513, my-asn: 64512}]
address-pools:
- {name: web, protocol: bgp, addresses: [198.51.100.0/28]}
- {name: lan, protocol: layer2, addresses: [192.0.2.0/28]}`
	addr := netip.MustParseAddr("192.0.2.1")
	synctest.Test(t, func(t *testing.T) {
		w := &scene{synced: true}
		here := &street{router: router{w}, answered: []netip.Addr{addr}}
		worker := reconcile.NewWorker()
		w.wake = worker.Wake
		all := services("flappy=198.51.100.1", "lan=192.0.2.1")
		all[0].Local = true
		endpoints := func(node string) map[cluster.Key][]cluster.Endpoint {
			return map[cluster.Key][]cluster.Endpoint{all[0].Key: {{Node: node}}, all[1].Key: {{Node: "n1"}}}
		}
		w.snapshot = cluster.Snapshot{Nodes: []*cluster.Node{{Name: "n1"}, {Name: "n2"}}, Services: all, Endpoints: endpoints("n1")}
		var told []string
		a := reconcile.NewAgent(reconcile.AgentOptions{
			Verify: true, Node: "n1", Worker: worker, Cluster: w, Documents: w, FRR: here, Routers: here, Reporter: reporter{w}, Layer2: lane{here},
			Logger: verifierLog(t),
			Events: func(svc *cluster.Service, e cluster.Event) {
				w.mu.Lock()
				defer w.mu.Unlock()
				told = append(told, eventText(svc, e))
			},
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- a.Run(ctx) }()
		defer func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}()
		news := func(what string, want ...string) {
			t.Helper()
			w.mu.Lock()
			defer w.mu.Unlock()
			wants(t, what, told, want...)
			told = nil
		}
		step := func(d time.Duration, edit func()) {
			w.change(edit)
			w.wake()
			time.Sleep(d)
			synctest.Wait()
		}
		claimed := func(more int) func() {
			return func() {
				here.conflicts = map[netip.Addr]reconcile.Conflict{addr: {By: "02:00:00:00:00:09", On: "eth0", More: more}}
			}
		}
		w.write(settings)
		step(time.Minute, func() {})
		news("at the start")
		for more := range 15 {
			step(time.Second, claimed(more))
		}
		conflict := "lan !AddressConflict: 192.0.2.1: 02:00:00:00:00:09 on eth0 has the address"
		news("many hosts claim it", conflict)
		step(time.Second, func() { here.conflicts = nil })
		step(time.Second, claimed(0))
		news("it was settled, and one claims it again", conflict)

		for range 20 {
			step(70*time.Millisecond, func() { w.snapshot.Endpoints = endpoints("n2") })
			step(70*time.Millisecond, func() { w.snapshot.Endpoints = endpoints("n1") })
		}
		news("endpoints come and go", `flappy !EndpointsFlap: 198.51.100.1: endpoints come and go; node "n1" announces the address with protocol "bgp" in 16s at the earliest`)
	})
}

// A node has an event for a Service once it was seen to announce it, for a
// moment at least, and once.
func TestAgentTellsWhatIsSeen(t *testing.T) {
	const settings = `
peers: [{peer-address: 192.0.2.254, peer-asn: 64513, my-asn: 64512}]
address-pools:
- {name: web, protocol: bgp, addresses: [198.51.100.0/28]}
- {name: lan, protocol: layer2, addresses: [192.0.2.0/28]}`
	route, addr := netip.MustParsePrefix("198.51.100.1/32"), netip.MustParseAddr("192.0.2.1")
	synctest.Test(t, func(t *testing.T) {
		w := &scene{synced: true}
		here := &street{router: router{w}}
		worker := reconcile.NewWorker()
		w.wake = worker.Wake
		var published publisher
		old := services("old=198.51.100.9")
		endpoints := map[cluster.Key][]cluster.Endpoint{}
		all := append(old, services("bgp=198.51.100.1", "lan=192.0.2.1")...)
		for _, s := range all {
			endpoints[s.Key] = []cluster.Endpoint{{Node: "n1"}}
		}
		w.snapshot = cluster.Snapshot{Nodes: []*cluster.Node{{Name: "n1"}}, Services: old, Endpoints: endpoints}
		var told []string
		a := reconcile.NewAgent(reconcile.AgentOptions{
			Verify: true, Node: "n1", Worker: worker, Cluster: w, Documents: w, FRR: here, Routers: here, Reporter: reporter{w}, Layer2: lane{here},
			Logger: verifierLog(t), Statuses: &published,
			Events: func(svc *cluster.Service, e cluster.Event) {
				w.mu.Lock()
				defer w.mu.Unlock()
				told = append(told, eventText(svc, e))
			},
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- a.Run(ctx) }()
		defer func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}()
		news := func(what string, d time.Duration, want ...string) {
			t.Helper()
			w.wake()
			time.Sleep(d)
			synctest.Wait()
			w.mu.Lock()
			defer w.mu.Unlock()
			wants(t, what, told, want...)
			told = nil
		}
		sees := func(sent []netip.Prefix, answered ...netip.Addr) {
			w.mu.Lock()
			here.sent, here.answered = sent, answered
			w.mu.Unlock()
		}
		bgp := `bgp nodeAssigned: announcing from node "n1" with protocol "bgp"`
		layer2 := `lan nodeAssigned: announcing from node "n1" with protocol "layer2"`

		w.write(settings)
		w.change(func() { w.snapshot.Services = []*cluster.Service{all[1], all[2], all[0]} })
		news("it is wanted", time.Hour)
		sees([]netip.Prefix{route})
		news("a router was sent the route", 500*time.Millisecond)
		sees(nil)
		news("for a moment", time.Minute)
		sees([]netip.Prefix{route}, addr)
		news("both are seen", time.Minute, bgp, layer2)
		sees(nil)
		news("not any more", time.Minute)
		sees([]netip.Prefix{route, netip.MustParsePrefix("198.51.100.9/32")}, addr)
		news("again, which the controller tells", time.Minute)
		w.change(func() { w.snapshot.Services = []*cluster.Service{all[1], all[0]} })
		w.change(func() { w.snapshot.Services = []*cluster.Service{all[1], all[2], all[0]} })
		news("one is new again", time.Minute, layer2)

		// The controller's event names all nodes that announce the routes of a Service, where
		// agents publish that.
		published.Store(true)
		w.change(func() { w.snapshot.Services = nil })
		w.change(func() { w.snapshot.Services = []*cluster.Service{all[1], all[2], all[0]} })
		news("statuses are published", time.Minute, layer2)
	})
}

// A publisher publishes statuses or not.
type publisher struct{ atomic.Bool }

func (*publisher) Set(func() reconcile.ServiceStatuses) {}
func (p *publisher) Published(status.Protocol) bool     { return p.Load() }
