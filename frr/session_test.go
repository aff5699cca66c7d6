// SPDX-License-Identifier: Apache-2.0

package frr_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/frr/frrtest"
	"github.com/heraldlb/herald/frr/vty"
	"github.com/heraldlb/herald/status"
)

// versions are the versions of FRR that testdata has recordings of. Each has a neighbor
// that never answered, one that is shut down, and two that are up, the first of them
// with BFD.
var versions = []struct {
	name       string
	net4, net6 string
	uptime     [2]time.Duration
	lastError  [4]string
	connecting string // this end of the connection with the one that never answered
	opens      int    // OPEN messages that the last one was sent
}{
	{
		"frr-8.4.4", "10.10.0.", "fd00::", [2]time.Duration{382 * time.Second, 383 * time.Second},
		[4]string{"Waiting for peer OPEN", "No AFI/SAFI activated for peer", "Waiting for peer OPEN", "Socket Error"}, "", 1,
	},
	{
		"frr-10.3", "10.11.0.", "fd01::", [2]time.Duration{6 * time.Second, 6 * time.Second},
		[4]string{"Waiting for peer OPEN", "Admin. shutdown", "", ""}, "10.11.0.1", 338,
	},
}

// at is the neighbor with an address in the default VRF.
func at(addr string) status.PeerID { return status.PeerID{Address: netip.MustParseAddr(addr)} }

// recorded starts daemons that answer with the recordings of a version.
func recorded(t *testing.T, version, net4, net6 string) string {
	t.Helper()
	dir := frrtest.Dir(t)
	bgpd, bfdd := frrtest.New("bgpd"), frrtest.New("bfdd")
	say := func(d *frrtest.Daemon, command, file string, status byte) {
		text, err := os.ReadFile(filepath.Join("testdata", version, file))
		if err != nil {
			t.Fatal(err)
		}
		d.Reply(command, string(text), status)
	}
	say(bgpd, "show bgp vrf all neighbors json", "neighbors.json", 0)
	say(bgpd, "show bgp ipv4 unicast 192.0.2.1/32 json", "prefix4.json", 0)
	say(bgpd, "show bgp ipv6 unicast 2001:db8::1/128 json", "prefix6.json", 0)
	say(bgpd, "show bgp ipv4 unicast 192.0.2.99/32 json", "prefix-absent.json", 0)
	say(bgpd, "show bgp ipv4 unicast neighbors "+net4+"254 advertised-routes json", "advertised4.json", 0)
	say(bgpd, "show bgp ipv6 unicast neighbors "+net6+"fe advertised-routes json", "advertised6.json", 0)
	say(bgpd, "show bgp ipv4 unicast neighbors "+net4+"77 advertised-routes json", "advertised-down.json", 0)
	say(bgpd, "show bgp ipv4 unicast neighbors "+net4+"99 advertised-routes json", "advertised-absent.json", 1)
	say(bfdd, "show bfd peers json", "bfd.json", 0)
	bgpd.Start(t, dir)
	bfdd.Start(t, dir)
	return dir
}

// plain compares sessions without what is for people alone.
var plain = cmp.Options{
	cmpopts.EquateComparable(status.PeerID{}, netip.Addr{}), cmpopts.IgnoreFields(frr.Session{}, "Details", "LastReset"),
}

