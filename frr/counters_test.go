// SPDX-License-Identifier: Apache-2.0

package frr_test

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/frr/frrtest"
	"github.com/heraldlb/herald/frr/vty"
	"github.com/heraldlb/herald/status"
)

// The recordings have a session that is up, with BFD and graceful restart, and one
// whose peer is absent.
func TestCounters(t *testing.T) {
	tests := []struct {
		version string
		bgp     frr.BGPCounters
		bfd     frr.BFDCounters
	}{
		{
			"frr-8.4.4",
			frr.BGPCounters{
				OpensSent: 3, OpensReceived: 2, NotificationsSent: 1, UpdatesSent: 2, UpdatesReceived: 2,
				KeepalivesSent: 2, KeepalivesReceived: 2, TotalSent: 8, TotalReceived: 6,
			},
			frr.BFDCounters{ControlInput: 17, ControlOutput: 19, UpEvents: 1, DownEvents: 1, ZebraNotifications: 2},
		},
		{
			"frr-10.3",
			frr.BGPCounters{
				OpensSent: 2, OpensReceived: 1, NotificationsSent: 1, UpdatesSent: 2, UpdatesReceived: 2,
				KeepalivesSent: 1, KeepalivesReceived: 1, TotalSent: 6, TotalReceived: 4,
			},
			frr.BFDCounters{ControlInput: 20, ControlOutput: 23, UpEvents: 1, DownEvents: 1, ZebraNotifications: 2},
		},
	}
	for _, tt := range tests {
		t.Run(tt.version, func(t *testing.T) {
			bgp, bfd := tt.bgp, tt.bfd
			bgp.VRF, bgp.Peer, bgp.Up, bgp.PrefixesSent, bgp.GracefulRestart = "default", "10.10.0.254", true, 1, true
			bfd.VRF, bfd.Peer, bfd.Up = "default", netip.MustParseAddr("10.10.0.254"), true
			want := frr.Counters{
				BGP:      []frr.BGPCounters{bgp, {VRF: "default", Peer: "10.10.0.77", Port: 1179}},
				BFDError: vty.ErrUnavailable,
			}
			same := cmp.Options{cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateErrors()}

			dir := frrtest.Dir(t)
			bgpd, bfdd := frrtest.New("bgpd"), frrtest.New("bfdd")
			say := func(d *frrtest.Daemon, command, file string) {
				text, err := os.ReadFile(filepath.Join("testdata", tt.version, file))
				if err != nil {
					t.Fatal(err)
				}
				d.Reply(command, string(text), 0)
			}
			say(bgpd, "show bgp vrf all neighbors json", "vrf-neighbors.json")
			say(bfdd, "show bfd peers counters json", "bfd-counters.json")
			say(bfdd, "show bfd peers json", "vrf-bfd.json")
			bgpd.Do(t, "configure terminal", "router bgp 64512", "neighbor 10.10.0.77 remote-as 64999", "neighbor 10.10.0.77 port 1179", "end")
			bgpd.Start(t, dir)
			r := frr.NewReader(dir)
			defer r.Close()
			got, err := r.Counters(t.Context(), true)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, same); diff != "" {
				t.Errorf("without bfdd (-want +got):\n%s", diff)
			}
			if got, err = r.Counters(t.Context(), false); err != nil || got.BFDError != nil || len(got.BGP) != len(want.BGP) {
				t.Errorf("bfdd is not asked: %+v, %v", got, err)
			}
			bfdd.Start(t, dir)
			want.BFD, want.BFDError = []frr.BFDCounters{bfd}, nil
			if got, err = r.Counters(t.Context(), true); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, same); diff != "" {
				t.Errorf("with bfdd (-want +got):\n%s", diff)
			}
			bfdd.Reply("show bfd peers json", "nonsense", 0)
			if got, err = r.Counters(t.Context(), true); err != nil || len(got.BGP) != 2 || got.BFDError == nil {
				t.Errorf("with nonsense from bfdd: %+v, %v", got, err)
			}
		})
	}
}

// With a bfdd that hangs only BFD is missing, after some time.
func TestCountersWithoutBFD(t *testing.T) {
	dir := frrtest.Dir(t)
	bgpd, bfdd := frrtest.New("bgpd"), frrtest.New("bfdd")
	bgpd.Reply("show bgp vrf all neighbors json", `{"default":{"vrfId":0,"192.0.2.1":{"bgpState":"Established"}}}`, 0)
	bgpd.Start(t, dir)
	bfdd.Start(t, dir)
	bfdd.Hang(true)
	r := frr.NewReader(dir)
	defer r.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, err := r.Counters(ctx, true)
	if err != nil || len(c.BGP) != 1 || !c.BGP[0].Up || c.BFD != nil || !errors.Is(c.BFDError, vty.ErrUnavailable) {
		t.Errorf("counters: %+v, %v", c, err)
	}
	s, err := r.Sessions(ctx)
	if err != nil || len(s) != 1 || !s[0].Up || s[0].BFD != nil {
		t.Errorf("sessions: %+v, %v", s, err)
	}
	bfdd.Reply("show bfd peers json", `[{"peer":"192.0.2.1","vrf":"default","status":"up"}]`, 0)
	bfdd.Reply("show bfd peers counters json", `[{"peer":"192.0.2.1","vrf":"default","session-up":1}]`, 0)
	bfdd.Hang(false)
	if c, err = r.Counters(ctx, true); err != nil || c.BFDError != nil || len(c.BFD) != 1 || !c.BFD[0].Up {
		t.Errorf("counters when bfdd answers again: %+v, %v", c, err)
	}
}

