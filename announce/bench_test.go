// SPDX-License-Identifier: Apache-2.0

package announce_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"testing"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
)

// BenchmarkAnnounce measures one pass over a cluster of three nodes with two
// peers and that many Services in one pool.
func BenchmarkAnnounce(b *testing.B) {
	for _, services := range []int{1000, 10000} {
		b.Run(strconv.Itoa(services), func(b *testing.B) {
			s := bigCluster(b, services)
			b.ReportAllocs()
			for b.Loop() {
				d := announce.BGP(s, "n2", announce.Options{})
				if len(d.BGP.Networks) != services {
					b.Fatalf("%d networks", len(d.BGP.Networks))
				}
			}
		})
	}
}

// bigCluster returns a cluster of three nodes, two peers and that many Services
// with an endpoint on each node.
func bigCluster(tb testing.TB, services int) cluster.Snapshot {
	tb.Helper()
	pool, err := config.ParseRange("10.32.0.0/12")
	if err != nil {
		tb.Fatal(err)
	}
	s := cluster.Snapshot{
		Config: &config.Config{
			Pools: []config.Pool{{Name: "pool", Addresses: []config.Range{pool}}},
			Peers: []config.Peer{
				{Name: "r1", MyASN: 64512, PeerASN: 64513, Address: netip.MustParseAddr("10.10.0.254")},
				{Name: "r2", MyASN: 64512, PeerASN: 64513, Address: netip.MustParseAddr("10.10.0.253")},
			},
			BGPAdvertisements: []config.BGPAdvertisement{{AggregationLength: 32, AggregationLengthV6: 128}},
		},
		Endpoints: map[cluster.Key][]cluster.Endpoint{},
	}
	for i := range 3 {
		s.Nodes = append(s.Nodes, &cluster.Node{
			Name:  fmt.Sprintf("n%d", i+1),
			Addrs: []netip.Addr{netip.AddrFrom4([4]byte{10, 10, 0, byte(i + 1)})},
		})
	}
	for i := range services {
		key := cluster.Key{Namespace: "default", Name: fmt.Sprintf("service-%05d", i)}
		// Addresses that are not in the order of the names, as in a cluster
		// where Services come and go.
		n := i * 7919 % services
		s.Services = append(s.Services, &cluster.Service{
			Key:          key,
			LoadBalancer: true,
			Ingress:      []string{netip.AddrFrom4([4]byte{10, 32, byte(n >> 8), byte(n)}).String()},
		})
		s.Endpoints[key] = []cluster.Endpoint{{Node: "n1"}, {Node: "n2"}, {Node: "n3"}}
	}
	return s
}

