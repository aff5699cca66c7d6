// SPDX-License-Identifier: Apache-2.0

package page_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/cmd/internal/page"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/source"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/topology"
)

// A fixture is a Herald as its controller sees it.
type fixture struct {
	page *page.Page

	mu     sync.Mutex // guards the fields below
	in     topology.Input
	unread bool
}

// newFixture returns a Herald of three nodes with that many Services, and serves its page
// until the test ends.
func newFixture(t testing.TB, services int) (*fixture, *httptest.Server) {
	f := &fixture{in: inputOf(services)}
	f.page = page.New(page.Options{Input: f.input, Pod: "herald-controller-0", Version: "v0.9.0", Logger: slog.New(slog.DiscardHandler)})
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := f.page.Run(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	mux := http.NewServeMux()
	mux.Handle("/", f.page.Files())
	mux.Handle("/api/", f.page.API())
	server := httptest.NewServer(mux)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		<-done
	})
	return f, server
}

func (f *fixture) input(now time.Time) (topology.Input, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	in := f.in
	in.At = now
	return in, !f.unread
}

// change changes what the controller sees.
func (f *fixture) change(edit func(in *topology.Input)) {
	f.mu.Lock()
	edit(&f.in)
	f.mu.Unlock()
	f.page.Wake()
}

func object(kind, name, spec string) config.Object {
	return config.Object{ID: config.ID{Kind: kind, Name: name}, UID: kind + name, Generation: 1, Spec: []byte(spec)}
}

// namespaces that the Services are of.
var namespaces = []string{"shop", "media", "infra", "platform"}

// inputOf returns a Herald of three nodes. Of ten Services nine are announced over BGP to
// two routers, and one on layer 2.
func inputOf(services int) topology.Input {
	began := time.Now().Add(-50 * time.Hour).Truncate(time.Second)
	in := topology.Input{
		Namespace: "metallb-system", Refused: map[config.ID]topology.Refusal{},
		ConfigMap: source.Document{Source: "configmap metallb-system/config", Err: source.ErrNotFound},
		Resources: []config.Object{
			object(config.KindPool, "web", `{"addresses": ["203.0.113.0/24"], "autoAssign": true}`),
			object(config.KindPool, "lan", `{"addresses": ["192.168.7.32-192.168.7.95"]}`),
			object(config.KindPeer, "tor-a", `{"myASN": 64512, "peerASN": 64513, "peerAddress": "10.10.0.253"}`),
			object(config.KindPeer, "tor-b", `{"myASN": 64512, "peerASN": 64514, "peerAddress": "10.10.0.254"}`),
			object(config.KindBGPAdvertisement, "web", `{"ipAddressPools": ["web"]}`),
			object(config.KindL2Advertisement, "lan", `{"ipAddressPools": ["lan"]}`),
		},
		Cluster:     cluster.Snapshot{Namespaces: map[string]map[string]string{}, Endpoints: map[cluster.Key][]cluster.Endpoint{}},
		Controllers: []topology.Controller{{Pod: "herald-controller-0", Ready: true, Leading: true}}, Leader: "herald-controller-0",
		Unasked: []topology.Unasked{{What: "reports of the agents", Error: "the controller goes by what agents write into objects, and asks none of them"}},
	}
	in.Resources[0].Annotations = map[string]string{config.AnnotationReservations: "203.0.113.250=shop/later"}
	if services > 200 {
		in.Resources[0].Spec = []byte(`{"addresses": ["10.32.0.0/12"]}`)
		in.Resources[0].Annotations = nil
		in.Resources[1].Spec = []byte(`{"addresses": ["10.64.0.0/12"]}`)
	}
	for i := range 3 {
		name := fmt.Sprintf("n%d", i+1)
		in.Cluster.Nodes = append(in.Cluster.Nodes, &cluster.Node{Name: name, Addrs: []netip.Addr{netip.AddrFrom4([4]byte{10, 10, 0, byte(i + 1)})}})
		in.States = append(in.States, topology.AgentState{Node: name, Sessions: []cluster.SessionState{{Peer: "tor-a", Up: true, Since: began}, {Peer: "tor-b", Up: true, Since: began.Add(7 * time.Minute)}}})
		in.Agents = append(in.Agents, topology.AgentPod{Node: name, Pod: "herald-agent-" + name})
	}
	for _, n := range namespaces {
		in.Cluster.Namespaces[n] = map[string]string{}
	}
	for i := range services {
		addService(&in, i, services > 200, began)
	}
	return in
}

