// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/handover"
	"github.com/heraldlb/herald/render"
	"github.com/heraldlb/herald/source"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/table"
)

// A benchNode is all that an agent works with: a cluster of three nodes, routers that
// are sent every route at once, and a network that answers for every address at once.
type benchNode struct {
	tables   cluster.Tables
	answers  handover.Answers
	doc      source.Document
	version  int
	around   Neighborhood
	expected table.Table[netip.Prefix, string]
	sent     SentRoutes
	statuses func() ServiceStatuses // which the writer asks for once in a second
}

func (n *benchNode) Tables() (cluster.Tables, bool)                  { return n.tables, true }
func (n *benchNode) Document() (source.Document, bool)               { return n.doc, true }
func (n *benchNode) Neighborhood() Neighborhood                      { return n.around }
func (*benchNode) SetNodes([]*cluster.Node)                          {}
func (*benchNode) Ask(bool)                                          {}
func (*benchNode) SetFaults([]announce.Fault)                        {}
func (*benchNode) Tell([]announce.Sent)                              {}
func (*benchNode) Alone(int)                                         {}
func (n *benchNode) Expect(routes table.Table[netip.Prefix, string]) { n.expected = routes }
func (n *benchNode) AllSent() SentRoutes                             { return n.sent }
func (*benchNode) Recheck([]netip.Prefix)                            {}
func (*benchNode) Sent(netip.Prefix) bool                            { return true }
func (*benchNode) SentTo(netip.Prefix) []status.PeerID               { return benchPeers }
func (*benchNode) Look()                                             {}
func (*benchNode) Looked() time.Time                                 { return time.Time{} }
func (n *benchNode) Set(answers handover.Answers)                    { n.answers = answers }
func (*benchNode) event(*cluster.Service, cluster.Event)             {}

var benchPeers = []status.PeerID{{Address: netip.MustParseAddr("10.10.0.253")}, {Address: netip.MustParseAddr("10.10.0.254")}}

type benchFRR struct{}

func (benchFRR) Set(render.Text) {}
func (benchFRR) Hurry()          {}
func (benchFRR) Applied() bool   { return true }

type benchStatuses struct{ *benchNode }

func (benchStatuses) Published(status.Protocol) bool { return true }

func (s benchStatuses) Set(all func() ServiceStatuses) { s.statuses = all }

// newBenchNode returns node n2 of a cluster with that many Services in one pool, which is
// advertised over both protocols.
func newBenchNode(services int) *benchNode {
	n := &benchNode{}
	c := cluster.Snapshot{Endpoints: map[cluster.Key][]cluster.Endpoint{}}
	for i := range 3 {
		name := fmt.Sprintf("n%d", i+1)
		c.Nodes = append(c.Nodes, &cluster.Node{Name: name, Addrs: []netip.Addr{netip.AddrFrom4([4]byte{10, 10, 0, byte(i + 1)})}})
		n.around.Members = append(n.around.Members, announce.Member{Node: name, Interfaces: []string{"eth0"}})
	}
	for i := range services {
		svc := &cluster.Service{Key: benchKey(i), LoadBalancer: true, Ingress: []string{benchAddr(i*7919%services, 0)}}
		c.Services = append(c.Services, svc)
		c.Endpoints[svc.Key] = []cluster.Endpoint{{Node: "n1"}, {Node: "n2"}, {Node: "n3"}}
	}
	n.tables = cluster.TablesOf(c)
	n.configure()
	return n
}

func benchKey(i int) cluster.Key {
	return cluster.Key{Namespace: fmt.Sprintf("team-%02d", i/200), Name: fmt.Sprintf("service-%05d", i)}
}

func benchAddr(i, block int) string {
	return netip.AddrFrom4([4]byte{10, byte(32 + block), byte(i >> 8), byte(i)}).String()
}