// BenchmarkAnnounceDrained measures one pass of a node that drains, in a cluster of
// 1,000 nodes and 10,000 Services: all others were seen to announce all of it, or none
// of them.
func BenchmarkAnnounceDrained(b *testing.B) {
	const services, nodes = 10_000, 1000
	s := bigCluster(b, services)
	s.Nodes = nil
	runs := [][2]netip.Addr{{netip.MustParseAddr("10.32.0.0"), netip.MustParseAddr("10.32.255.255")}}
	all := []announce.Sent{{Peers: []string{"r1", "r2"}, Runs: runs}}
	var m announce.Membership
	for i := range nodes {
		name := fmt.Sprintf("n%03d", i)
		s.Nodes = append(s.Nodes, &cluster.Node{Name: name})
		m.Members = append(m.Members, announce.Member{Node: name, Answered: true})
	}
	s.Nodes[0].Drain.Since = began
	for _, seen := range []bool{true, false} {
		b.Run("seen="+strconv.FormatBool(seen), func(b *testing.B) {
			for i := range m.Members {
				if m.Members[i].Sent = nil; seen {
					m.Members[i].Sent = all
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				d := announce.BGP(s, "n000", announce.Options{Members: m, Drained: true})
				if (len(d.BGP.Networks) == 0) != seen {
					b.Fatalf("%d networks", len(d.BGP.Networks))
				}
			}
		})
	}
}

// BenchmarkQuestions measures what a node asks its data plane about, of 10,000 Services.
func BenchmarkQuestions(b *testing.B) {
	for _, local := range []bool{false, true} {
		b.Run("local="+strconv.FormatBool(local), func(b *testing.B) {
			s := bigCluster(b, 10_000)
			for _, svc := range s.Services {
				svc.Local, svc.HealthPort = local, 30000
			}
			opts := announce.Options{Index: announce.NewIndex(s.Config)}
			b.ReportAllocs()
			for b.Loop() {
				if got := len(announce.Questions(s, "n1", opts)); got > 0 != local {
					b.Fatalf("%d questions", got)
				}
			}
		})
	}
}

// BenchmarkLayer2Turnover measures what a Layer2Memory does when one of many agents stops,
// or is back.
func BenchmarkLayer2Turnover(b *testing.B) {
	for _, size := range []struct{ nodes, services int }{{100, 1000}, {1000, 10000}, {5000, 2000}} {
		for _, local := range []bool{false, true} {
			b.Run(fmt.Sprintf("%dx%d/local=%t", size.nodes, size.services, local), func(b *testing.B) {
				s := bigCluster(b, size.services)
				s.Config.L2Advertisements = []config.L2Advertisement{{Name: "all"}}
				s.Nodes = nil
				var all announce.Membership
				for i := range size.nodes {
					s.Nodes = append(s.Nodes, &cluster.Node{Name: fmt.Sprintf("node-%04d", i)})
					all.Members = append(all.Members, announce.Member{Node: s.Nodes[i].Name, Interfaces: []string{"eth0"}})
				}
				for i, svc := range s.Services {
					svc.Local = local
					s.Endpoints[svc.Key] = []cluster.Endpoint{{Node: s.Nodes[i*7%size.nodes].Name}, {Node: s.Nodes[i*13%size.nodes].Name}}
				}
				fewer := announce.Membership{Members: slices.Concat(all.Members[:50], all.Members[51:])}
				tables := cluster.TablesOf(s)
				var m announce.Layer2Memory
				if n := m.Next(tables, "node-0000", all, announce.Options{}).Elections.Len(); n != size.services {
					b.Fatalf("%d elections", n)
				}
				b.ReportAllocs()
				for b.Loop() {
					m.Next(tables, "node-0000", fewer, announce.Options{})
					all, fewer = fewer, all
				}
			})
		}
	}
}

// BenchmarkFaults measures what is decided again when one probe more or less fails on another
// node, of 1,000 nodes on each of which 64 of 10,000 fail, and a tenth of all on this one.
func BenchmarkFaults(b *testing.B) {
	const services, nodes, faults = 10_000, 1000, 64
	s := bigCluster(b, services)
	probe := config.Probe{Protocol: config.ProbeTCP}
	s.Config.BGPAdvertisements[0].Probe = probe
	s.Config.L2Advertisements = []config.L2Advertisement{{Name: "all", Scope: config.Scope{Probe: probe}}}
	s.Nodes = nil
	var all []announce.Fault
	opts := announce.Options{Layer2: true, Announces: func(netip.Addr) bool { return true }}
	opts.Readiness.Failing = map[announce.ProbeID]string{}
	for i, svc := range s.Services {
		id := announce.ProbeID{ServiceAddr: announce.ServiceAddr{Service: svc.String(), Addr: netip.MustParseAddr(svc.Ingress[0])}, Probe: probe}
		if all = append(all, id.Fault()); i%10 == 0 {
			opts.Readiness.Failing[id] = "refused"
		}
	}
	slices.SortFunc(all, announce.Fault.Compare)
	for i := range nodes {
		name := fmt.Sprintf("node-%04d", i)
		s.Nodes = append(s.Nodes, &cluster.Node{Name: name})
		m := announce.Member{Node: name, Interfaces: []string{"eth0"}}
		for j := range faults {
			m.Faults = append(m.Faults, all[(i+j*(services/faults))%services])
		}
		slices.SortFunc(m.Faults, announce.Fault.Compare)
		opts.Members.Members = append(opts.Members.Members, m)
	}
	fewer := opts.Members
	fewer.Members = slices.Clone(fewer.Members)
	fewer.Members[7].Faults = slices.Clone(fewer.Members[7].Faults[1:])
	tables := cluster.TablesOf(s)
	b.Run("layer2", func(b *testing.B) {
		var m announce.Layer2Memory
		now, next := opts.Members, fewer
		m.Next(tables, "node-0000", next, opts)
		b.ReportAllocs()
		for b.Loop() {
			m.Next(tables, "node-0000", now, opts)
			now, next = next, now
		}
	})
	b.Run("bgp", func(b *testing.B) {
		var m announce.BGPMemory
		m.Next(tables, "node-0000", opts)
		b.ReportAllocs()
		for b.Loop() {
			m.Next(tables, "node-0000", opts)
			opts.Members, fewer = fewer, opts.Members
		}
	})
	b.Run("bgp/unchanged", func(b *testing.B) {
		var m announce.BGPMemory
		m.Next(tables, "node-0000", opts)
		b.ReportAllocs()
		for b.Loop() {
			m.Next(tables, "node-0000", opts)
		}
	})
}
