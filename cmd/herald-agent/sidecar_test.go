// SPDX-License-Identifier: Apache-2.0

package main

import (
	"path/filepath"
	"testing"

	"github.com/heraldlb/herald/frr/conf"
	"github.com/heraldlb/herald/frr/contract"
)

// What was in force before is the operator's too, while its successor may have a
// mistake.
func TestExtrasKept(t *testing.T) {
	dir := t.TempDir()
	o := options{frrConf: filepath.Join(dir, contract.ConfFile)}
	if got := conf.Parse(string(o.extras())); len(got.Sections) > 0 {
		t.Errorf("kept without a text: %v", got)
	}
	// A file may end in the middle of a context, and of a line.
	err := contract.WriteExtrasApplied(dir, []byte("router bgp 64512\n neighbor 192.0.2.1 description a"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := contract.WriteExtras(dir, []byte("hostname n2\nrouter bgp 64512\n neighbor 192.0.2.1 descripshun b\n")); err != nil {
		t.Fatal(err)
	}
	const want = "router bgp 64512\n neighbor 192.0.2.1 description a\n neighbor 192.0.2.1 descripshun b\nhostname n2\n"
	if got := conf.Parse(string(o.extras())).String(); got != want {
		t.Errorf("kept is\n%swant\n%s", got, want)
	}
	// Whether the container has the metrics of sessions is as much in its folder.
	for _, served := range []bool{false, true} {
		if err := contract.WriteMetrics(dir, served); err != nil {
			t.Fatal(err)
		}
		if got := o.sidecar(nil, nil, nil).hasMetrics(); got != served {
			t.Errorf("herald-frr has metrics: %v, the agent says %v", served, got)
		}
	}
	o.frrConf = ""
	if o.sidecar(nil, nil, nil).hasMetrics() {
		t.Error("without FRR it has metrics")
	}
	if got := o.extras(); got != nil {
		t.Errorf("kept without FRR: %q", got)
	}
}
