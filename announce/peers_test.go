// SPDX-License-Identifier: Apache-2.0

package announce_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/announce/announcetest"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/render"
	"github.com/heraldlb/herald/status"
)

// at returns an address of the peers' network.
func at(host byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 10, 0, host}) }

// decided is what node n1, of rack a, makes of peers and of a Service with an
// address of each family.
func decided(t *testing.T, peers []config.Peer, ads ...config.BGPAdvertisement) announce.Desired {
	t.Helper()
	four, err := config.ParseRange("192.0.2.0/24")
	if err != nil {
		t.Fatal(err)
	}
	six, err := config.ParseRange("2001:db8::/112")
	if err != nil {
		t.Fatal(err)
	}
	key := cluster.Key{Namespace: "ns", Name: "a"}
	s := cluster.Snapshot{
		Config: &config.Config{
			Pools:             []config.Pool{{Name: "web", Addresses: []config.Range{four, six}}},
			Peers:             peers,
			BGPAdvertisements: ads,
		},
		Nodes:     []*cluster.Node{{Name: "n1", Labels: map[string]string{"rack": "a"}, Addrs: []netip.Addr{at(1)}}},
		Services:  []*cluster.Service{{Key: key, LoadBalancer: true, Ingress: []string{"192.0.2.1", "2001:db8::1"}}},
		Endpoints: map[cluster.Key][]cluster.Endpoint{key: {{Node: "n1"}, {Node: "n1", IPv6: true}}},
	}
	return announce.BGP(s, "n1", announce.Options{})
}

// showRouters shows what FRR is told of the neighbors, and in which AS.
func showRouters(c render.Config) string {
	var b strings.Builder
	fmt.Fprintf(&b, "AS %d %v", c.ASN, c.RouterID)
	for _, v := range c.VRFs {
		fmt.Fprintf(&b, "; %s AS %d %v", v.Name, v.ASN, v.RouterID)
	}
	for _, n := range c.Neighbors {
		fmt.Fprintf(&b, "; %v AS %d%s as %d", n.ID(), n.ASN, n.DynamicASN, n.LocalASN)
	}
	return b.String()
}

