// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/heraldlb/herald/alloc"
	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/port"
	"github.com/heraldlb/herald/source"
	"github.com/heraldlb/herald/status"
)

// A benchCluster is all that a controller works with. It carries out what a pass wants
// at once.
type benchCluster struct {
	snapshot cluster.Snapshot
	doc      source.Document
	updates  []assign.Update
	states   []AgentState
}

func (c *benchCluster) Snapshot() (cluster.Snapshot, bool)     { return c.snapshot, true }
func (*benchCluster) Refresh(context.Context) error            { return nil }
func (c *benchCluster) Document() (source.Document, bool)      { return c.doc, true }
func (*benchCluster) Run(context.Context) error                { return nil }
func (c *benchCluster) States() ([]AgentState, bool)           { return c.states, true }
func (*benchCluster) Published(config.Verdict) PublishedStatus { return PublishedStatus{} }
func (c *benchCluster) Set(updates []assign.Update)            { c.updates = updates }

type benchResources struct{ *benchCluster }

func (benchResources) Set([]ResourceStatus) {}

type benchReporter struct{}

func (benchReporter) Set(status.Report) {}

// write carries out what the last pass wants.
func (c *benchCluster) write() {
	by := map[cluster.Key]assign.Update{}
	for _, u := range c.updates {
		by[u.Service.Key] = u
	}
	services := make([]*cluster.Service, len(c.snapshot.Services))
	for i, svc := range c.snapshot.Services {
		services[i] = svc
		if u, ok := by[svc.Key]; ok {
			next := *svc
			next.Ingress, next.Annotations = nil, map[string]string{assign.AnnotationPool: u.Pool}
			for _, addr := range u.Ingress {
				next.Ingress = append(next.Ingress, addr.String())
			}
			next.Conditions = []cluster.Condition{*u.Condition}
			if u.Announced != nil {
				next.Conditions = append(next.Conditions, *u.Announced)
			}
			services[i] = &next
		}
	}
	c.snapshot.Services = services
}

// BenchmarkControllerPass measures a pass over 10,000 Services at rest. With agents
// there are 500 resources, and 1,000 agents report that the configuration is in
// force; in reports, another agent reports something else before each pass.
func BenchmarkControllerPass(b *testing.B) {
	for _, bb := range []struct {
		name            string
		agents, reports bool
	}{{"alone", false, false}, {"agents", true, false}, {"reports", true, true}} {
		b.Run(bb.name, func(b *testing.B) {
			w := &benchCluster{doc: source.Document{Source: "resources", Version: "1", Resources: &config.Resources{}}}
			object := func(kind, name, spec string) {
				w.doc.Resources.Objects = append(w.doc.Resources.Objects, config.Object{ID: config.ID{Kind: kind, Name: name}, Spec: []byte(spec)})
			}
			object(config.KindBGPAdvertisement, "ad", "{}")
			for i := range 400 {
				object(config.KindPool, fmt.Sprintf("p%03d", i), fmt.Sprintf(`{"addresses":["10.%d.%d.0/24"]}`, 1+i/200, i%200))
			}
			for i := range 100 {
				object(config.KindPeer, fmt.Sprintf("tor%02d", i), fmt.Sprintf(`{"myASN":1,"peerASN":2,"peerAddress":"10.0.0.%d"}`, i+1))
			}
			for i := range 10000 {
				w.snapshot.Services = append(w.snapshot.Services, &cluster.Service{
					Key: cluster.Key{Namespace: "shop", Name: fmt.Sprintf("web-%05d", i)}, LoadBalancer: true, UID: fmt.Sprint(i),
					ClusterIPs: []netip.Addr{netip.MustParseAddr("10.96.0.1")}, Ports: port.NewSet(port.Port{Protocol: "TCP", Number: 80}),
				})
			}
			up := []cluster.SessionState{{Peer: "tor00", Up: true}, {Peer: "tor01", Up: true}}
			for i := range 1000 {
				w.states = append(w.states, AgentState{Node: fmt.Sprintf("n%03d", i), State: State{Known: true, Version: "1", Sessions: up}, Since: time.Now()})
			}
			opts := ControllerOptions{
				Worker: NewWorker(), Cluster: w, Documents: w, Writer: w, Reporter: benchReporter{}, Logger: slog.New(slog.DiscardHandler),
			}
			if bb.agents {
				opts.Resources, opts.Agents = benchResources{w}, w
			}
			c := NewController(opts)
			t := &term{allocator: alloc.New(nil)}
			for i := 0; ; i++ {
				c.pass(t)
				if len(w.updates) == 0 {
					break
				}
				if i == 10 {
					b.Fatalf("%d updates are left, such as %+v", len(w.updates), w.updates[0])
				}
				w.write()
				time.Sleep(2 * time.Second)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if bb.reports {
					states := make([]AgentState, len(w.states))
					copy(states, w.states)
					states[i%1000].Errors = []string{fmt.Sprintf("BGPPeer/tor00: error %d", i)}
					w.states = states
				}
				c.pass(t)
				if len(w.updates) > 0 {
					b.Fatalf("%d updates", len(w.updates))
				}
			}
		})
	}
}
