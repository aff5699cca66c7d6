// SPDX-License-Identifier: Apache-2.0

package topology_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/source"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/topology"
)

var at = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// inputOf returns a cluster of three nodes with that many Services, all of them announced
// over BGP to two peers. Each agent has answered, if asked.
func inputOf(services int, asked bool) topology.Input {
	object := func(kind, name, spec string) config.Object {
		return config.Object{ID: config.ID{Kind: kind, Name: name}, UID: kind + name, Generation: 1, Spec: []byte(spec)}
	}
	in := topology.Input{
		At: at, Namespace: "metallb-system", Refused: map[config.ID]topology.Refusal{},
		ConfigMap: source.Document{Source: "configmap metallb-system/config", Err: source.ErrNotFound},
		Resources: []config.Object{
			object(config.KindPool, "web", `{"addresses": ["10.32.0.0/12"]}`),
			object(config.KindPeer, "r1", `{"myASN": 64512, "peerASN": 64513, "peerAddress": "10.10.0.254", "passwordSecret": {"name": "r1"}}`),
			object(config.KindPeer, "r2", `{"myASN": 64512, "peerASN": 64513, "peerAddress": "10.10.0.253"}`),
			object(config.KindBGPAdvertisement, "web", `{}`),
		},
		Cluster:     cluster.Snapshot{Namespaces: map[string]map[string]string{"shop": {}}, Endpoints: map[cluster.Key][]cluster.Endpoint{}},
		Controllers: []topology.Controller{{Pod: "c", Ready: true, Leading: true}}, Leader: "c",
	}
	for i := range 3 {
		name := fmt.Sprintf("n%d", i+1)
		in.Cluster.Nodes = append(in.Cluster.Nodes, &cluster.Node{Name: name, Addrs: []netip.Addr{netip.AddrFrom4([4]byte{10, 10, 0, byte(i + 1)})}})
		sessions := []cluster.SessionState{{Peer: "r1", Up: true, Since: at}, {Peer: "r2", Up: true, Since: at}}
		in.States = append(in.States, topology.AgentState{Node: name, Sessions: sessions})
		in.Agents = append(in.Agents, topology.AgentPod{Node: name, Pod: "agent-" + name})
	}
	for i := range services {
		key := cluster.Key{Namespace: "shop", Name: fmt.Sprintf("service-%05d", i)}
		addr := netip.AddrFrom4([4]byte{10, 32, byte(i >> 8), byte(i)})
		in.Cluster.Services = append(in.Cluster.Services, &cluster.Service{
			Key: key, UID: key.Name, LoadBalancer: true, Created: at, ClusterIPs: []netip.Addr{netip.MustParseAddr("10.96.0.1")}, Ingress: []string{addr.String()},
			Annotations: map[string]string{assign.AnnotationPool: "web"},
			Conditions:  []cluster.Condition{{Type: assign.ConditionAddressAssigned, True: true, Reason: assign.ReasonAssigned, Message: addr.String() + " from pool web"}},
		})
		for _, n := range in.Cluster.Nodes {
			in.Cluster.Endpoints[key] = append(in.Cluster.Endpoints[key], cluster.Endpoint{Node: n.Name})
			in.Announced = append(in.Announced, topology.Announcement{Service: key, Announcer: topology.Announcer{Node: n.Name, Protocol: status.BGP, Peers: []string{"r1", "r2"}}})
		}
	}
	if asked {
		for i := range in.Agents {
			in.Agents[i].Report = reportOf(in.Agents[i].Node, in.Cluster.Services)
		}
	}
	return in
}

// reportOf returns the report of an agent that announces all Services.
func reportOf(node string, services []*cluster.Service) *status.Report {
	r := &status.Report{Identity: status.Identity{Component: "herald-agent", Version: "v1", Node: node}, Synced: true, Config: status.Config{Loaded: true}}
	for _, name := range []string{"r1", "r2"} {
		addr := map[string]string{"r1": "10.10.0.254", "r2": "10.10.0.253"}[name]
		r.Peers = append(r.Peers, status.Peer{
			Name: name, Address: netip.MustParseAddr(addr), ASN: 64513, Wanted: true, Reason: status.Configured,
			Session: status.Session{State: status.Established, Since: at, PrefixesSent: len(services)},
		})
	}
	for _, svc := range services {
		addr := netip.MustParseAddr(svc.Ingress[0])
		r.Decisions = append(r.Decisions, status.Decision{
			Service: svc.String(), Addr: addr, Pool: "web", Protocol: status.BGP, Announce: true, Confirmed: true, Reason: status.Announced,
			Routes: []netip.Prefix{netip.PrefixFrom(addr, 32)}, Peers: []string{"r1", "r2"}, Sent: []string{"r1", "r2"},
		})
	}
	return r
}