// configure sets another version of the configuration.
func (n *benchNode) configure() {
	n.version++
	n.doc = source.Document{Source: "resources", Version: strconv.Itoa(n.version), Resources: &config.Resources{}}
	for _, o := range []struct{ kind, name, spec string }{
		{config.KindPeer, "r1", `{"myASN":64512,"peerASN":64513,"peerAddress":"10.10.0.253"}`},
		{config.KindPeer, "r2", `{"myASN":64512,"peerASN":64513,"peerAddress":"10.10.0.254"}`},
		{config.KindPool, "pool", `{"addresses":["10.32.0.0/12"]}`},
		{config.KindBGPAdvertisement, "routes", fmt.Sprintf(`{"communities":["64512:%d"]}`, n.version%1000)},
		{config.KindL2Advertisement, "answers", `{}`},
	} {
		n.doc.Resources.Objects = append(n.doc.Resources.Objects, config.Object{
			ID: config.ID{Kind: o.kind, Name: o.name}, Generation: int64(n.version), Spec: []byte(o.spec),
		})
	}
}

// service gives a Service another address.
func (n *benchNode) service(i int) {
	services := n.tables.Services.Len()
	at := i * 31 % services
	key := benchKey(at)
	svc, _ := n.tables.Services.Get(key)
	next := *svc
	next.Ingress = []string{benchAddr(at*7919%services, 1+i%2)}
	e := n.tables.Services.Edit()
	e.Set(key, &next)
	n.tables.Services = e.Table()
}

// endpoint takes an endpoint from a Service, or gives it back.
func (n *benchNode) endpoint(i int) {
	key := benchKey(i * 31 % n.tables.Services.Len())
	all := []cluster.Endpoint{{Node: "n1"}, {Node: "n2"}, {Node: "n3"}}
	if old, _ := n.tables.Endpoints.Get(key); len(old) == 3 {
		all = all[:2]
	}
	e := n.tables.Endpoints.Edit()
	e.Set(key, all)
	n.tables.Endpoints = e.Table()
}

// node labels another Node.
func (n *benchNode) node(i int) {
	next := *n.tables.Nodes[0]
	next.Labels = map[string]string{"rack": strconv.Itoa(i)}
	n.tables.Nodes = slices.Clone(n.tables.Nodes)
	n.tables.Nodes[0] = &next
}

// BenchmarkPass measures a pass of the agent after one change in a cluster of that many
// Services.
func BenchmarkPass(b *testing.B) {
	for _, services := range []int{1000, 10000} {
		for _, bb := range []struct {
			name   string
			change func(*benchNode, int)
		}{
			{"service", (*benchNode).service},
			{"endpoint", (*benchNode).endpoint},
			{"node", (*benchNode).node},
			{"config", func(n *benchNode, _ int) { n.configure() }},
			{"nothing", func(*benchNode, int) {}},
		} {
			b.Run(fmt.Sprintf("%d/%s", services, bb.name), func(b *testing.B) {
				n := newBenchNode(services)
				a := NewAgent(AgentOptions{
					Node: "n2", Worker: NewWorker(), Cluster: n, Documents: n, FRR: benchFRR{}, Routers: n, Layer2: n,
					Reporter: benchReporter{}, Logger: slog.New(slog.DiscardHandler), Events: n.event, Statuses: benchStatuses{n}, Journal: &status.Journal{},
					Took: func(status.Span, string, time.Duration) {},
				})
				a.wakeup = time.NewTimer(time.Hour)
				for range 3 {
					a.pass()
				}
				n.around.Answered = table.Of(func(yield func(netip.Addr, []string) bool) {
					for addr := range n.answers.All() {
						if !yield(addr, []string{"eth0"}) {
							return
						}
					}
				})
				n.sent = table.Of(func(yield func(netip.Prefix, []status.PeerID) bool) {
					for route := range n.expected.All() {
						if !yield(route, benchPeers) {
							return
						}
					}
				})
				a.pass()
				if all := n.statuses(); all.Len() < services {
					b.Fatalf("%d Services are announced", all.Len())
				}
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					bb.change(n, i)
					a.pass()
				}
			})
		}
	}
}
