// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/condition"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/port"
	"github.com/heraldlb/herald/source"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/table"
)

// A benchCluster is all that a controller works with. It carries out what a pass wants
// at once.
type benchCluster struct {
	tables   cluster.Tables
	doc      source.Document
	version  int
	updates  table.Table[cluster.Key, *assign.Update]
	states   []AgentState
	observed condition.Observed
	born     int // Services made so far
}

func (c *benchCluster) Tables() (cluster.Tables, bool)         { return c.tables, true }
func (*benchCluster) Refresh(context.Context) error            { return nil }
func (c *benchCluster) Document() (source.Document, bool)      { return c.doc, true }
func (*benchCluster) Run(context.Context) error                { return nil }
func (c *benchCluster) States() ([]AgentState, bool)           { return c.states, true }
func (*benchCluster) Published(config.Verdict) PublishedStatus { return PublishedStatus{} }
func (c *benchCluster) Announced() (condition.Observed, bool)  { return c.observed, true }

func (c *benchCluster) Set(updates table.Table[cluster.Key, *assign.Update]) { c.updates = updates }

type benchResources struct{ *benchCluster }

func (benchResources) Set([]ResourceStatus) {}

type benchReporter struct{}

func (benchReporter) Set(status.Report) {}

// write carries out what the last pass wants.
func (c *benchCluster) write() {
	if c.updates.Len() == 0 {
		return
	}
	e := c.tables.Services.Edit()
	for key, u := range c.updates.All() {
		next := *u.Service
		next.Ingress, next.Annotations = nil, map[string]string{assign.AnnotationPool: u.Pool}
		for _, addr := range u.Ingress {
			next.Ingress = append(next.Ingress, addr.String())
		}
		next.Conditions = []cluster.Condition{*u.Condition}
		if u.Announced != nil {
			next.Conditions = append(next.Conditions, *u.Announced)
		} else if old := u.Service.Condition(condition.TypeAnnounced); old != nil {
			next.Conditions = append(next.Conditions, *old)
		}
		e.Set(key, &next)
	}
	c.tables.Services = e.Table()
}

// born returns a new Service, which every node says to announce.
func (c *benchCluster) newService(key cluster.Key) *cluster.Service {
	c.born++
	return &cluster.Service{
		Key: key, LoadBalancer: true, UID: strconv.Itoa(c.born),
		ClusterIPs: []netip.Addr{netip.MustParseAddr("10.96.0.1")}, Ports: port.NewSet(port.Port{Protocol: "TCP", Number: 80}),
	}
}

// newBenchCluster returns a cluster with that many Services, pools, peers and nodes.
func newBenchCluster(services, pools, peers, nodes int) *benchCluster {
	c := &benchCluster{observed: condition.Observed{Reported: true, Reach: &condition.Reach{}}}
	all, words, endpoints := c.tables.Services.Edit(), c.observed.Announcers.Edit(), c.observed.Reach.Endpoints.Edit()
	for i := range services {
		key := benchKey(i)
		all.Set(key, c.newService(key))
		words.Set(key, "bgp from n000, n001, n002 to tor00")
		endpoints.Set(key, []cluster.Endpoint{{Node: "n000"}, {Node: "n001"}})
	}
	c.tables.Services, c.observed.Announcers, c.observed.Reach.Endpoints = all.Table(), words.Table(), endpoints.Table()
	up := []cluster.SessionState{{Peer: "tor00", Up: true}, {Peer: "tor01", Up: true}}
	for i := range nodes {
		name := fmt.Sprintf("n%03d", i)
		c.observed.Reach.Nodes = append(c.observed.Reach.Nodes, &cluster.Node{Name: name})
		c.states = append(c.states, AgentState{Node: name, State: State{Known: true, Version: "1", Sessions: up}, Since: time.Now()})
	}
	c.configure(pools, peers)
	return c
}

// configure sets another version of the configuration.
func (c *benchCluster) configure(pools, peers int) {
	c.version++
	c.doc = source.Document{Source: "resources", Version: strconv.Itoa(c.version), Resources: &config.Resources{}}
	object := func(kind, name, spec string) {
		c.doc.Resources.Objects = append(c.doc.Resources.Objects, config.Object{
			ID: config.ID{Kind: kind, Name: name}, Generation: int64(c.version), Spec: []byte(spec),
		})
	}
	object(config.KindBGPAdvertisement, "ad", fmt.Sprintf(`{"communities":["64512:%d"]}`, c.version%1000))
	for i := range pools {
		object(config.KindPool, fmt.Sprintf("p%03d", i), fmt.Sprintf(`{"addresses":["10.%d.%d.0-10.%d.%d.255"]}`, i/8, i%8*32, i/8, i%8*32+31))
	}
	for i := range peers {
		object(config.KindPeer, fmt.Sprintf("tor%02d", i), fmt.Sprintf(`{"myASN":1,"peerASN":2,"peerAddress":"192.168.0.%d"}`, i+1))
	}
}