// What agents say of their past is in the Topology: changes of all nodes by their time, both
// ends of sessions, versions and clocks.
func TestBuildHistory(t *testing.T) {
	in := inputOf(2, true)
	change := func(second int, kind status.ChangeKind, subject string) status.Change {
		return status.Change{At: at.Add(time.Duration(second) * time.Second), Kind: kind, Subject: subject, Before: "a", After: "b"}
	}
	for i := range in.Agents {
		r := in.Agents[i].Report
		r.Started, r.Now = at.Add(-time.Hour), at.Add(time.Duration(i)*time.Minute)
		r.FRR = &status.FRR{Applied: true, Version: "10.3", Processes: map[string]status.Process{"bgpd": {Started: at, Restarts: i}}}
		r.Watches = []status.Watch{{Kind: "services", State: "Listed", Heard: at}}
		for k := range r.Decisions {
			r.Decisions[k].Since = at.Add(time.Duration(i) * time.Second)
		}
		r.Peers[0].Session = status.Session{State: "Active", DownSince: at.Add(-time.Minute), Details: &status.SessionDetails{LocalASN: 64512}}
		in.States[i].Sessions = nil
		r.Changes = []status.Change{change(10*i+5, status.ChangeSession, "r1"), change(i, status.ChangeMember, "n9")}
	}
	for i := range 300 {
		in.Agents[0].Report.Changes = append(in.Agents[0].Report.Changes, change(-i, status.ChangeAnnouncement, "old"))
	}
	got := topology.Build(in)
	var order []string
	for _, c := range got.Changes[:6] {
		order = append(order, c.Node+" "+c.Subject)
	}
	if diff := cmp.Diff([]string{"n3 r1", "n2 r1", "n1 r1", "n3 n9", "n2 n9", "n1 n9"}, order); diff != "" || len(got.Changes) != 256 {
		t.Errorf("%d changes (-want +got):\n%s", len(got.Changes), diff)
	}
	n, _ := got.Node("n2")
	if n.FRRVersion != "10.3" || n.Daemons["bgpd"].Restarts != 1 || len(n.Watches) != 1 || !n.Agent.Started.Equal(at.Add(-time.Hour)) || !n.Agent.Clock.Equal(at.Add(time.Minute)) {
		t.Errorf("n2 is %+v", n)
	}
	p, _ := got.Peer("r1")
	if s := p.Sessions[0]; !s.Since.Equal(at.Add(-time.Minute)) || s.Details == nil || s.Details.LocalASN != 64512 {
		t.Errorf("the session is %+v", s)
	}
	s, _ := got.Service("shop/service-00000")
	if v := s.Verdicts; len(v) != 1 || !v[0].Since.Equal(at.Add(2*time.Second)) {
		t.Errorf("the verdicts are %+v", v)
	}
}

