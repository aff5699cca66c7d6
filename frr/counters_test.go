// SPDX-License-Identifier: Apache-2.0

package frr_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/frr/frrtest"
)

func TestCounters(t *testing.T) {
	dir := socketDir(t)
	bgpd, bfdd := frrtest.New("bgpd"), frrtest.New("bfdd")
	for _, say := range []struct {
		daemon        *frrtest.Daemon
		command, file string
	}{
		{bgpd, "show bgp vrf all neighbors json", "vrf-neighbors.json"},
		{bfdd, "show bfd peers counters json", "bfd-counters.json"},
		{bfdd, "show bfd peers json", "vrf-bfd.json"},
	} {
		text, err := os.ReadFile(filepath.Join("testdata/frr-8.4.4", say.file))
		if err != nil {
			t.Fatal(err)
		}
		say.daemon.Reply(say.command, string(text), 0)
	}
	bgpd.Do(t, "configure terminal", "router bgp 64512", "neighbor 10.10.0.77 remote-as 64999", "neighbor 10.10.0.77 port 1179", "end")
	bgpd.Start(t, dir)
	r := frr.NewReader(dir)
	defer r.Close()

	want := frr.Counters{BGP: []frr.BGPCounters{
		{
			VRF: "default", Peer: "10.10.0.254", Up: true, PrefixesSent: 1, GracefulRestart: true,
			OpensSent: 3, OpensReceived: 2, NotificationsSent: 1, UpdatesSent: 2, UpdatesReceived: 2,
			KeepalivesSent: 2, KeepalivesReceived: 2, TotalSent: 8, TotalReceived: 6,
		},
		{VRF: "default", Peer: "10.10.0.77", Port: 1179},
	}}
	got, err := r.Counters(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("without bfdd (-want +got):\n%s", diff)
	}
	bfdd.Start(t, dir)
	want.BFD = []frr.BFDCounters{{
		VRF: "default", Peer: netip.MustParseAddr("10.10.0.254"), Up: true,
		ControlInput: 17, ControlOutput: 19, UpEvents: 1, DownEvents: 1, ZebraNotifications: 2,
	}}
	if got, err = r.Counters(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("with bfdd (-want +got):\n%s", diff)
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
