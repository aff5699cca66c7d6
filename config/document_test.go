// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/heraldlb/herald/config"
)

const empty = "line 1: the configuration is empty; one without pools is written address-pools: []"

const lan = "address-pools: [{name: lan, protocol: layer2, addresses: [192.168.1.0/24]}]"

// What a text file of the corpus cannot show.
func TestParseText(t *testing.T) {
	tests := []struct {
		name, text string
		pools      int
		err        string // empty if valid
	}{
		{"nothing", "", 0, empty},
		{"white space", " \n\n", 0, empty},
		{"a comment", "# address-pools: []\n", 0, empty},
		{"document markers alone", "---\n...\n---\n", 0, empty},
		{"null", "null", 0, empty},
		{"an empty mapping", "{}", 0, empty},
		{"an empty list", "[]", 0, "line 1: the document must be a mapping, not a list"},
		{"nothing but a merge of nothing", "<<: {}", 0, empty},
		{"no pools, on purpose", "address-pools: []", 0, ""},
		{"document markers", "---\n" + lan + "\n...\n---\n", 1, ""},
		{"no newline at the end", lan, 1, ""},
		{"byte order mark", "\ufeff" + lan, 1, ""},
		{"lines of DOS", strings.ReplaceAll("address-pools:\n- name: lan\n  protocol: layer2\n  addresses:\n  - 192.168.1.0/24\n", "\n", "\r\n"), 1, ""},
		{"not UTF-8", "address-pools: \xff\xfe", 0, "line 1: invalid YAML: invalid leading UTF-8 octet"},
		{"control character", "a: \x01", 0, "line 1: invalid YAML: control characters are not allowed"},
		{"tab after text", "address-pools:\t[]\t# none", 0, ""},
		{"key that is no string", "? [a]\n: b\n", 0, "line 1: a key must be a string, not a list"},
		{"long value", "peers: [{my-asn: 1, peer-asn: 2, peer-address: " + strings.Repeat("9", 5000) + "}]", 0,
			`line 1: peers[0].peer-address: invalid peer IP "` + strings.Repeat("9", 80) + `…": unable to parse IP`},
		{"deep nesting", strings.Repeat("[", 20000), 0, "line 1: invalid YAML: exceeded max depth of 10000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg, err := config.Parse([]byte(tt.text))
			if got := fmt.Sprint(err); tt.err != "" && got != tt.err || tt.err == "" && err != nil {
				t.Fatalf("want error %q, got %v", tt.err, err)
			}
			if err == nil && len(cfg.Pools) != tt.pools {
				t.Errorf("want %d pools, got %d", tt.pools, len(cfg.Pools))
			}
		})
	}
}

func TestParseLarge(t *testing.T) {
	const n = 20_000
	var b strings.Builder
	b.WriteString("address-pools:\n- name: lan\n  protocol: layer2\n  addresses:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - 10.%d.%d.0/25\n", i/256, i%256)
	}
	cfg, err := config.Parse([]byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	if got := len(cfg.Pools[0].Addresses); got != n {
		t.Errorf("want %d ranges, got %d", n, got)
	}
	_, err = config.Parse([]byte(b.String() + "  - 10.0.0.0/8\n"))
	if want := `line 20005: address-pools[0].addresses[20000]: "10.0.0.0/8" in pool "lan" overlaps with "10.0.0.0/25" in pool "lan", already defined on line 5`; err == nil || err.Error() != want {
		t.Errorf("want %s\ngot %v", want, err)
	}
}

func TestErrors(t *testing.T) {
	_, err := config.Parse([]byte("peers:\n- my-asn: 64600\n  peer-address: 10.0.0.1\naddress-pool: []\n"))
	var all config.Errors
	if !errors.As(err, &all) || len(all) != 2 {
		t.Fatalf("want two mistakes, got %v", err)
	}
	if want := (config.Error{Path: "peers[0].peer-asn", Line: 2, Reason: "missing peer ASN"}); *all[0] != want {
		t.Errorf("want %+v, got %+v", want, *all[0])
	}
	var one *config.Error
	if !errors.As(err, &one) || one != all[0] {
		t.Errorf("errors.As finds %v, want the first mistake", one)
	}
	want := "line 2: peers[0].peer-asn: missing peer ASN\nline 4: address-pool: unknown key, did you mean \"address-pools\"?"
	if err.Error() != want {
		t.Errorf("want %s\ngot %v", want, err)
	}
}

func BenchmarkParse(b *testing.B) {
	var doc strings.Builder
	doc.WriteString("address-pools:\n")
	for i := range 1000 {
		fmt.Fprintf(&doc, "- {name: p%d, protocol: bgp, addresses: [10.%d.%d.0/24], bgp-advertisements: [{localpref: 100}]}\n", i, i/256, i%256)
	}
	for b.Loop() {
		if _, err := config.Parse([]byte(doc.String())); err != nil {
			b.Fatal(err)
		}
	}
}