func text(t *testing.T, x topology.Topology) string {
	t.Helper()
	b, err := json.MarshalIndent(x, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A node whose status names no peer has sent the route to none: it announces nothing, as in the
// condition that the controller writes.
func TestAnnouncedToNobody(t *testing.T) {
	in := inputOf(1, false)
	for i := range in.Announced {
		if in.Announced[i].Peers = nil; i == 1 {
			in.Announced[i].Peers = []string{"r2"}
		}
	}
	if s := topology.Build(in).Services[0]; !s.Announced.True || s.Announced.Message != "bgp from n2 to r2" {
		t.Errorf("one node: %+v", s.Announced)
	}
	in.Announced[1].Peers = nil
	if s := topology.Build(in).Services[0]; s.Announced.True {
		t.Errorf("none: %+v", s.Announced)
	}
	in.Resources, in.ConfigMap = nil, source.Document{} // nothing is judged
	if s := topology.Build(in).Services[0]; s.Announced.True {
		t.Errorf("none, without a configuration: %+v", s.Announced)
	}
}

// The same cluster is the same Topology, in whichever order it was read, and a Topology is
// the same after a way through JSON.
func TestBuildIsDeterministic(t *testing.T) {
	for _, asked := range []bool{true, false} {
		in := inputOf(20, asked)
		in.Cluster.Services[3].Ingress, in.Cluster.Services[3].Conditions = nil, nil
		delete(in.Cluster.Endpoints, in.Cluster.Services[5].Key)
		in.Announced = slices.DeleteFunc(in.Announced, func(a topology.Announcement) bool { return a.Service == in.Cluster.Services[5].Key })
		in.States[1].Sessions[0] = cluster.SessionState{Peer: "r1", Reason: status.SessionPeerAS, Message: "why"}
		in.Unasked = []topology.Unasked{{What: "b", Error: "x"}, {What: "a", Error: "y"}}
		if asked {
			in.Agents[2].Report = nil
		}
		want := text(t, topology.Build(in))
		for seed := range uint64(20) {
			r := rand.New(rand.NewPCG(seed, 1))
			shuffled := in
			shuffled.Announced, shuffled.Unasked, shuffled.Resources = slices.Clone(in.Announced), slices.Clone(in.Unasked), slices.Clone(in.Resources)
			r.Shuffle(len(in.Announced), func(i, j int) {
				shuffled.Announced[i], shuffled.Announced[j] = shuffled.Announced[j], shuffled.Announced[i]
			})
			r.Shuffle(len(in.Unasked), func(i, j int) {
				shuffled.Unasked[i], shuffled.Unasked[j] = shuffled.Unasked[j], shuffled.Unasked[i]
			})
			r.Shuffle(len(in.Resources), func(i, j int) {
				shuffled.Resources[i], shuffled.Resources[j] = shuffled.Resources[j], shuffled.Resources[i]
			})
			if diff := cmp.Diff(want, text(t, topology.Build(shuffled))); diff != "" {
				t.Fatalf("seed %d (-want +got):\n%s", seed, diff)
			}
		}
		var back topology.Topology
		if err := json.Unmarshal([]byte(want), &back); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, text(t, back)); diff != "" {
			t.Errorf("after JSON (-want +got):\n%s", diff)
		}
		if strings.Contains(want, "unread") {
			t.Error("the placeholder of a password is in the text")
		}
	}
}

// A node that an agent speaks for and a node that the rules speak for decide alike.
func TestRulesAreTheAgents(t *testing.T) {
	told, supposed := topology.Build(inputOf(5, true)), topology.Build(inputOf(5, false))
	for i, s := range told.Services {
		o := supposed.Services[i]
		for k := range s.Verdicts {
			s.Verdicts[k].From = ""
		}
		for k := range o.Verdicts {
			o.Verdicts[k].From = ""
		}
		if diff := cmp.Diff(s.Verdicts, o.Verdicts, cmp.Comparer(func(x, y netip.Addr) bool { return x == y }), cmp.Comparer(func(x, y netip.Prefix) bool { return x == y })); diff != "" {
			t.Errorf("%s (-agents +rules):\n%s", s.Name, diff)
		}
		if s.State != topology.StateAnnounced || o.State != s.State {
			t.Errorf("%s is %s by the agents and %s by the rules", s.Name, s.State, o.State)
		}
	}
	if told.Health() != topology.Fine || supposed.Health() != topology.Fine {
		t.Errorf("problems: %v, %v", told.Problems, supposed.Problems)
	}
}

// With more nodes than are worked out, those beyond count by what they have written, but for
// the one that is asked about.
func TestManyNodes(t *testing.T) {
	in := inputOf(2, false)
	for i := 4; i <= 60; i++ {
		name := fmt.Sprintf("n%d", i)
		in.Cluster.Nodes = append(in.Cluster.Nodes, &cluster.Node{Name: name})
		in.States = append(in.States, topology.AgentState{Node: name, Sessions: []cluster.SessionState{{Peer: "r1", Up: true}, {Peer: "r2", Up: true}}})
		in.Agents = append(in.Agents, topology.AgentPod{Node: name, Pod: "agent-" + name})
		for _, svc := range in.Cluster.Services {
			in.Announced = append(in.Announced, topology.Announcement{Service: svc.Key, Announcer: topology.Announcer{Node: name, Protocol: status.BGP, Peers: []string{"r1", "r2"}}})
		}
	}
	slices.SortFunc(in.Cluster.Nodes, func(a, b *cluster.Node) int { return strings.Compare(a.Name, b.Name) })
	in.About = "n9"
	is := topology.Build(in)
	s := is.Services[0]
	var judged []string
	for _, v := range s.Verdicts {
		judged = append(judged, v.Nodes...)
	}
	if len(judged) != 51 || !slices.Contains(judged, "n9") || len(s.Announcers) != 60 || s.State != topology.StateAnnounced {
		t.Errorf("%d nodes are judged and %d announce it: %s", len(judged), len(s.Announcers), s.State)
	}
	if p := is.Peers[0]; p.Wanted != 60 || p.Up != 60 {
		t.Errorf("%d of %d sessions are up", p.Up, p.Wanted)
	}
	if is.Health() != topology.Fine || len(is.Unasked) != 1 || !strings.Contains(is.Unasked[0].What, "9 nodes") {
		t.Errorf("%v, %v", is.Unasked, is.Problems)
	}
}

// With more than 100 nodes, 50 agents are asked and 50 nodes are worked out. A Service that
// the others alone announce is announced.
func TestManyNodesAsked(t *testing.T) {
	in := inputOf(1, false)
	svc := in.Cluster.Services[0]
	in.Announced = nil
	for i := 4; i <= 120; i++ {
		name := fmt.Sprintf("n%d", i)
		in.Cluster.Nodes = append(in.Cluster.Nodes, &cluster.Node{Name: name})
		in.States = append(in.States, topology.AgentState{Node: name, Sessions: []cluster.SessionState{{Peer: "r1", Up: true}, {Peer: "r2", Up: true}}})
		in.Agents = append(in.Agents, topology.AgentPod{Node: name, Pod: "agent-" + name})
	}
	slices.SortFunc(in.Cluster.Nodes, func(a, b *cluster.Node) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(in.Agents, func(a, b topology.AgentPod) int { return strings.Compare(a.Node, b.Node) })
	for i := range in.Agents {
		if i < 50 {
			in.Agents[i].Report = reportOf(in.Agents[i].Node, nil)
			in.Agents[i].Report.Decisions = []status.Decision{{Service: svc.String(), Addr: netip.MustParseAddr(svc.Ingress[0]), Protocol: status.BGP, Reason: status.NodeNotSelected}}
		}
	}
	// What the first of those announce that nobody works out, the last announces too.
	for _, a := range in.Agents[100:] {
		in.Announced = append(in.Announced, topology.Announcement{Service: svc.Key, Announcer: topology.Announcer{Node: a.Node, Protocol: status.BGP, Peers: []string{"r1", "r2"}}})
	}
	is := topology.Build(in)
	s := is.Services[0]
	if slices.ContainsFunc(s.Lacks, func(l string) bool { return strings.Contains(l, "no node announces") }) || !s.Announced.True || len(s.Announcers) != 20 {
		t.Errorf("%s, lacks %q, %d announcers: %+v", s.State, s.Lacks, len(s.Announcers), s.Announced)
	}
	if slices.ContainsFunc(is.Problems, func(p topology.Problem) bool { return p.Severity == topology.Error }) {
		t.Errorf("problems: %v", is.Problems)
	}
}

// Two nodes have objects about a Service on layer 2: for its one address that is one owner too
// many; of two addresses each may have its own.
func TestOwnersByObjects(t *testing.T) {
	for _, addrs := range [][]string{{"10.32.0.1"}, {"10.32.0.1", "2001:db8::1"}} {
		in := inputOf(1, false)
		in.Resources = []config.Object{
			{ID: config.ID{Kind: config.KindPool, Name: "web"}, UID: "p", Generation: 1, Spec: []byte(`{"addresses": ["10.32.0.0/12", "2001:db8::/64"]}`)},
			{ID: config.ID{Kind: config.KindL2Advertisement, Name: "web"}, UID: "a", Generation: 1, Spec: []byte(`{}`)},
		}
		svc := in.Cluster.Services[0]
		svc.Ingress = addrs
		in.Cluster.Endpoints[svc.Key] = append(in.Cluster.Endpoints[svc.Key], cluster.Endpoint{Node: "n1", IPv6: true})
		in.Announced = nil
		for _, n := range []string{"n1", "n2"} {
			in.Announced = append(in.Announced, topology.Announcement{Service: svc.Key, Announcer: topology.Announcer{Node: n, Protocol: status.Layer2}})
		}
		is := topology.Build(in)
		split := slices.ContainsFunc(is.Problems, func(p topology.Problem) bool { return p.ID == topology.ProblemSplitBrain })
		if want := len(addrs) == 1; split != want {
			t.Errorf("%v: split brain: %v, want %v; %v", addrs, split, want, is.Problems)
		}
		health := topology.Broken
		if len(addrs) > 1 {
			health = topology.Untold
		}
		if is.Health() != health {
			t.Errorf("%v: health %v, want %v: %v", addrs, is.Health(), health, is.Problems)
		}
	}
}

// What an agent wrote before it ended does not count.
func TestObjectsOfAgentsThatEnded(t *testing.T) {
	in := inputOf(1, false)
	for i := range in.Agents {
		in.Agents[i].Absence = "CrashLoopBackOff"
	}
	if s := topology.Build(in).Services[0]; s.State != topology.StateNotAnnounced || len(s.Announcers) > 0 {
		t.Errorf("%s by %v", s.State, s.Announcers)
	}
}

// Names in commands are words for a shell.
func TestQuoted(t *testing.T) {
	for text, want := range map[string]string{
		"web": "web", "app=web,tier!=a": "'app=web,tier!=a'", "a b": "'a b'", "": "''", "it's; rm": `'it'\''s; rm'`, "!partition": "'!partition'", "$(x)": "'$(x)'",
	} {
		if got := topology.Quoted(text); got != want {
			t.Errorf("%q is %s, want %s", text, got, want)
		}
	}
}

// Each reason of a Service without an address and of a session that is down has a cure.
func TestCures(t *testing.T) {
	reasons := func(file string) (out []string) {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if spec, ok := n.(*ast.ValueSpec); ok {
				if typ, _ := spec.Type.(*ast.Ident); typ != nil && typ.Name == "Reason" {
					text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
					if err != nil {
						t.Fatal(err)
					}
					out = append(out, text)
				}
			}
			return true
		})
		if len(out) < 10 {
			t.Fatalf("%s has %d reasons", file, len(out))
		}
		return out
	}
	check := func(in topology.Input, reason string) {
		t.Helper()
		found := false
		for _, p := range topology.Build(in).Problems {
			if p.ID == reason {
				found = true
				if strings.Contains(p.Cure, "do as the message says") {
					t.Errorf("%s has no cure: %q", reason, p.Cure)
				}
			}
		}
		if !found {
			t.Errorf("%s is no problem", reason)
		}
	}
	for _, reason := range reasons("../alloc/refusal.go") {
		if reason == "Superseded" || reason == "Replaced" {
			continue // no condition has them: something else is given in the same pass
		}
		in := inputOf(1, false)
		in.Resources = nil // the controller says it, and nobody judges it again
		svc := in.Cluster.Services[0]
		svc.Ingress, svc.Conditions = nil, []cluster.Condition{{Type: assign.ConditionAddressAssigned, Reason: status.Reason(reason), Message: "why"}}
		check(in, reason)
	}
	for _, reason := range reasons("../status/session_cause.go") {
		in := inputOf(1, false)
		in.States[0].Sessions[1] = cluster.SessionState{Peer: "r2", Reason: status.Reason(reason), Message: "why"}
		check(in, reason)
	}
}