func TestCountersOfNothing(t *testing.T) {
	for _, text := range []string{"{}", "{\n}\n"} {
		if c, err := frr.DecodeBGPCounters([]byte(text)); err != nil || len(c) != 0 {
			t.Errorf("%q: %v, %v", text, c, err)
		}
	}
	if c, err := frr.DecodeBFDCounters([]byte("[]"), []byte("[\n]\n")); err != nil || len(c) != 0 {
		t.Errorf("no BFD: %v, %v", c, err)
	}
	if _, err := frr.DecodeBGPCounters([]byte(`{"default": {"192.0.2.1": {"bgpState": 3}}}`)); err == nil {
		t.Error("a state that is a number is no error")
	}
	if _, err := frr.DecodeBFDCounters([]byte("{}"), []byte("[]")); err == nil {
		t.Error("an object for a list is no error")
	}
}

// Two unnumbered peers may have the same link-local address.
func TestCountersOfUnnumbered(t *testing.T) {
	const counters = `[{"peer":"fe80::1","vrf":"default","interface":"eth1","session-up":3},
{"peer":"fe80::1","vrf":"default","interface":"eth0","session-up":2},{"peer":"192.0.2.1","vrf":"default","interface":"eth1","session-up":1}]`
	const states = `[{"peer":"fe80::1","vrf":"default","interface":"eth0","status":"up"},
{"peer":"fe80::1","vrf":"default","interface":"eth1","status":"down"},{"peer":"192.0.2.1","vrf":"default","status":"up"}]`
	got, err := frr.DecodeBFDCounters([]byte(counters), []byte(states))
	if err != nil {
		t.Fatal(err)
	}
	far := netip.MustParseAddr("fe80::1")
	want := []frr.BFDCounters{
		{VRF: "default", Peer: netip.MustParseAddr("192.0.2.1"), Up: true, UpEvents: 1},
		{VRF: "default", Peer: far, Interface: "eth0", Up: true, UpEvents: 2},
		{VRF: "default", Peer: far, Interface: "eth1", UpEvents: 3},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Several sessions with one peer, which raw configuration can make, become one. The
// order in which bfdd prints them does not matter.
func TestBFDOfOnePeer(t *testing.T) {
	counters := []string{
		`{"multihop":false,"peer":"192.0.2.1","local":"192.0.2.8","vrf":"default","interface":"eth0","control-packet-input":1,
"control-packet-output":2,"echo-packet-input":3,"echo-packet-output":4,"session-up":5,"session-down":6,"zebra-notifications":7}`,
		`{"multihop":true,"peer":"192.0.2.1","local":"192.0.2.8","vrf":"default","control-packet-input":10,
"control-packet-output":20,"echo-packet-input":30,"echo-packet-output":40,"session-up":50,"session-down":60,"zebra-notifications":70}`,
		`{"multihop":false,"peer":"192.0.2.1","vrf":"red","session-up":9}`,
	}
	states := []string{
		`{"peer":"192.0.2.1","vrf":"default","interface":"eth0","status":"up","uptime":9,"diagnostic":"ok"}`,
		`{"peer":"192.0.2.1","vrf":"default","status":"init","diagnostic":"neighbor signaled session down"}`,
		`{"peer":"192.0.2.1","vrf":"red","status":"down","diagnostic":"ok"}`,
		`{"peer":"192.0.2.1","vrf":"red","local":"192.0.2.9","status":"shutdown","diagnostic":"ok"}`,
	}
	peer := netip.MustParseAddr("192.0.2.1")
	want := []frr.BFDCounters{
		{VRF: "default", Peer: peer, Up: true, ControlInput: 11, ControlOutput: 22, EchoInput: 33, EchoOutput: 44, UpEvents: 55, DownEvents: 66, ZebraNotifications: 77},
		{VRF: "red", Peer: peer, UpEvents: 9},
	}
	guards := map[status.PeerID]frr.BFD{
		at("192.0.2.1"):             {Peer: "192.0.2.1", Status: "up", Up: true, Uptime: 9 * time.Second, Diagnostic: "ok"},
		{Address: peer, VRF: "red"}: {Peer: "192.0.2.1", Status: "shutdown", Diagnostic: "ok"},
	}
	for range 2 {
		list := func(of []string) []byte { return []byte("[" + strings.Join(of, ",") + "]") }
		got, err := frr.DecodeBFDCounters(list(counters), list(states))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
			t.Errorf("counters (-want +got):\n%s", diff)
		}
		sessions, err := frr.DecodeBFD(list(states))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(guards, sessions, cmpopts.EquateComparable(status.PeerID{})); diff != "" {
			t.Errorf("sessions (-want +got):\n%s", diff)
		}
		slices.Reverse(counters)
		slices.Reverse(states)
	}
}
