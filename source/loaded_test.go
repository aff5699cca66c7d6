// SPDX-License-Identifier: Apache-2.0

package source_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/heraldlb/herald/source"
)

func TestLoadedNext(t *testing.T) {
	const (
		one = "address-pools: [{name: one, protocol: bgp, addresses: [192.0.2.0/28]}]"
		two = "address-pools: [{name: two, protocol: bgp, addresses: [198.51.100.0/28]}]"
		bad = "address-pools: [{name: bad, protocol: bgp, addresses: [nonsense]}]"
	)
	notFound := errors.New("not found")
	steps := []struct {
		name    string
		doc     source.Document
		pool    string // of the configuration in force; empty means none is
		version string // of the document in force
		err     string // contained in the reason; empty means the newest is in force
		same    bool   // the *Config is the one before
	}{
		{"missing at the start", source.Document{Err: notFound}, "", "", "configmap x: not found", true},
		{"empty at the start", source.Document{Version: "0", Text: []byte("\n")}, "", "", "address-pools: []", true},
		{"bad at the start", source.Document{Version: "1", Text: []byte(bad)}, "", "", "nonsense", true},
		{"the first good one", source.Document{Version: "2", Text: []byte(one)}, "one", "2", "", false},
		{"the same text", source.Document{Version: "3", Text: []byte(one)}, "one", "3", "", true},
		{"a bad one", source.Document{Version: "4", Text: []byte(bad)}, "one", "3", "configmap x: ", true},
		{"the same bad one", source.Document{Version: "5", Text: []byte(bad)}, "one", "3", "nonsense", true},
		{"back to the good text", source.Document{Version: "6", Text: []byte(one)}, "one", "6", "", true},
		{"emptied", source.Document{Version: "6a", Text: []byte("# soon\n---\n")}, "one", "6", "address-pools: []", true},
		{"back from that", source.Document{Version: "6", Text: []byte(one)}, "one", "6", "", true},
		{"deleted", source.Document{Err: notFound}, "one", "6", "not found", true},
		{"bad after deletion", source.Document{Version: "7", Text: []byte(bad)}, "one", "6", "nonsense", true},
		{"deleted again", source.Document{Err: notFound}, "one", "6", "not found", true},
		{"there again", source.Document{Version: "8", Text: []byte(one)}, "one", "8", "", true},
		{"another good one", source.Document{Version: "9", Text: []byte(two)}, "two", "9", "", false},
		{"without pools", source.Document{Version: "10", Text: []byte("address-pools: []")}, "", "10", "", false},
	}
	var l source.Loaded
	for _, s := range steps {
		s.doc.Source = "configmap x"
		before := l.Config
		l = l.Next(s.doc)
		pool := ""
		if l.Config != nil && len(l.Config.Pools) > 0 {
			pool = l.Config.Pools[0].Name
		}
		if pool != s.pool {
			t.Errorf("%s: pool %q is in force, want %q", s.name, pool, s.pool)
		}
		if l.Accepted.Version != s.version {
			t.Errorf("%s: version %q is in force, want %q", s.name, l.Accepted.Version, s.version)
		}
		if l.Document.Version != s.doc.Version {
			t.Errorf("%s: the newest version is %q, want %q", s.name, l.Document.Version, s.doc.Version)
		}
		switch {
		case s.err == "" && l.Err != nil:
			t.Errorf("%s: refused: %v", s.name, l.Err)
		case s.err != "" && (l.Err == nil || !strings.Contains(l.Err.Error(), s.err)):
			t.Errorf("%s: the reason is %v, want %q", s.name, l.Err, s.err)
		}
		if same := l.Config == before; same != s.same {
			t.Errorf("%s: same configuration as before: %v, want %v", s.name, same, s.same)
		}
	}
}