// BenchmarkBuild makes the Topology of three nodes. The size is what the result
// takes in addition to what it was made of.
func BenchmarkBuild(b *testing.B) {
	for _, asked := range []bool{true, false} {
		for _, services := range []int{500, 5000} {
			b.Run(fmt.Sprintf("services=%d/asked=%v", services, asked), func(b *testing.B) {
				b.ReportAllocs()
				in := inputOf(services, asked)
				var keep topology.Topology
				for b.Loop() {
					keep = topology.Build(in)
				}
				var before, after runtime.MemStats
				keep = topology.Topology{}
				runtime.GC()
				runtime.GC() // what is cached for one collection goes with the second
				runtime.ReadMemStats(&before)
				keep = topology.Build(in)
				runtime.GC()
				runtime.GC()
				runtime.ReadMemStats(&after)
				runtime.KeepAlive(in)
				b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/1e6, "MB/topology")
				if len(keep.Services) != services || keep.Health() != topology.Fine {
					b.Fatalf("%d Services, %v", len(keep.Services), keep.Problems)
				}
			})
		}
	}
}

// BenchmarkWhy explains one of 5,000 Services.
func BenchmarkWhy(b *testing.B) {
	t := topology.Build(inputOf(5000, true))
	for b.Loop() {
		if c, err := t.Why("shop/service-02500"); err != nil || c.Health != topology.ChainFine {
			b.Fatal(err, c)
		}
	}
}
