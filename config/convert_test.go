// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/heraldlb/herald/config"
)

// TestConvertCorpus converts every good ConfigMap. What is refused is listed
// here with its reason.
func TestConvertCorpus(t *testing.T) {
	refused := map[string]string{
		"pool-name-free":    "no name for an object of Kubernetes",
		"localpref-highest": `advertisement "edge-2": its IPv4 routes have the localpref 90 and its IPv6 routes 150`,
	}
	files, err := filepath.Glob(filepath.Join(corpus, "good", "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases (%v)", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		t.Run(name, func(t *testing.T) {
			ar, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			cfg, err := config.ParseConfigMap(ar.Files[0].Data)
			if err != nil {
				t.Fatal(err)
			}
			text, _, err := config.Convert(cfg, config.ConvertOptions{Namespace: "metallb-system"})
			if reason := refused[name]; reason != "" {
				if err == nil || !strings.Contains(err.Error(), reason) {
					t.Errorf("got %v, want %q", err, reason)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			res, _, err := config.ReadResources(text)
			if err != nil {
				t.Fatal(err)
			}
			got := config.Resolved{}.Next(res)
			if err := got.Err(); err != nil {
				t.Fatal(err)
			}
			if diff := gocmp.Diff(string(golden(t, byNames(cfg))), string(golden(t, byNames(got.Config)))); diff != "" {
				t.Errorf("the resources say something else (-ConfigMap +resources):\n%s", diff)
			}
			for i, p := range byNames(got.Config).Peers {
				if want := byNames(cfg).Peers[i].Password; p.Password != want {
					t.Errorf("peer %s has another password", p.Name)
				}
			}
		})
	}
}

// byNames returns a Config in the order of names, without pools that have no
// addresses, which no resource can be.
func byNames(c *config.Config) *config.Config {
	out := *c
	var empty []string
	out.Pools = slices.DeleteFunc(slices.Clone(c.Pools), func(p config.Pool) bool {
		if len(p.Addresses) == 0 {
			empty = append(empty, p.Name)
		}
		return len(p.Addresses) == 0
	})
	slices.SortStableFunc(out.Pools, func(a, b config.Pool) int { return cmp.Compare(a.Name, b.Name) })
	out.BGPAdvertisements = slices.DeleteFunc(slices.Clone(c.BGPAdvertisements), func(a config.BGPAdvertisement) bool {
		return slices.Contains(empty, a.Pools[0])
	})
	slices.SortStableFunc(out.BGPAdvertisements, func(a, b config.BGPAdvertisement) int { return cmp.Compare(a.Name, b.Name) })
	out.L2Advertisements = slices.DeleteFunc(slices.Clone(c.L2Advertisements), func(a config.L2Advertisement) bool {
		return slices.Contains(empty, a.Pools[0])
	})
	slices.SortStableFunc(out.L2Advertisements, func(a, b config.L2Advertisement) int { return cmp.Compare(a.Name, b.Name) })
	out.BFDProfiles = slices.Clone(c.BFDProfiles)
	slices.SortStableFunc(out.BFDProfiles, func(a, b config.BFDProfile) int { return cmp.Compare(a.Name, b.Name) })
	out.Communities = slices.Clone(c.Communities)
	slices.SortStableFunc(out.Communities, func(a, b config.CommunityAlias) int { return cmp.Compare(a.Name, b.Name) })
	return &out
}

func TestConvert(t *testing.T) {
	const named = `
peers: [{my-asn: 1, peer-asn: 2, peer-address: 10.0.0.1, bfd-profile: Fast}]
bfd-profiles: [{name: Fast}]
address-pools:
- {name: My Pool, protocol: bgp, addresses: [10.1.0.0/24]}
- {name: b, protocol: layer2, addresses: [10.2.0.0/24]}
`
	tests := []struct {
		name, text string
		rename     map[string]string
		err        string
		notes      []string
		want       []string // contained
		unwanted   string   // not contained
	}{
		{name: "names that are none", text: named, err: `pool "My Pool": no name for an object of Kubernetes; give it another, such as My Pool=my-pool`},
		{name: "other names", text: named, rename: map[string]string{"My Pool": "mine", "Fast": "fast"},
			notes: []string{`pool "My Pool" is now mine: Services that ask for it by an annotation must name that`,
				"pools are tried in the order of their names, no more in that of the document (mine, b); spec.serviceAllocation.priority sets another"},
			want: []string{"name: mine-1", "- mine", "bfdProfile: fast", "kind: L2Advertisement"}},
		{name: "two of one name", text: named, rename: map[string]string{"My Pool": "b", "Fast": "fast"}, err: `two of the name "b": pool`},
		{name: "a name of nothing", text: named, rename: map[string]string{"My Pool": "a", "Fast": "fast", "x": "y"}, err: `rename "x": there is no such pool`},
		{name: "an IPv4 session with IPv6 routes", text: `
peers: [{my-asn: 1, peer-asn: 2, peer-address: 10.0.0.1}, {my-asn: 1, peer-asn: 2, peer-address: "fd00::1"}]
address-pools: [{name: six, protocol: bgp, addresses: ["2001:db8::/120"]}]
`, want: []string{"dualStackAddressFamily: true\n  holdTime: 1m30s\n  myASN: 1\n  peerASN: 2\n  peerAddress: 10.0.0.1\n"},
			unwanted: "dualStackAddressFamily: true\n  holdTime: 1m30s\n  myASN: 1\n  peerASN: 2\n  peerAddress: fd00::1"},
		{name: "a pool of nothing", text: `address-pools: [{name: lo, protocol: bgp, addresses: [127.0.0.0/8]}, {name: web, protocol: layer2, addresses: [10.1.0.0/24]}]`,
			notes: []string{`pool "lo" is left out: it has no address that a Service can have`}, want: []string{"name: web\n"}, unwanted: "name: lo"},
		{name: "passwords are in Secrets", text: `peers: [{my-asn: 1, peer-asn: 2, peer-address: 10.0.0.1, password: correct-horse}]`,
			want: []string{"type: kubernetes.io/basic-auth", "password: correct-horse", "name: peer1-password"}},
		{name: "an address for all nodes and for some", err: "no resources say this: BGPPeer/peer2: Conflict", text: `
peers:
- {my-asn: 1, peer-asn: 2, peer-address: 10.0.0.1}
- {my-asn: 1, peer-asn: 2, peer-address: 10.0.0.1, peer-port: 1179, node-selectors: [{match-labels: {rack: a}}]}
`},
		{name: "ten peers keep their order", text: tenPeers(), want: []string{"name: peer01\n", "name: peer10\n"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg, err := config.Parse([]byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			out, notes, err := config.Convert(cfg, config.ConvertOptions{Namespace: "metallb-system", Rename: tt.rename})
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) || len(out) > 0 {
					t.Fatalf("got %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := gocmp.Diff(tt.notes, notes); diff != "" {
				t.Errorf("notes (-want +got):\n%s", diff)
			}
			for _, want := range tt.want {
				if !strings.Contains(string(out), want) {
					t.Errorf("no %q in\n%s", want, out)
				}
			}
			if tt.unwanted != "" && strings.Contains(string(out), tt.unwanted) {
				t.Errorf("%q is in\n%s", tt.unwanted, out)
			}
		})
	}
}

func tenPeers() string {
	var b strings.Builder
	b.WriteString("peers:\n")
	for i := range 10 {
		fmt.Fprintf(&b, "- {my-asn: 1, peer-asn: 2, peer-address: 10.0.0.%d}\n", i+1)
	}
	return b.String()
}