func TestSessions(t *testing.T) {
	for _, v := range versions {
		t.Run(v.name, func(t *testing.T) {
			r := frr.NewReader(recorded(t, v.name, v.net4, v.net6))
			defer r.Close()
			got, err := r.Sessions(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			connecting, _ := netip.ParseAddr(v.connecting)
			local4 := netip.MustParseAddr(v.net4 + "1")
			want := []frr.Session{
				{
					Peer: at(v.net4 + "77"), ASN: 64999, LocalASN: 64512,
					State: "Active", LastError: v.lastError[0], Local: connecting,
				},
				{
					Peer: at(v.net4 + "78"), ASN: 64512, LocalASN: 64512,
					State: "Idle", Shutdown: true, LastError: v.lastError[1],
				},
				{
					Peer: at(v.net4 + "254"), ASN: 64513, LocalASN: 64512,
					State: "Established", Up: true, Uptime: v.uptime[0], Established: 1,
					PrefixesSent: 2, LastError: v.lastError[2], Local: local4, OpensSent: 1, OpensReceived: 1,
					BFD: &frr.BFD{Peer: v.net4 + "254", Status: "up", Up: true, Uptime: 5 * time.Second, Diagnostic: "ok"},
				},
				{
					Peer: at(v.net6 + "fe"), ASN: 64513, LocalASN: 64512,
					State: "Established", Up: true, Uptime: v.uptime[1], Established: 1,
					PrefixesSent: 1, LastError: v.lastError[3], Local: netip.MustParseAddr(v.net6 + "1"), OpensSent: v.opens, OpensReceived: 1,
				},
			}
			if diff := cmp.Diff(want, got, plain); diff != "" {
				t.Errorf("Sessions (-want +got):\n%s", diff)
			}
		})
	}
}

// The next hop of IPv6 routes is an IPv4 address only where bgpd has lost its own, or
// where the interface of an IPv4 session has none.
func TestSessionsNextHopLost(t *testing.T) {
	neighbor := func(local, hop, state, families string) string {
		return fmt.Sprintf(`{"default":{"fd00::fe":{"bgpState":%q,"hostLocal":%q,"nexthopGlobal":%q,"addressFamilyInfo":{%s}}}}`, state, local, hop, families)
	}
	const up, both = "Established", `"ipv4Unicast":{},"ipv6Unicast":{}`
	const routes = `"ipv4Unicast":{},"ipv6Unicast":{"sentPrefixCounter":1}`
	for text, want := range map[string]bool{
		neighbor("fd00::1", "fd00::1", up, both):            false,
		neighbor("fd00::1", "::", up, both):                 true,
		neighbor("fd00::1", "::ffff:10.0.0.1", up, both):    true,
		neighbor("fd00::1", "::", "Active", both):           false,
		neighbor("fd00::1", "::", up, `"ipv4Unicast":{}`):   false,
		neighbor("fe80::1", "::", up, both):                 false, // unnumbered
		neighbor("10.0.0.1", "::", up, both):                false, // over IPv4, without an IPv6 route
		neighbor("10.0.0.1", "::", up, routes):              true,
		neighbor("10.0.0.1", "::ffff:10.0.0.1", up, routes): true,
		neighbor("10.0.0.1", "fd00::1", up, routes):         false,
		neighbor("Unknown", "Unknown", up, both):            false,
	} {
		got, err := frr.DecodeSessions([]byte(text))
		if err != nil || len(got) != 1 || got[0].NextHopLost != want {
			t.Errorf("DecodeSessions(%s) = %+v, %v; want NextHopLost %v", text, got, err, want)
		}
	}
}

func TestAdvertised(t *testing.T) {
	prefixes := func(list ...string) map[netip.Prefix]bool {
		m := make(map[netip.Prefix]bool)
		for _, p := range list {
			m[netip.MustParsePrefix(p)] = true
		}
		return m
	}
	for _, v := range versions {
		t.Run(v.name, func(t *testing.T) {
			r := frr.NewReader(recorded(t, v.name, v.net4, v.net6))
			defer r.Close()
			for _, tt := range []struct {
				peer string
				v6   bool
				want map[netip.Prefix]bool
			}{
				{v.net4 + "254", false, prefixes("192.0.2.1/32", "192.0.2.2/32")},
				{v.net6 + "fe", true, prefixes("2001:db8::1/128")},
				{v.net4 + "77", false, prefixes()},
				{v.net4 + "99", false, prefixes()},
			} {
				got, err := r.Advertised(t.Context(), at(tt.peer), tt.v6)
				if err != nil {
					t.Errorf("Advertised(%s): %v", tt.peer, err)
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("Advertised(%s) (-want +got):\n%s", tt.peer, diff)
				}
			}

			for _, tt := range []struct {
				prefix string
				want   []string
			}{
				{"192.0.2.1/32", []string{v.net4 + "254"}},
				{"2001:db8::1/128", []string{v.net6 + "fe"}},
				{"192.0.2.99/32", nil},
			} {
				peers, err := r.AdvertisedTo(t.Context(), "", netip.MustParsePrefix(tt.prefix))
				if err != nil {
					t.Errorf("AdvertisedTo(%s): %v", tt.prefix, err)
				}
				var got []string
				for _, p := range peers {
					got = append(got, p.String())
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("AdvertisedTo(%s) (-want +got):\n%s", tt.prefix, diff)
				}
			}
		})
	}
}

// FRR 10.3 puts the warning that a peer lacks a family into braces of its own. Other texts
// that are no JSON are errors.
func TestAdvertisedWarning(t *testing.T) {
	for text, fails := range map[string]bool{
		"{\n{ \"warning\": \"No such neighbor or address family\" }\n}\n": false,
		"{\n{ \"warning\": \"\" }\n}\n":                                   true,
		"{\n{ \"advertisedRoutes\": {} }\n}\n":                            true,
		"% Unknown command":                                               true,
		"":                                                                true,
		"{":                                                               true,
	} {
		got, err := frr.DecodeAdvertised([]byte(text))
		if len(got) != 0 || (err != nil) != fails {
			t.Errorf("%q: %v, %v; fails: want %v", text, got, err, fails)
		}
	}
}

func TestAdvertisedToIgnoresCoveringPrefix(t *testing.T) {
	answer := []byte(`{"prefix":"192.0.2.0/24","advertisedTo":{"10.10.0.254":{}}}`)
	got, err := frr.DecodeAdvertisedTo(answer, "", netip.MustParsePrefix("192.0.2.1/32"))
	if got != nil || err != nil {
		t.Errorf("got %v, %v, want none", got, err)
	}
}

// A neighbor may be known by its interface, and may be in another VRF.
func TestNeighborsOfOtherKinds(t *testing.T) {
	dir := frrtest.Dir(t)
	bgpd, bfdd := frrtest.New("bgpd"), frrtest.New("bfdd")
	bgpd.Reply("show bgp vrf all neighbors json", `{
"red":{"vrfId":-1,"vrfName":"red","10.0.0.1":{"bgpState":"Idle"},"eth2":{"bgpState":"Active"}},
"default":{"vrfId":0,"vrfName":"default","eth1":{"bgpState":"Established"},"10.0.0.1":{"bgpState":"Connect"}}
}`, 0)
	bgpd.Reply("show bgp vrf red ipv4 unicast 192.0.2.1/32 json", `{"prefix":"192.0.2.1/32","advertisedTo":{"eth2":{},"10.0.0.1":{}}}`, 0)
	bgpd.Reply("show bgp vrf red ipv6 unicast neighbors eth2 advertised-routes json", `{"advertisedRoutes":{"2001:db8::1/128":{}}}`, 0)
	bfdd.Reply("show bfd peers json", `[
{"peer":"fe80::1","interface":"eth1","vrf":"default","status":"up"},
{"peer":"10.0.0.1","interface":"eth9","vrf":"red","status":"down"}
]`, 0)
	bgpd.Start(t, dir)
	bfdd.Start(t, dir)
	r := frr.NewReader(dir)
	defer r.Close()

	red1, red2 := status.PeerID{VRF: "red", Address: netip.MustParseAddr("10.0.0.1")}, status.PeerID{VRF: "red", Interface: "eth2"}
	got, err := r.Sessions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []frr.Session{
		{Peer: status.PeerID{Interface: "eth1"}, State: "Established", Up: true, BFD: &frr.BFD{Peer: "fe80::1%eth1", Status: "up", Up: true}},
		{Peer: at("10.0.0.1"), State: "Connect"},
		{Peer: red2, State: "Active"},
		{Peer: red1, State: "Idle", BFD: &frr.BFD{Peer: "10.0.0.1", Status: "down"}},
	}
	if diff := cmp.Diff(want, got, plain); diff != "" {
		t.Errorf("Sessions (-want +got):\n%s", diff)
	}
	peers, err := r.AdvertisedTo(t.Context(), "red", netip.MustParsePrefix("192.0.2.1/32"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]status.PeerID{red2, red1}, peers, cmpopts.EquateComparable(status.PeerID{}, netip.Addr{})); diff != "" {
		t.Errorf("AdvertisedTo (-want +got):\n%s", diff)
	}
	prefixes, err := r.Advertised(t.Context(), red2, true)
	if err != nil || len(prefixes) != 1 {
		t.Errorf("Advertised = %v, %v, want one prefix", prefixes, err)
	}
}

func TestSessionsWithoutBGP(t *testing.T) {
	for _, text := range []string{"{}\n", `{"bgpNoSuchInstance":true}`} {
		got, err := frr.DecodeSessions([]byte(text))
		if len(got) != 0 || err != nil {
			t.Errorf("%s: got %v, %v, want none", text, got, err)
		}
	}
}

func TestDecodeGarbage(t *testing.T) {
	for _, text := range []string{"", "% Unknown command", `{"default":{"10.0.0.1":{"remoteAs":"x"}}}`, `{"default":{"10.0.0.1":{}}`, `[]`} {
		if got, err := frr.DecodeSessions([]byte(text)); err == nil {
			t.Errorf("DecodeSessions(%q) = %v, want an error", text, got)
		}
	}
	if got, err := frr.DecodeBFD([]byte(`[{"peer":"x"}]`)); err == nil {
		t.Errorf("DecodeBFD = %v, want an error", got)
	}
}

func TestReaderReconnects(t *testing.T) {
	dir := frrtest.Dir(t)
	r := frr.NewReader(dir)
	defer r.Close()
	if _, err := r.Sessions(t.Context()); !errors.Is(err, vty.ErrUnavailable) {
		t.Fatalf("without bgpd: got %v, want ErrUnavailable", err)
	}
	for range 2 { // the second stands for bgpd after a restart
		d := frrtest.New("bgpd")
		d.Reply("show bgp vrf all neighbors json", "{}\n", 0)
		d.Start(t, dir)
		if got, err := r.Sessions(t.Context()); len(got) != 0 || err != nil {
			t.Fatalf("with bgpd: got %v, %v, want no session", got, err)
		}
		d.Stop()
	}
}
