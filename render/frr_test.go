// SPDX-License-Identifier: Apache-2.0

package render_test

import (
	"bytes"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/render"
	"github.com/heraldlb/herald/status"
)

var update = flag.Bool("update", false, "rewrite the golden files of testdata")

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

// at is the neighbor with an address in the default VRF.
func at(s string) status.PeerID { return status.PeerID{Address: ip(s)} }

func seconds(n int) *time.Duration {
	d := time.Duration(n) * time.Second
	return &d
}

// communities returns n standard and n large communities of the greatest length.
func communities(tb testing.TB, n int) []config.Community {
	tb.Helper()
	var out []config.Community
	for _, format := range []string{"64512:%d", "large:4294967295:4294967295:42949%d"} {
		for i := range n {
			c, err := config.ParseCommunity(fmt.Sprintf(format, 10000+i))
			if err != nil {
				tb.Fatal(err)
			}
			out = append(out, c)
		}
	}
	return out
}

func TestFRR(t *testing.T) {
	tests := []struct {
		name string
		c    render.Config
	}{
		{"no BGP", render.Config{Hostname: "n1"}},
		{"no routes", render.Config{
			Hostname:  "n1",
			ASN:       64512,
			Neighbors: []render.Neighbor{{Address: ip("10.10.0.254"), ASN: 64513}},
		}},
		{"each neighbor its own routes", render.Config{
			Hostname: "n1.example.com",
			ASN:      4200000000,
			RouterID: ip("10.10.0.1"),
			Neighbors: []render.Neighbor{
				{Address: ip("10.10.0.253"), ASN: 64513},
				{Address: ip("10.10.0.254"), ASN: 4200000000},
				{Address: ip("fd00:10::fe"), ASN: 64513},
			},
			Classes: []render.Class{
				{Attributes: []render.Attributes{{Neighbor: at("10.10.0.253")}}},
				{Attributes: []render.Attributes{{Neighbor: at("10.10.0.253")}, {Neighbor: at("10.10.0.254"), LocalPref: 150}}},
				{Attributes: []render.Attributes{{Neighbor: at("fd00:10::fe")}}},
			},
			Networks: []render.Network{
				{Prefix: netip.MustParsePrefix("192.0.2.0/28"), Class: 0},
				{Prefix: netip.MustParsePrefix("192.0.2.1/32"), Class: 1},
				{Prefix: netip.MustParsePrefix("2001:db8::/112"), Class: 2},
			},
		}},
		{"all keys of a session", render.Config{
			Hostname: "n1",
			ASN:      64512,
			Neighbors: []render.Neighbor{
				{
					Address: ip("10.10.0.254"), ASN: 64513, LocalASN: 64600, Port: 1179,
					SourceAddress: ip("10.10.0.1"), HoldTime: seconds(30), KeepaliveTime: seconds(5),
					Password: config.NewSecret(`s3crét!#"`), EBGPMultiHop: true, BFDProfile: "fast",
				},
				{Address: ip("fd00:10::fc"), ASN: 64513, EBGPMultiHop: true},
				{Address: ip("fd00:10::fd"), ASN: 64512},
				{Address: ip("fd00:10::fe"), ASN: 64513, Port: 179},
			},
			BFDProfiles: []config.BFDProfile{
				{Name: "Fast.1", ReceiveInterval: 10, TransmitInterval: 20, DetectMultiplier: 2, EchoInterval: 30, EchoMode: true, PassiveMode: true, MinimumTTL: 1},
				{Name: "as-by-default", ReceiveInterval: 300, TransmitInterval: 300, DetectMultiplier: 3, EchoInterval: 50, MinimumTTL: 254},
				{Name: "unset"},
			},
		}},
		{"unnumbered dynamic dual-stack", render.Config{
			Hostname: "n1",
			ASN:      64512,
			RouterID: ip("10.10.0.1"),
			Neighbors: []render.Neighbor{
				{Interface: "eth1", DynamicASN: config.External, TTLSecurity: 1, ConnectTime: seconds(1), GracefulRestart: true, BFDProfile: "fast"},
				{Interface: "eth2", ASN: 64513, Port: 1179, EBGPMultiHop: true},
				{Address: ip("10.10.0.254"), DynamicASN: config.Internal, DualStack: true, EBGPMultiHop: true},
				{Address: ip("fd00:10::fe"), DynamicASN: config.External, LocalASN: 64600, DualStack: true, ConnectTime: seconds(120)},
			},
			Classes: []render.Class{{Attributes: []render.Attributes{
				{Neighbor: status.PeerID{Interface: "eth1"}},
				{Neighbor: at("fd00:10::fe"), LocalPref: 150},
			}}},
			Networks: []render.Network{
				{Prefix: netip.MustParsePrefix("192.0.2.1/32")},
				{Prefix: netip.MustParsePrefix("2001:db8::1/128")},
			},
			BFDProfiles: []config.BFDProfile{{Name: "fast"}},
		}},
		{"attributes", render.Config{
			Hostname:  "n1",
			ASN:       64512,
			Neighbors: []render.Neighbor{{Address: ip("10.10.0.253"), ASN: 64512}, {Address: ip("10.10.0.254"), ASN: 64513}},
			Classes: []render.Class{
				{Attributes: []render.Attributes{{Neighbor: at("10.10.0.253"), MED: render.Metric{Set: true}}}},
				{Attributes: []render.Attributes{
					{Neighbor: at("10.10.0.253"), LocalPref: 150, Communities: communities(t, 1), GracefulShutdown: true},
					{Neighbor: at("10.10.0.254"), MED: render.Metric{Set: true, Value: 4294967295}, Prepend: []uint32{64512, 64512}, GracefulShutdown: true},
				}},
			},
			Networks: []render.Network{{Prefix: netip.MustParsePrefix("192.0.2.1/32"), Class: 1}, {Prefix: netip.MustParsePrefix("192.0.2.2/32")}},
		}},
		{"VRFs", render.Config{
			Hostname: "n1",
			ASN:      64512,
			VRFs:     []render.VRF{{Name: "blue", ASN: 64600}, {Name: "red", ASN: 64512, RouterID: ip("10.20.0.1")}},
			Neighbors: []render.Neighbor{
				{Address: ip("10.10.0.254"), ASN: 64513},
				{VRF: "blue", Address: ip("fd00:10::fe"), ASN: 64513},
				{VRF: "red", Interface: "eth1", DynamicASN: config.External},
				{VRF: "red", Address: ip("10.10.0.254"), ASN: 64513},
			},
			Classes: []render.Class{
				{Attributes: []render.Attributes{{Neighbor: at("10.10.0.254")}}},
				{Attributes: []render.Attributes{
					{Neighbor: at("10.10.0.254")},
					{Neighbor: status.PeerID{VRF: "red", Interface: "eth1"}},
					{Neighbor: status.PeerID{VRF: "red", Address: ip("10.10.0.254")}, Communities: communities(t, 1)},
				}},
			},
			Networks: []render.Network{{Prefix: netip.MustParsePrefix("192.0.2.1/32"), Class: 1}, {Prefix: netip.MustParsePrefix("192.0.2.2/32")}},
		}},
		{"VRF alone", render.Config{
			Hostname:  "n1",
			VRFs:      []render.VRF{{Name: "red", ASN: 64512}},
			Neighbors: []render.Neighbor{{VRF: "red", Address: ip("10.10.0.254"), ASN: 64513}},
		}},
		{"BFD", render.Config{
			Hostname: "n1",
			ASN:      64512,
			BFDProfiles: []config.BFDProfile{
				{Name: "echo", EchoMode: true, EchoInterval: 80, DetectMultiplier: 5},
				{Name: "four", EchoMode: true},
				{Name: strings.Repeat("long", 15), EchoMode: true},
				{Name: "plain"},
				{Name: "taken", EchoMode: true},
				{Name: "taken:no-echo", TransmitInterval: 60},
			},
			Neighbors: []render.Neighbor{
				{Interface: "eth1", ASN: 64513, BFDProfile: "echo"},
				{Address: ip("10.10.0.250"), ASN: 64512, BFDProfile: "plain", SourceAddress: ip("10.10.0.1")},
				{Address: ip("10.10.0.251"), DynamicASN: config.Internal, BFDProfile: "four", SourceAddress: ip("10.10.0.1")},
				{Address: ip("10.10.0.252"), DynamicASN: config.External, BFDProfile: "echo", SourceAddress: ip("10.10.0.1")},
				{Address: ip("10.20.0.254"), ASN: 64513, BFDProfile: "echo", EBGPMultiHop: true, SourceAddress: ip("10.10.0.1")},
				{Address: ip("fd00:10::fc"), ASN: 64513, BFDProfile: "taken"},
				{Address: ip("fd00:10::fd"), ASN: 64513, BFDProfile: strings.Repeat("long", 15)},
				{Address: ip("fd00:10::fe"), ASN: 64513, BFDProfile: "echo"},
			},
		}},
		{"63 communities", render.Config{
			Hostname:  "n1",
			ASN:       64512,
			Neighbors: []render.Neighbor{{Address: ip("10.10.0.254"), ASN: 64513}},
			Classes:   []render.Class{{Attributes: []render.Attributes{{Neighbor: at("10.10.0.254"), Communities: communities(t, 63)}}}},
			Networks:  []render.Network{{Prefix: netip.MustParsePrefix("192.0.2.1/32")}},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := render.FRR(tt.c)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", strings.ReplaceAll(tt.name, " ", "-")+".conf")
			if *update {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("frr.conf (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTimers(t *testing.T) {
	tests := []struct {
		name            string
		hold, keepalive *time.Duration
		want            string // empty: none
	}{
		{"FRR's own", nil, nil, ""},
		{"both", seconds(90), seconds(20), "timers 20 90"},
		{"hold time alone", seconds(9), nil, "timers 3 9"},
		{"hold time that three does not divide", seconds(10), nil, "timers 3 10"},
		{"keepalive time alone", nil, seconds(7), "timers 7 21"},
		{"keepalive time whose triple is too long", nil, seconds(30000), "timers 30000 65535"},
		{"disabled", seconds(0), seconds(0), "timers 0 0"},
		{"disabled by the hold time", seconds(0), nil, "timers 0 0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conf := mustRender(t, render.Config{Hostname: "n1", ASN: 1, Neighbors: []render.Neighbor{
				{Address: ip("10.0.0.1"), ASN: 2, HoldTime: tt.hold, KeepaliveTime: tt.keepalive},
			}})
			var got string
			for line := range strings.Lines(conf) {
				if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "neighbor 10.0.0.1 timers "); ok && !strings.HasPrefix(rest, "connect") {
					got = "timers " + rest
				}
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func mustRender(tb testing.TB, c render.Config) string {
	tb.Helper()
	conf, err := render.FRR(c)
	if err != nil {
		tb.Fatal(err)
	}
	return string(conf)
}

// TestClassStays shows that the lines of a class do not change when other classes are
// added or removed.
func TestClassStays(t *testing.T) {
	r1, r2 := ip("10.10.0.253"), ip("10.10.0.254")
	var classes []render.Class
	for i := range 40 {
		classes = append(classes, render.Class{Attributes: []render.Attributes{
			{Neighbor: at(r1.String()), Communities: communities(t, i)}, {Neighbor: at(r2.String()), LocalPref: uint32(i)},
		}})
	}
	blocks := func(of []render.Class) []string {
		var out []string
		conf := mustRender(t, render.Config{Hostname: "n1", ASN: 1, Classes: of, Neighbors: []render.Neighbor{{Address: r1, ASN: 2}, {Address: r2, ASN: 1}}})
		for b := range strings.SplitSeq(conf, "exit\n!\n") {
			if _, entry, ok := strings.Cut(b, "route-map herald-"); ok && !strings.HasPrefix(b, "router ") {
				out = append(out, entry)
			}
		}
		return out
	}
	all := blocks(classes)
	if want := 40*3 + 3; len(all) != want {
		t.Fatalf("%d entries of route-maps, want %d", len(all), want)
	}
	for i := range classes {
		alone := blocks(classes[i : i+1])
		for _, b := range alone {
			if !slices.Contains(all, b) {
				t.Errorf("class %d alone has this entry, and none like it among others:\n%s", i, b)
			}
		}
	}
}

func TestRedacted(t *testing.T) {
	c := render.Config{Hostname: "n1", ASN: 1, Neighbors: []render.Neighbor{
		{Address: ip("10.0.0.1"), ASN: 2, Password: config.NewSecret("hunter2")},
		{Address: ip("10.0.0.2"), ASN: 2},
	}}
	got, err := render.Redacted(c)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.ReplaceAll(mustRender(t, c), "hunter2", "[redacted]")
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("redacted (-want +got):\n%s", diff)
	}
	if !bytes.Contains(got, []byte("neighbor 10.0.0.1 password [redacted]\n")) {
		t.Errorf("the password's line is not there:\n%s", got)
	}
}

// TestRefuses shows that a name or a number never becomes more than one word of a
// line.
func TestRefuses(t *testing.T) {
	valid := func() render.Config {
		return render.Config{
			Hostname:    "n1",
			ASN:         64512,
			RouterID:    ip("10.0.0.1"),
			Neighbors:   []render.Neighbor{{Address: ip("10.0.0.2"), ASN: 64513, Password: config.NewSecret("x"), BFDProfile: "fast"}},
			Classes:     []render.Class{{Attributes: []render.Attributes{{Neighbor: at("10.0.0.2")}}}},
			Networks:    []render.Network{{Prefix: netip.MustParsePrefix("192.0.2.1/32")}},
			BFDProfiles: []config.BFDProfile{{Name: "fast"}},
		}
	}
	mustRender(t, valid())

	tests := []struct {
		name string
		edit func(*render.Config)
		want string
	}{
		{"hostname with a line", func(c *render.Config) { c.Hostname = "n1\nno router bgp" }, `hostname "n1\nno router bgp"`},
		{"hostname empty", func(c *render.Config) { c.Hostname = "" }, "hostname"},
		{"router ID of IPv6", func(c *render.Config) { c.RouterID = ip("fd00::1") }, "router ID fd00::1"},
		{"neighbor without router", func(c *render.Config) { c.ASN = 0 }, "without an AS number"},
		{"neighbor without address", func(c *render.Config) { c.Neighbors[0].Address = netip.Addr{} }, "neighbor invalid IP"},
		{"neighbor with a zone", func(c *render.Config) { c.Neighbors[0].Address = ip("fe80::1%a\nb") }, "zone"},
		{"neighbor with both an address and an interface", func(c *render.Config) { c.Neighbors[0].Interface = "eth1" }, "both an address and an interface"},
		{"neighbor at an interface with a line", func(c *render.Config) { c.Neighbors[0] = render.Neighbor{Interface: "a\nexit", ASN: 1} }, `interface "a\nexit"`},
		{"neighbor at an interface that is an address", func(c *render.Config) { c.Neighbors[0] = render.Neighbor{Interface: "10.0.0.9", ASN: 1} }, `interface "10.0.0.9"`},
		{"neighbor in no VRF", func(c *render.Config) { c.Neighbors[0].VRF = "red" }, "neighbor 10.0.0.2 vrf red: its VRF has no AS number"},
		{"neighbor twice", func(c *render.Config) { c.Neighbors = append(c.Neighbors, c.Neighbors[0]) }, "route-map of the same name"},
		{"neighbor of a dynamic AS that FRR does not know", func(c *render.Config) { c.Neighbors[0].ASN, c.Neighbors[0].DynamicASN = 0, "any\nexit" }, "no AS number"},
		{"neighbor of two AS", func(c *render.Config) { c.Neighbors[0].DynamicASN = config.External }, "both an AS number"},
		{"VRF with a line", func(c *render.Config) { c.VRFs = []render.VRF{{Name: "a\nexit", ASN: 1}} }, `VRF "a\nexit"`},
		{"VRF without AS", func(c *render.Config) { c.VRFs = []render.VRF{{Name: "red"}} }, "VRF red: no AS number"},
		{"VRF with a router ID of IPv6", func(c *render.Config) { c.VRFs = []render.VRF{{Name: "red", ASN: 1, RouterID: ip("fd00::1")}} }, "VRF red: router ID fd00::1"},
		{"no time between attempts", func(c *render.Config) { c.Neighbors[0].ConnectTime = seconds(0) }, "time 0s between attempts"},
		{"neighbor without AS", func(c *render.Config) { c.Neighbors[0].ASN = 0 }, "neighbor 10.0.0.2: no AS number"},
		{"source with a zone", func(c *render.Config) { c.Neighbors[0].SourceAddress = ip("fe80::1%a\nb") }, "zone"},
		{"part of a second", func(c *render.Config) { d := time.Millisecond; c.Neighbors[0].HoldTime = &d }, "1ms"},
		{"negative time", func(c *render.Config) { c.Neighbors[0].KeepaliveTime = seconds(-1) }, "-1s"},
		{"long time", func(c *render.Config) { c.Neighbors[0].HoldTime = seconds(65536) }, "18h12m16s"},
		{"password with a line", func(c *render.Config) { c.Neighbors[0].Password = config.NewSecret("p4ss\nexit") }, "password"},
		{"password with a carriage return", func(c *render.Config) { c.Neighbors[0].Password = config.NewSecret("p4ss\rexit") }, "password"},
		{"password of two words", func(c *render.Config) { c.Neighbors[0].Password = config.NewSecret("p4ss word") }, "password"},
		{"password with a NUL", func(c *render.Config) { c.Neighbors[0].Password = config.NewSecret("p4ss\x00exit") }, "password"},
		{"password with a DEL", func(c *render.Config) { c.Neighbors[0].Password = config.NewSecret("p4ss\x7f") }, "password"},
		{"profile of a neighbor with a line", func(c *render.Config) { c.Neighbors[0].BFDProfile = "a\nexit" }, `BFD profile "a\nexit"`},
		{"profile with a line", func(c *render.Config) { c.BFDProfiles[0].Name = "a\nexit" }, `BFD profile "a\nexit"`},
		{"profile of two words", func(c *render.Config) { c.BFDProfiles[0].Name = "a b" }, `BFD profile "a b"`},
		{"profile without name", func(c *render.Config) { c.BFDProfiles[0].Name = "" }, `BFD profile "": empty`},
		{"network with host bits", func(c *render.Config) { c.Networks[0].Prefix = netip.MustParsePrefix("192.0.2.1/24") }, "192.0.2.1/24"},
		{"network of no class", func(c *render.Config) { c.Networks[0].Class = 1 }, "class 1 of 1"},
		{"communities beyond a command's words", func(c *render.Config) {
			c.Classes[0].Attributes[0].Communities = communities(t, 250)[:250]
		}, "neighbor 10.0.0.2: 250 communities"},
		{"communities beyond a command's bytes", func(c *render.Config) {
			c.Classes[0].Attributes[0].Communities = communities(t, 130)[130:]
		}, "neighbor 10.0.0.2: 130 communities"},
		{"too many classes", func(c *render.Config) { c.Classes = make([]render.Class, 16385) }, "16385 classes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := valid()
			tt.edit(&c)
			conf, err := render.FRR(c)
			if err == nil {
				t.Fatalf("accepted:\n%s", conf)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q does not say %q", err, tt.want)
			}
			if strings.Contains(err.Error(), "p4ss") {
				t.Errorf("error %q contains the password", err)
			}
		})
	}
}

// BenchmarkFRR renders the text of a node with two neighbors and many routes.
func BenchmarkFRR(b *testing.B) {
	for _, networks := range []int{1000, 10000} {
		b.Run(strconv.Itoa(networks), func(b *testing.B) {
			r1, r2 := ip("10.10.0.253"), ip("10.10.0.254")
			c := render.Config{
				Hostname:  "n1",
				ASN:       64512,
				Neighbors: []render.Neighbor{{Address: r1, ASN: 64513}, {Address: r2, ASN: 64513}},
				Classes:   []render.Class{{Attributes: []render.Attributes{{Neighbor: at(r1.String())}, {Neighbor: at(r2.String())}}}},
			}
			for a := ip("10.32.0.0"); len(c.Networks) < networks; a = a.Next() {
				c.Networks = append(c.Networks, render.Network{Prefix: netip.PrefixFrom(a, 32)})
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := render.FRR(c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
