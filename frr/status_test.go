// SPDX-License-Identifier: Apache-2.0

package frr_test

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/frr/frrtest"
)

// versions are those of which testdata has recordings. The neighbors in each are
// one that never answered, one that is shut down, and two that are up, the first
// of them with BFD.
var versions = []struct {
	name       string
	net4, net6 string
	uptime     [2]time.Duration
	lastError  [4]string
}{
	{
		"frr-8.4.4", "10.10.0.", "fd00::", [2]time.Duration{382 * time.Second, 383 * time.Second},
		[4]string{"Waiting for peer OPEN", "No AFI/SAFI activated for peer", "Waiting for peer OPEN", "Socket Error"},
	},
	{
		"frr-10.3", "10.11.0.", "fd01::", [2]time.Duration{6 * time.Second, 6 * time.Second},
		[4]string{"Waiting for peer OPEN", "Admin. shutdown", "", ""},
	},
}

// recorded makes daemons that answer as FRR did when it was recorded.
func recorded(t *testing.T, version, net4, net6 string) string {
	t.Helper()
	dir := socketDir(t)
	bgpd, bfdd := frrtest.New("bgpd"), frrtest.New("bfdd")
	say := func(d *frrtest.Daemon, command, file string, status byte) {
		text, err := os.ReadFile(filepath.Join("testdata", version, file))
		if err != nil {
			t.Fatal(err)
		}
		d.Reply(command, string(text), status)
	}
	say(bgpd, "show bgp neighbors json", "neighbors.json", 0)
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

func TestSessions(t *testing.T) {
	for _, v := range versions {
		t.Run(v.name, func(t *testing.T) {
			r := frr.NewReader(recorded(t, v.name, v.net4, v.net6))
			defer r.Close()
			got, err := r.Sessions(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			want := []frr.Session{
				{
					Peer: netip.MustParseAddr(v.net4 + "77"), ASN: 64999, LocalASN: 64512,
					State: "Active", LastError: v.lastError[0],
				},
				{
					Peer: netip.MustParseAddr(v.net4 + "78"), ASN: 64512, LocalASN: 64512,
					State: "Idle", Shutdown: true, LastError: v.lastError[1],
				},
				{
					Peer: netip.MustParseAddr(v.net4 + "254"), ASN: 64513, LocalASN: 64512,
					State: "Established", Up: true, Uptime: v.uptime[0], Established: 1,
					PrefixesSent: 2, LastError: v.lastError[2],
					BFD: &frr.BFD{Status: "up", Up: true, Uptime: 5 * time.Second, Diagnostic: "ok"},
				},
				{
					Peer: netip.MustParseAddr(v.net6 + "fe"), ASN: 64513, LocalASN: 64512,
					State: "Established", Up: true, Uptime: v.uptime[1], Established: 1,
					PrefixesSent: 1, LastError: v.lastError[3],
				},
			}
			if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
				t.Errorf("Sessions (-want +got):\n%s", diff)
			}
		})
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
				got, err := r.Advertised(t.Context(), netip.MustParseAddr(tt.peer), tt.v6)
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
				peers, err := r.AdvertisedTo(t.Context(), netip.MustParsePrefix(tt.prefix))
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

func TestAdvertisedToIgnoresCoveringPrefix(t *testing.T) {
	answer := []byte(`{"prefix":"192.0.2.0/24","advertisedTo":{"10.10.0.254":{}}}`)
	got, err := frr.DecodeAdvertisedTo(answer, netip.MustParsePrefix("192.0.2.1/32"))
	if got != nil || err != nil {
		t.Errorf("got %v, %v, want none", got, err)
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
	for _, text := range []string{"", "% Unknown command", `{"10.0.0.1":{"remoteAs":"x"}}`, `[]`} {
		if got, err := frr.DecodeSessions([]byte(text)); err == nil {
			t.Errorf("DecodeSessions(%q) = %v, want an error", text, got)
		}
	}
	if got, err := frr.DecodeBFD([]byte(`[{"peer":"x"}]`)); err == nil {
		t.Errorf("DecodeBFD = %v, want an error", got)
	}
}

func TestReaderReconnects(t *testing.T) {
	dir := socketDir(t)
	r := frr.NewReader(dir)
	defer r.Close()
	if _, err := r.Sessions(t.Context()); !errors.Is(err, frr.ErrUnavailable) {
		t.Fatalf("without bgpd: got %v, want ErrUnavailable", err)
	}
	for range 2 { // the second stands for bgpd after a restart
		d := frrtest.New("bgpd")
		d.Reply("show bgp neighbors json", "{}\n", 0)
		d.Start(t, dir)
		if got, err := r.Sessions(t.Context()); len(got) != 0 || err != nil {
			t.Fatalf("with bgpd: got %v, %v, want no session", got, err)
		}
		d.Stop()
	}
}
