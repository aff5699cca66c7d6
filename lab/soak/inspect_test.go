// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A secret is found wherever it is, and the evidence does not show it.
func TestLeaks(t *testing.T) {
	secrets := map[string]string{"password": "hunter2", "key": "k\x00y", "none": ""}
	if found := leaks(secrets, "log", []byte("level=info msg=ok\n")); found != nil {
		t.Errorf("%v is found in a text without secrets", found)
	}
	found := leaks(secrets, "log", []byte("level=info\nlevel=warn msg=\"neighbor 10.0.0.1 password hunter2\" k\x00y\n"))
	if len(found) != 2 || found[0].Invariant != InvariantSecret {
		t.Fatalf("%v is found, want the password and the key", found)
	}
	if e := found[1].Evidence; !strings.Contains(e, "neighbor 10.0.0.1 password ") || strings.Contains(e, "hunter2") {
		t.Errorf("the evidence is %s", e)
	}
}

// Each limit of a process that is exceeded is found. The passes before the last look do
// not count, and those of a process that was started again do.
func TestGrown(t *testing.T) {
	limits := Limits{Memory: 100 << 20, Files: 50, Routines: 50, Pass: 10 * time.Millisecond}
	small := metrics("process_resident_memory_bytes 3e+07\nprocess_open_fds 20\ngo_goroutines 30\n" +
		"herald_pass_duration_seconds_count 100\nherald_pass_duration_seconds_sum 0.5\nother{label=\"a\"} 7\n")
	before := map[string][2]float64{}
	if found := grown("agent-n1", small, before, limits); found != nil {
		t.Errorf("%v is found of a small process", found)
	}
	tests := []struct{ metric, want string }{
		{"process_resident_memory_bytes 2e+08", "190 MiB"},
		{"process_open_fds 51", "51 open files"},
		{"go_goroutines 51", "51 goroutines"},
		{"herald_pass_duration_seconds_count 120\nherald_pass_duration_seconds_sum 0.9", "a pass took 20ms"},
		{"herald_pass_duration_seconds_count 10\nherald_pass_duration_seconds_sum 0.2", "a pass took 20ms"},
	}
	for _, tt := range tests {
		seen := map[string][2]float64{"agent-n1": before["agent-n1"]}
		found := grown("agent-n1", metrics(tt.metric), seen, limits)
		if len(found) != 1 || !strings.Contains(found[0].Evidence, tt.want) {
			t.Errorf("%s: %v is found, want %q", tt.metric, found, tt.want)
		}
	}
}

// A route that a router has and nobody wants is found, and the other way round.
func TestSameRoutes(t *testing.T) {
	p, q := netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("192.0.2.2/32")
	want := map[netip.Prefix][]string{p: {"n1", "n2"}}
	for _, tt := range []struct {
		name string
		have map[netip.Prefix][]string
		ok   bool
	}{
		{"the same", map[netip.Prefix][]string{p: {"n2", "n1"}}, true},
		{"one missing", map[netip.Prefix][]string{p: {"n1"}}, false},
		{"all missing", nil, false},
		{"one too many", map[netip.Prefix][]string{p: {"n1", "n2", "n3"}}, false},
		{"a route too many", map[netip.Prefix][]string{p: {"n1", "n2"}, q: {"n1"}}, false},
	} {
		if err := sameRoutes("r1 has", tt.have, want); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// Only changes of the owner are reported.
func TestChanges(t *testing.T) {
	is := func(service string, owners ...string) Answer { return Answer{Service: service, Owners: owners} }
	got := changes([]Answer{is("a", "n1"), is("b"), is("a", "n1"), is("b"), is("a", "n2"), is("b", "n1"), is("a", "n2")})
	if diff := cmp.Diff([]Answer{is("a", "n1"), is("b"), is("a", "n2"), is("b", "n1")}, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}
