// SPDX-License-Identifier: Apache-2.0

package frr_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/frr/vty"
	"github.com/heraldlb/herald/status"
)

// What FRR says of both ends of a session, in the recordings of both versions.
func TestSessionDetails(t *testing.T) {
	addr := netip.MustParseAddr
	for _, v := range versions {
		t.Run(v.name, func(t *testing.T) {
			r := frr.NewReader(recorded(t, v.name, v.net4, v.net6))
			defer r.Close()
			all, err := r.Sessions(t.Context())
			if err != nil || len(all) != 4 {
				t.Fatalf("%d sessions, %v", len(all), err)
			}
			agreed := map[string]status.Capability{}
			for _, name := range []string{"4byteAs", "enhancedRouteRefresh", "extendedMessage", "gracefulRestart", "longLivedGracefulRestart", "routeRefresh"} {
				agreed[name] = status.CapabilityAgreed
			}
			connecting, _ := netip.ParseAddr(v.connecting)
			silent := &status.SessionDetails{LocalASN: 64512, RemoteASN: 64999, LocalAddress: connecting, LocalRouterID: addr(v.net4 + "1")}
			up := &status.SessionDetails{
				LocalASN: 64512, RemoteASN: 64513, LocalAddress: addr(v.net4 + "1"), LocalRouterID: addr(v.net4 + "1"),
				RemoteRouterID: addr("10.10.0.254"), RemoteHost: "r", MD5: true, HoldTime: 180, Keepalive: 60, Capabilities: agreed,
				Families: []status.SessionFamily{{Name: "ipv4Unicast", Agreed: true, Sent: 2}},
			}
			for i, want := range map[int]*status.SessionDetails{0: silent, 2: up} {
				if diff := cmp.Diff(want, all[i].Details, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
					t.Errorf("%s (-want +got):\n%s", all[i].Peer, diff)
				}
			}
			if got, want := all[0].LastReset, (frr.Reset{Age: 6 * time.Second, Error: v.lastError[0]}); got == nil || *got != want {
				t.Errorf("the last reset is %v, want %v", got, want)
			}
			if got := all[2].LastReset; (got == nil) != (v.lastError[2] == "") {
				t.Errorf("the last reset of a session that is up is %v", got)
			}
		})
	}
}

// Capabilities of one end alone, and what a router says of itself in any characters. What
// cannot be read is left out, and does not hide the session.
func TestSessionDetailsHostile(t *testing.T) {
	all, err := frr.DecodeSessions([]byte(`{"default":{"eth1":{"bgpState":"Established","hostname":"rack <b>7</b>\u001b","authenticationEnabled":true,
"gracefulRestartInfo":{"localGrMode":"Restart","remoteGrMode":"Helper*"},
"neighborCapabilities":{"extendedNexthop":"advertised","dynamic":"received","addPath":{"ipv4Unicast":{}},"routeRefresh":"advertisedAndReceivedOldNew",
"multiprotocolExtensions":{"ipv4Unicast":{"advertisedAndReceived":true},"ipv6Unicast":{"advertised":true}}},
"addressFamilyInfo":{"ipv6Unicast":{},"ipv4Unicast":{"sentPrefixCounter":3,"acceptedPrefixCounter":1}}}}}`))
	if err != nil || len(all) != 1 {
		t.Fatalf("%d sessions, %v", len(all), err)
	}
	want := &status.SessionDetails{
		RemoteHost: "rack??b?7??b??", MD5: true, GracefulRestart: true,
		Capabilities: map[string]status.Capability{"extendedNexthop": status.CapabilitySent, "dynamic": status.CapabilityReceived, "routeRefresh": status.CapabilityAgreed},
		Families:     []status.SessionFamily{{Name: "ipv4Unicast", Agreed: true, Sent: 3, Received: 1}, {Name: "ipv6Unicast"}},
	}
	if diff := cmp.Diff(want, all[0].Details, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("details (-want +got):\n%s", diff)
	}
	all, err = frr.DecodeSessions([]byte(`{"default":{"eth1":{"bgpState":"Established","neighborCapabilities":"none","authenticationEnabled":0}}}`))
	if err != nil || len(all) != 1 || !all[0].Up || all[0].Details.MD5 || all[0].Details.Capabilities != nil {
		t.Errorf("capabilities that cannot be read: %+v, %v", all, err)
	}
}

// The Poller asks bgpd for its version once, and again after bgpd has restarted.
func TestPollerVersion(t *testing.T) {
	f, p := polled(t)
	if v := p.Version(); v != "" {
		t.Errorf("before the first answer it is %q", v)
	}
	for _, version := range []string{"8.4.4", "10.3"} {
		f.bgpd.Reply("show version", "FRRouting "+version+" (n1) on Linux(6.1.0).\nCopyright 1996-2005 Kunihiro Ishiguro, et al.\n", byte(vty.Success))
		for range 3 {
			if _, err := p.Sessions(t.Context(), time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		asked := 0
		for _, command := range f.bgpd.Sent() {
			if command == "show version" {
				asked++
			}
		}
		if v := p.Version(); v != version || asked != 1 {
			t.Errorf("it is %q, want %q; asked %d times", v, version, asked)
		}
		f.bgpd.Stop()
		f.bgpd.Start(t, f.dir)
	}
}