// words of the names of Services.
var words = []string{"web", "api", "cart", "search", "login", "mail", "dns", "stream", "queue", "admin"}

func addService(in *topology.Input, i int, many bool, created time.Time) {
	layer2, pool := i%10 == 9, "web"
	addr := netip.AddrFrom4([4]byte{203, 0, 113, byte(i)})
	if layer2 {
		pool, addr = "lan", netip.AddrFrom4([4]byte{192, 168, 7, byte(32 + i/10)})
	}
	if many {
		addr = netip.AddrFrom4([4]byte{10, map[string]byte{"web": 32, "lan": 64}[pool], byte(i >> 8), byte(i)})
	}
	space := namespaces[(i/len(words))%len(namespaces)]
	name := words[i%len(words)]
	if i >= len(words)*len(namespaces) {
		name = fmt.Sprintf("%s-%d", name, i/(len(words)*len(namespaces)))
	}
	svc := &cluster.Service{
		Key: cluster.Key{Namespace: space, Name: name}, UID: fmt.Sprint(i), LoadBalancer: true, Created: created, Selector: "app=" + name,
		ClusterIPs: []netip.Addr{netip.MustParseAddr("10.96.0.1")}, Ingress: []string{addr.String()}, Annotations: map[string]string{assign.AnnotationPool: pool},
		Conditions: []cluster.Condition{{Type: assign.ConditionAddressAssigned, True: true, Reason: assign.ReasonAssigned, Message: addr.String() + " from pool " + pool}},
	}
	if pool == "lan" {
		svc.Annotations[config.AnnotationAddressPool] = pool
	}
	at := 0
	for at < len(in.Cluster.Services) && in.Cluster.Services[at].Compare(svc.Key) < 0 {
		at++
	}
	in.Cluster.Services = append(in.Cluster.Services, nil)
	copy(in.Cluster.Services[at+1:], in.Cluster.Services[at:])
	in.Cluster.Services[at] = svc
	for n, node := range in.Cluster.Nodes {
		in.Cluster.Endpoints[svc.Key] = append(in.Cluster.Endpoints[svc.Key], cluster.Endpoint{Node: node.Name})
		a := topology.Announcer{Node: node.Name, Protocol: status.BGP, Peers: []string{"tor-a", "tor-b"}}
		if layer2 {
			a = topology.Announcer{Node: node.Name, Protocol: status.Layer2}
		}
		if !layer2 || n == i/10%3 {
			in.Announced = append(in.Announced, topology.Announcement{Service: svc.Key, Announcer: a})
		}
	}
}

// withdraw has nodes announce no more what a function selects.
func withdraw(in *topology.Input, which func(a topology.Announcement) bool) {
	var left []topology.Announcement
	for _, a := range in.Announced {
		if !which(a) {
			left = append(left, a)
		}
	}
	in.Announced = left
}

// peerDown has the session of a node with a peer go down.
func peerDown(in *topology.Input, node int, peer string, reason status.Reason, message string) {
	states := append([]topology.AgentState(nil), in.States...)
	sessions := append([]cluster.SessionState(nil), states[node].Sessions...)
	for i := range sessions {
		if sessions[i].Peer == peer {
			sessions[i] = cluster.SessionState{Peer: peer, Since: time.Now().Add(-73 * time.Hour), Reason: reason, Message: message}
		}
	}
	states[node].Sessions, in.States = sessions, states
	name := states[node].Node
	all := append([]topology.Announcement(nil), in.Announced...)
	for i, a := range all {
		if a.Node == name && a.Protocol == status.BGP {
			all[i].Peers = nil
			for _, p := range a.Peers {
				if p != peer {
					all[i].Peers = append(all[i].Peers, p)
				}
			}
		}
	}
	in.Announced = all
}

// silence has the agent of a node end.
func silence(in *topology.Input, node int, why string) {
	agents := append([]topology.AgentPod(nil), in.Agents...)
	agents[node].Absence = why
	in.Agents = agents
	withdraw(in, func(a topology.Announcement) bool { return a.Node == agents[node].Node })
}