func TestPeers(t *testing.T) {
	rack := func(r string) []config.Selector { return announcetest.Selects(t, "rack", r) }
	tests := []struct {
		name    string
		peers   []config.Peer
		routers string
		reasons []status.Reason // of the peers; nil: all Configured
		details []string        // likewise; nil: none
	}{
		{
			name: "dynamic AS numbers",
			peers: []config.Peer{
				{MyASN: 64512, DynamicASN: config.Internal, Address: at(3)},
				{MyASN: 64512, DynamicASN: config.External, Address: at(2)},
				{MyASN: 64600, DynamicASN: config.External, Address: at(4)},
			},
			routers: "AS 64512 10.10.0.1; 10.10.0.2 AS 0external as 0; 10.10.0.3 AS 0internal as 0; 10.10.0.4 AS 0external as 64600",
		},
		{
			name: "an internal peer of another AS, dynamic",
			peers: []config.Peer{
				{Name: "x", MyASN: 64512, PeerASN: 64513, Address: at(2)},
				{Name: "y", MyASN: 64600, DynamicASN: config.Internal, Address: at(3)},
			},
			routers: "AS 64512 10.10.0.1; 10.10.0.2 AS 64513 as 0",
			reasons: []status.Reason{status.Configured, status.ASNConflict},
			details: []string{"", "internal peer, which cannot be shown AS 64600: the node's AS is 64512, as peer x has it"},
		},
		{
			name: "local AS numbers",
			peers: []config.Peer{
				{MyASN: 64512, LocalASN: 64600, PeerASN: 64513, Address: at(2)},
				{MyASN: 64700, LocalASN: 64512, PeerASN: 64513, Address: at(3)},
				{MyASN: 64512, LocalASN: 64512, PeerASN: 64512, Address: at(4)},
			},
			routers: "AS 64512 10.10.0.1; 10.10.0.2 AS 64513 as 64600; 10.10.0.3 AS 64513 as 0; 10.10.0.4 AS 64512 as 0",
		},
		{
			name: "a local AS that makes the peer internal, or is shown to one that is",
			peers: []config.Peer{
				{Name: "x", MyASN: 64512, LocalASN: 64513, PeerASN: 64513, Address: at(2)},
				{Name: "y", MyASN: 64512, LocalASN: 64600, PeerASN: 64512, Address: at(3)},
			},
			routers: "AS 0 invalid IP",
			reasons: []status.Reason{status.ASNConflict, status.ASNConflict},
			details: []string{
				"internal peer of AS 64513, but the node's AS is 64512, its myASN",
				"the peer is in the node's AS 64512, its myASN, and cannot be shown AS 64600",
			},
		},
		{
			name: "one address on nodes that have nothing in common",
			peers: []config.Peer{
				{Name: "b", MyASN: 64600, PeerASN: 64513, Address: at(2), NodeSelectors: rack("b")},
				{Name: "a", MyASN: 64512, PeerASN: 64513, Address: at(2), NodeSelectors: rack("a")},
			},
			routers: "AS 64512 10.10.0.1; 10.10.0.2 AS 64513 as 0",
			reasons: []status.Reason{status.NodeNotSelected, status.Configured},
		},
		{
			name: "one interface twice, and once more in another VRF",
			peers: []config.Peer{
				{Name: "x", MyASN: 64512, PeerASN: 64513, Interface: "eth1"},
				{Name: "y", MyASN: 64512, PeerASN: 64514, Interface: "eth1"},
				{Name: "z", MyASN: 64512, PeerASN: 64514, Interface: "eth1", VRF: "red"},
			},
			routers: "AS 64512 10.10.0.1; red AS 64512 10.10.0.1; eth1 AS 64513 as 0; eth1 vrf red AS 64514 as 0",
			reasons: []status.Reason{status.Configured, status.AddressConflict, status.Configured},
			details: []string{"", "peer x has the same interface", ""},
		},
		{
			name: "a router each VRF",
			peers: []config.Peer{
				{Name: "x", MyASN: 64600, PeerASN: 64600, Address: at(2), VRF: "red", RouterID: at(99)},
				{Name: "y", MyASN: 64512, PeerASN: 64513, Address: at(2)},
				{Name: "z", MyASN: 64700, PeerASN: 64513, Address: at(3), VRF: "red", RouterID: at(98)},
			},
			routers: "AS 64512 10.10.0.1; red AS 64600 10.10.0.99; 10.10.0.2 AS 64513 as 0; 10.10.0.2 vrf red AS 64600 as 0; 10.10.0.3 vrf red AS 64513 as 64700",
			details: []string{"", "", "router ID 10.10.0.98 is not used: peer x set 10.10.0.99 first"},
		},
		{
			name:    "graceful restart with BFD",
			peers:   []config.Peer{{MyASN: 64512, PeerASN: 64513, Address: at(2), GracefulRestart: true, BFDProfile: "fast"}},
			routers: "AS 64512 10.10.0.1; 10.10.0.2 AS 64513 as 0",
			details: []string{"graceful restart holds no routes if the peer notices with BFD that FRR restarts"},
		},
		{
			name: "two remarks on one peer",
			peers: []config.Peer{
				{Name: "x", MyASN: 64512, PeerASN: 64513, Address: at(2), RouterID: at(99)},
				{Name: "y", MyASN: 64512, PeerASN: 64513, Address: at(3), RouterID: at(98), GracefulRestart: true, BFDProfile: "fast"},
			},
			routers: "AS 64512 10.10.0.99; 10.10.0.2 AS 64513 as 0; 10.10.0.3 AS 64513 as 0",
			details: []string{"", "router ID 10.10.0.98 is not used: peer x set 10.10.0.99 first; " +
				"graceful restart holds no routes if the peer notices with BFD that FRR restarts"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := decided(t, tt.peers)
			if diff := cmp.Diff(tt.routers, showRouters(d.BGP)); diff != "" {
				t.Errorf("routers (-want +got):\n%s", diff)
			}
			if tt.reasons == nil {
				tt.reasons = slices.Repeat([]status.Reason{status.Configured}, len(tt.peers))
			}
			if tt.details == nil {
				tt.details = make([]string, len(tt.peers))
			}
			var reasons []status.Reason
			var details []string
			for _, p := range d.Peers {
				reasons = append(reasons, p.Reason)
				details = append(details, p.Detail)
			}
			if diff := cmp.Diff(tt.reasons, reasons); diff != "" {
				t.Errorf("reasons (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.details, details); diff != "" {
				t.Errorf("details (-want +got):\n%s", diff)
			}
			if _, err := render.FRR(d.BGP); err != nil {
				t.Error(err)
			}
		})
	}
}

// Every setting of a peer reaches its session.
func TestPeerSettings(t *testing.T) {
	p := config.Peer{
		Name: "x", MyASN: 64512, LocalASN: 64600, DynamicASN: config.External, Interface: "eth1", VRF: "red",
		Port: 1179, SourceAddress: at(1), HoldTime: new(9 * time.Second), KeepaliveTime: new(3 * time.Second),
		ConnectTime: new(time.Second), Password: config.NewSecret("x"), BFDProfile: "fast",
		EBGPMultiHop: true, TTLSecurity: 3, GracefulRestart: true, DualStack: true,
	}
	d := decided(t, []config.Peer{p})
	want := []render.Neighbor{{
		Interface: "eth1", VRF: "red", DynamicASN: config.External, LocalASN: 64600,
		Port: 1179, SourceAddress: at(1), HoldTime: new(9 * time.Second), KeepaliveTime: new(3 * time.Second),
		ConnectTime: new(time.Second), Password: config.NewSecret("x"), BFDProfile: "fast",
		EBGPMultiHop: true, TTLSecurity: 3, GracefulRestart: true, DualStack: true,
	}}
	if diff := cmp.Diff(want, d.BGP.Neighbors, cmp.AllowUnexported(config.Secret{}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("neighbors (-want +got):\n%s", diff)
	}
	if got, want := d.Peers[0].ID(), (status.PeerID{Interface: "eth1", VRF: "red"}); got != want {
		t.Errorf("ID is %v, want %v", got, want)
	}
	if p := d.Peers[0]; !p.Authenticated || p.TTLSecurity != 3 || p.BFDProfile != "fast" {
		t.Errorf("the peer is reported as %+v", p)
	}
}

// Which families a session carries, and which attributes an advertisement gives
// an internal and an external peer.
func TestPaths(t *testing.T) {
	peers := []config.Peer{
		{Name: "in", MyASN: 64512, PeerASN: 64512, Address: at(2)},
		{Name: "out", MyASN: 64512, LocalASN: 64600, PeerASN: 64513, Address: at(3)},
		{Name: "dual", MyASN: 64512, DynamicASN: config.Internal, Address: netip.MustParseAddr("fd00::1"), DualStack: true},
		{Name: "link", MyASN: 64512, DynamicASN: config.External, Interface: "eth1"},
		{Name: "red", MyASN: 64512, PeerASN: 64513, Address: at(3), VRF: "red"},
	}
	tests := []struct {
		name string
		ads  []config.BGPAdvertisement
		want map[string]string // by route and neighbor
		why  string            // the reason for the Service's first address; empty: announced
	}{
		{
			name: "families",
			ads:  []config.BGPAdvertisement{{}},
			want: map[string]string{
				"192.0.2.1/32 to eth1": "", "192.0.2.1/32 to 10.10.0.2": "", "192.0.2.1/32 to 10.10.0.3": "", "192.0.2.1/32 to fd00::1": "",
				"192.0.2.1/32 to 10.10.0.3 vrf red": "", "2001:db8::1/128 to eth1": "", "2001:db8::1/128 to fd00::1": "",
			},
		},
		{
			name: "attributes",
			ads:  []config.BGPAdvertisement{{Peers: []string{"in", "out", "link"}, LocalPref: 150, MED: new(uint32(0)), Prepend: 2, GracefulShutdown: true}},
			want: map[string]string{
				"192.0.2.1/32 to eth1":      "med 0 prepend [64512 64512] shutdown",
				"192.0.2.1/32 to 10.10.0.2": "localpref 150 med 0 shutdown",
				"192.0.2.1/32 to 10.10.0.3": "med 0 prepend [64600 64600] shutdown",
				"2001:db8::1/128 to eth1":   "med 0 prepend [64512 64512] shutdown",
			},
		},
		{
			name: "graceful shutdown of one of two advertisements",
			ads:  []config.BGPAdvertisement{{Peers: []string{"out"}, Communities: []config.Community{community(t, "1:1")}}, {Peers: []string{"out"}, GracefulShutdown: true}},
			want: map[string]string{"192.0.2.1/32 to 10.10.0.3": "[1:1] shutdown"},
		},
		{
			name: "MEDs in conflict",
			ads:  []config.BGPAdvertisement{{Name: "x"}, {Name: "y", Peers: []string{"out"}, MED: new(uint32(5))}},
			want: map[string]string{"2001:db8::1/128 to eth1": "", "2001:db8::1/128 to fd00::1": ""},
			why:  `ConflictingMED advertisement "y" gives routes of /32 to 10.10.0.3 MED 5, an earlier one none`,
		},
		{
			name: "paths in conflict",
			ads:  []config.BGPAdvertisement{{Name: "x", Peers: []string{"out"}, Prepend: 1}, {Name: "y", Peers: []string{"out"}, Prepend: 3}},
			want: map[string]string{},
			why:  `ConflictingPrepend advertisement "y" gives routes of /32 to 10.10.0.3 prepended AS numbers 3, an earlier one 1`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := decided(t, peers, tt.ads...)
			got := map[string]string{}
			for _, n := range d.BGP.Networks {
				for _, a := range d.BGP.Classes[n.Class].Attributes {
					var words []string
					if a.LocalPref != 0 {
						words = append(words, fmt.Sprintf("localpref %d", a.LocalPref))
					}
					if len(a.Communities) > 0 {
						words = append(words, fmt.Sprint(a.Communities))
					}
					if a.MED.Set {
						words = append(words, fmt.Sprintf("med %d", a.MED.Value))
					}
					if len(a.Prepend) > 0 {
						words = append(words, fmt.Sprintf("prepend %d", a.Prepend))
					}
					if a.GracefulShutdown {
						words = append(words, "shutdown")
					}
					got[fmt.Sprintf("%s to %s", n.Prefix, a.Neighbor)] = strings.Join(words, " ")
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("paths (-want +got):\n%s", diff)
			}
			why := strings.TrimPrefix(strings.TrimSpace(string(d.Decisions[0].Reason)+" "+d.Decisions[0].Detail), "Announced")
			if diff := cmp.Diff(tt.why, why); diff != "" {
				t.Errorf("reason (-want +got):\n%s", diff)
			}
			if _, err := render.FRR(d.BGP); err != nil {
				t.Error(err)
			}
		})
	}
}
