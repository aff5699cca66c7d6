// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/l2"
	"github.com/heraldlb/herald/l2/members"
	"github.com/heraldlb/herald/reconcile"
)

var values = cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{})

// A oneCluster that has nodes and nothing else.
type oneCluster []*cluster.Node

func (c oneCluster) Snapshot() (cluster.Snapshot, bool) { return cluster.Snapshot{Nodes: c}, true }

func TestLayer2Misuse(t *testing.T) {
	dir := t.TempDir()
	tests := []struct {
		name string
		opts layer2Options
		want string
	}{
		{"every address", layer2Options{bind: "0.0.0.0"}, `--ml-bindaddr "0.0.0.0"`},
		{"no address", layer2Options{bind: "eth0"}, `--ml-bindaddr "eth0"`},
		{"no secret", layer2Options{bind: "127.0.0.1", keyDir: dir}, "--ml-secret-key-path: open " + dir + "/secretkey"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := newLayer2(tt.opts, oneCluster{}, func() {}, slog.New(slog.DiscardHandler))
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("%v, want %s", err, tt.want)
			}
		})
	}
}

func TestReadKey(t *testing.T) {
	dir := t.TempDir()
	tests := []struct {
		name, dir, secret string
		want              []byte
	}{
		{"no directory", "", "", nil},
		{"an empty secret", dir, " \n", nil},
		{"a secret", dir, "abc\n", members.Key("abc")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := os.WriteFile(filepath.Join(dir, "secretkey"), []byte(tt.secret), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := readKey(tt.dir)
			if err != nil || string(got) != string(tt.want) {
				t.Errorf("%x, %v, want %x", got, err, tt.want)
			}
		})
	}
}

func TestPeers(t *testing.T) {
	addr := netip.MustParseAddr
	nodes := []*cluster.Node{
		{Name: "n1", Addrs: []netip.Addr{addr("10.0.0.1")}},
		{Name: "n2", Addrs: []netip.Addr{addr("fd00::2"), addr("10.0.0.2"), addr("10.1.0.2")}},
		{Name: "n3", Addrs: []netip.Addr{addr("fd00::3")}},
		{Name: "n4"},
	}
	for _, tt := range []struct{ bind, want string }{{"10.0.0.1:7946", "10.0.0.2:7946"}, {"[fd00::1]:9", "[fd00::2]:9 [fd00::3]:9"}} {
		l := &layer2{node: "n1", bind: netip.MustParseAddrPort(tt.bind)}
		var got []string
		for _, p := range l.peers(nodes) {
			got = append(got, p.String())
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("peers of %s: %v, want %s", tt.bind, got, tt.want)
		}
	}
}

func TestStateOf(t *testing.T) {
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	s := l2.State{
		Interfaces: []l2.Interface{
			{Link: l2.Link{Name: "eth0", MAC: l2.MAC{2}}, NDP: l2.NoLinkLocal},
			{Link: l2.Link{Name: "eth1", MAC: l2.MAC{1}}, ARP: l2.IsDown, NDP: l2.IsDown},
			{Link: l2.Link{Name: "eth2", MAC: l2.MAC{2}}},
		},
		Addresses: []l2.Address{{Addr: a, Confirmed: true}, {Addr: b}},
	}
	want := members.State{
		Leaving: true, Interfaces: []string{"eth0", "eth2"}, MACs: []members.MAC{{2}}, Held: []netip.Addr{a},
	}
	if diff := cmp.Diff(want, stateOf(s, true), values); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
}

func TestClaims(t *testing.T) {
	now := time.Now()
	mac := func(b byte) l2.MAC { return l2.MAC{2, 0, 0, 0, 0, b} }
	addr := func(b byte) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, b}) }
	known := map[l2.MAC]string{mac(1): "n1", mac(2): "n2", mac(3): "n3"}
	heard := func(a, by byte, ago time.Duration) l2.Address {
		return l2.Address{Addr: addr(a), TakenBy: l2.Claim{MAC: mac(by), At: now.Add(-ago)}}
	}
	s := l2.State{Addresses: []l2.Address{
		{Addr: addr(1)}, heard(2, 2, time.Second), heard(3, 3, 10*time.Second), heard(4, 3, 50*time.Second), heard(5, 9, time.Second), heard(6, 3, 2*time.Second),
	}}
	got, until := claims(s, known, map[string]bool{"n1": true, "n2": true}, now)
	want := map[netip.Addr]announce.Claim{
		addr(3): {Node: "n3", At: now.Add(-10 * time.Second)},
		addr(6): {Node: "n3", At: now.Add(-2 * time.Second)},
	}
	if diff := cmp.Diff(want, got, values); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
	if wait := until.Sub(now); wait != 35*time.Second {
		t.Errorf("the first is too old after %v", wait)
	}
}

func TestConflicts(t *testing.T) {
	a, b, c := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("192.0.2.3")
	claim := l2.Claim{MAC: l2.MAC{2, 0, 0, 0, 0, 9}, Interface: "eth0", At: time.Now()}
	got := conflicts(l2.State{Addresses: []l2.Address{
		{Addr: a},
		{Addr: b, Conflict: claim, Presences: []l2.Presence{{Phase: l2.Announced}}},
		{Addr: c, Conflict: claim, Presences: []l2.Presence{{Phase: l2.Refused}}},
	}})
	want := map[netip.Addr]reconcile.Conflict{
		b: {By: "02:00:00:00:00:09", On: "eth0"},
		c: {By: "02:00:00:00:00:09", On: "eth0", Refused: true},
	}
	if diff := cmp.Diff(want, got, values); diff != "" {
		t.Errorf("conflicts (-want +got):\n%s", diff)
	}
}

func TestExclusion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "excludel2.yaml")
	sets := make(chan string, 10)
	e := newExclusion(path, func(list []*regexp.Regexp) {
		var text []string
		for _, r := range list {
			text = append(text, r.String())
		}
		sets <- strings.Join(text, " ")
	}, slog.New(slog.NewTextHandler(t.Output(), nil)))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.run(ctx) }()
	write := func(text string) {
		t.Helper()
		// At once, as the kubelet does: nobody reads half of it.
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	await := func(want string) {
		t.Helper()
		select {
		case got := <-sets:
			if got != want {
				t.Errorf("excluded: %q, want %q", got, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%q is not excluded after 10 s", want)
		}
	}
	write("announcedInterfacesToExclude: [^docker.*, ^lo$]")
	await("^docker.* ^lo$")
	write("announcedInterfacesToExclude: ['^(']") // refused
	write("announcedInterfacesToExclude: [^cali.*]")
	await("^cali.*")
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	for _, text := range []string{"announcedInterfacesToExclude: ['^(']", "interfaces: [x]", "- x"} {
		if list, err := parseExclusion([]byte(text)); err == nil {
			t.Errorf("%s: accepted as %v", text, list)
		}
	}
}
