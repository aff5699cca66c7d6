// SPDX-License-Identifier: Apache-2.0

package reconcile_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/table"
)

func TestServiceStatuses(t *testing.T) {
	a4, a6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	web := cluster.Key{Namespace: "ns", Name: "web"}
	tests := []struct {
		name      string
		decisions []status.Decision
		want      []reconcile.ServiceStatus
	}{
		{"nothing", nil, nil},
		{"not announced", []status.Decision{{Service: "ns/web", Addr: a4, Protocol: status.BGP, Sent: []string{"a"}}}, nil},
		{"sent to nobody", []status.Decision{{Service: "ns/web", Addr: a4, Protocol: status.BGP, Announce: true, Peers: []string{"a"}}}, nil},
		{
			"both families", []status.Decision{
				{Service: "ns/web", Addr: a4, Protocol: status.BGP, Announce: true, Sent: []string{"b", "c"}},
				{Service: "ns/web", Addr: a6, Protocol: status.BGP, Announce: true, Sent: []string{"a", "b"}},
			}, []reconcile.ServiceStatus{{Service: web, Node: "n1", Protocol: status.BGP, Peers: []string{"a", "b", "c"}}},
		},
		{
			"both protocols of two Services", []status.Decision{
				{Service: "ns/web", Addr: a4, Protocol: status.BGP, Announce: true, Sent: []string{"a"}},
				{Service: "ns/web", Addr: a4, Protocol: status.Layer2, Announce: true, Confirmed: true},
				{Service: "ns/zzz", Addr: a4, Protocol: status.Layer2, Announce: true, Confirmed: true},
			}, []reconcile.ServiceStatus{
				{Service: web, Node: "n1", Protocol: status.BGP, Peers: []string{"a"}},
				{Service: web, Node: "n1", Protocol: status.Layer2},
				{Service: cluster.Key{Namespace: "ns", Name: "zzz"}, Node: "n1", Protocol: status.Layer2},
			},
		},
		{
			"interfaces that are named and answered on", []status.Decision{
				{Service: "ns/web", Addr: a4, Protocol: status.Layer2, Announce: true, Confirmed: true, Interfaces: []string{"eth0", "eth1", "eth2"}},
			}, []reconcile.ServiceStatus{{Service: web, Node: "n1", Protocol: status.Layer2, Interfaces: []string{"eth0", "eth2"}}},
		},
		{"not answered yet", []status.Decision{{Service: "ns/web", Addr: a4, Protocol: status.Layer2, Announce: true}}, nil},
		{
			"another is elected", []status.Decision{
				{Service: "ns/web", Addr: a4, Protocol: status.Layer2, Announce: true, Confirmed: true, Reason: status.HandingOver},
			}, nil,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			seen := reconcile.Seen{Node: "n1"}
			var sent table.Editor[netip.Prefix, []status.PeerID]
			var decisions table.Editor[cluster.Key, []status.Decision]
			for i, name := range []string{"a", "b", "c"} {
				seen.Peers = append(seen.Peers, status.Peer{Name: name, Wanted: true, Address: peerAddr(i)})
			}
			for _, d := range tt.decisions {
				if d.Confirmed {
					seen.Answered = answeredOn([]string{"eth0", "eth2", "eth3"}, d.Addr)
				}
				d.Confirmed = false
				if d.Protocol == status.BGP {
					route := netip.PrefixFrom(d.Addr, d.Addr.BitLen())
					d.Routes, d.Peers = []netip.Prefix{route}, []string{"a", "b", "c"}
					ids, _ := sent.Get(route)
					for _, name := range d.Sent {
						ids = append(ids, status.PeerID{Address: peerAddr(int(name[0] - 'a'))})
					}
					sent.Set(route, ids)
					d.Sent = nil
				}
				key := cluster.ParseKey(d.Service)
				of, _ := decisions.Get(key)
				decisions.Set(key, append(of, d))
			}
			seen.Decisions, seen.Sent = decisions.Table(), sent.Table()
			got := seen.ServiceStatuses()
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func peerAddr(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}) }

func TestAnnouncers(t *testing.T) {
	bgp := func(node string, peers ...string) reconcile.ServiceStatus {
		return reconcile.ServiceStatus{Node: node, Protocol: status.BGP, Peers: peers}
	}
	layer2 := func(node string, interfaces ...string) reconcile.ServiceStatus {
		return reconcile.ServiceStatus{Node: node, Protocol: status.Layer2, Interfaces: interfaces}
	}
	var many []reconcile.ServiceStatus
	for i := range 1000 {
		many = append(many, bgp(fmt.Sprintf("n%03d", i), fmt.Sprintf("p%03d", i), "a"))
	}
	tests := []struct {
		name string
		of   []reconcile.ServiceStatus
		want string
	}{
		{"nobody", nil, ""},
		{"no peers", []reconcile.ServiceStatus{bgp("n1")}, ""},
		{"three nodes", []reconcile.ServiceStatus{bgp("n3", "b"), bgp("n1", "a"), bgp("n2", "a", "b")}, "bgp from n1, n2, n3 to a, b"},
		{"layer 2", []reconcile.ServiceStatus{layer2("n2")}, "layer2 from n2"},
		{"both", []reconcile.ServiceStatus{layer2("n2", "eth0"), bgp("n1", "a")}, "bgp from n1 to a; layer2 from n2 on eth0"},
		{"many", many, "bgp from n000, n001, n002, n003, n004 and 995 more to a, p000, p001, p002, p003 and 996 more"},
	}
	for _, tt := range tests {
		if got := reconcile.Announcers(tt.of); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	if n := len(reconcile.Announcers([]reconcile.ServiceStatus{bgp(strings.Repeat("n", 253), strings.Repeat("p", 253))})); n > 1000 {
		t.Errorf("%d bytes for one node", n)
	}
}