// service puts a new Service in the place of another one.
func (c *benchCluster) service(i int) {
	e := c.tables.Services.Edit()
	key := benchKey(i * 31 % e.Len())
	e.Set(key, c.newService(key))
	c.tables.Services = e.Table()
}

// endpoint takes an endpoint from a Service, or gives it back.
func (c *benchCluster) endpoint(i int) {
	key := benchKey(i * 31 % c.tables.Services.Len())
	e := c.observed.Reach.Endpoints.Edit()
	now := []cluster.Endpoint{{Node: "n000"}}
	if old, _ := e.Get(key); len(old) == 1 {
		now = append(now, cluster.Endpoint{Node: "n001"})
	}
	e.Set(key, now)
	c.observed.Reach = &condition.Reach{Nodes: c.observed.Reach.Nodes, Endpoints: e.Table()}
}

// announced has a node announce a Service for a moment, or leave that to the others.
func (c *benchCluster) announced(i int) {
	key := benchKey(i / 2 * 31 % c.tables.Services.Len())
	e := c.observed.Announcers.Edit()
	e.Set(key, []string{"bgp from n000, n001, n002, n003 to tor00", "bgp from n000, n001, n002 to tor00"}[i%2])
	c.observed.Announcers = e.Table()
}

// node labels a Node.
func (c *benchCluster) node(i int) {
	nodes := slices.Clone(c.observed.Reach.Nodes)
	nodes[0] = &cluster.Node{Name: nodes[0].Name, Labels: map[string]string{"rack": strconv.Itoa(i)}}
	c.observed.Reach = &condition.Reach{Nodes: nodes, Endpoints: c.observed.Reach.Endpoints}
}

// report has an agent report something else.
func (c *benchCluster) report(i int) {
	c.states = slices.Clone(c.states)
	c.states[i%len(c.states)].Errors = []string{fmt.Sprintf("BGPPeer/tor00: error %d", i)}
}

// controller returns a controller with nothing left to do.
func (c *benchCluster) controller(b *testing.B) (*Controller, *term) {
	ctl := NewController(ControllerOptions{
		Worker: NewWorker(), Cluster: c, Documents: c, Writer: c, Reporter: benchReporter{}, Logger: slog.New(slog.DiscardHandler),
		Resources: benchResources{c}, Agents: c, Announced: c, Journal: &status.Journal{}, Took: func(status.Span, string, time.Duration) {},
	})
	t := ctl.newTerm()
	for i := 0; ; i++ {
		ctl.pass(t)
		if c.updates.Len() == 0 && i > 1 {
			return ctl, t
		}
		if i == 10 {
			b.Fatalf("%d updates are left", c.updates.Len())
		}
		c.write()
		time.Sleep(600 * time.Millisecond) // until what is seen counts as settled
	}
}

// BenchmarkControllerPass measures a pass of the controller after one change in a cluster
// of that many Services, in 10 pools.
func BenchmarkControllerPass(b *testing.B) {
	const pools, peers = 10, 10
	for _, services := range []int{1000, 10000} {
		for _, bb := range []struct {
			name   string
			change func(*benchCluster, int)
		}{
			{"service", (*benchCluster).service},
			{"endpoint", (*benchCluster).endpoint},
			{"announced", (*benchCluster).announced},
			{"node", (*benchCluster).node},
			{"config", func(c *benchCluster, _ int) { c.configure(pools, peers) }},
			{"nothing", func(*benchCluster, int) {}},
		} {
			b.Run(fmt.Sprintf("%d/%s", services, bb.name), func(b *testing.B) {
				c := newBenchCluster(services, pools, peers, 3)
				ctl, t := c.controller(b)
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					c.write()
					bb.change(c, i)
					ctl.pass(t)
				}
			})
		}
	}
}

// BenchmarkControllerFleet measures a pass over 10,000 Services, 400 pools and 100 peers
// with 1,000 agents, of which another one reports something else before each.
func BenchmarkControllerFleet(b *testing.B) {
	c := newBenchCluster(10000, 400, 100, 1000)
	ctl, t := c.controller(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		c.report(i)
		ctl.pass(t)
		if c.updates.Len() > 0 {
			b.Fatalf("%d updates", c.updates.Len())
		}
	}
}
