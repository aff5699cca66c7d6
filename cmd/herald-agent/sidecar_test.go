// SPDX-License-Identifier: Apache-2.0

package main

import (
	"log/slog"
	"path/filepath"
	"strings"
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

// A second agent on one FRR ends with an error that says what to do.
func TestLock(t *testing.T) {
	o := options{frrDir: t.TempDir(), frrConf: "/etc/frr/frr.conf", pod: "a"}
	unlock, err := o.lock(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	args := []string{"--node-name=n1", "--port=0", "--kubeconfig=no/such/file", "--frr-dir=" + o.frrDir}
	if code := run(t.Context(), args, noEnv, &out); code != 1 || !strings.Contains(out.String(), "another agent drives this FRR: pod a; stop one of them") {
		t.Errorf("exit status %d: %s", code, out.String())
	}
	unlock()
	if unlock, err = o.lock(slog.New(slog.DiscardHandler)); err != nil {
		t.Errorf("after the first has ended: %v", err)
	} else {
		unlock()
	}
	o.frrDir = filepath.Join(o.frrDir, "absent") // there may be an FRR later
	if _, err := o.lock(slog.New(slog.DiscardHandler)); err != nil {
		t.Error(err)
	}
	none := options{frrDir: t.TempDir()} // there is no FRR
	for range 2 {
		if _, err := none.lock(slog.New(slog.DiscardHandler)); err != nil {
			t.Error(err)
		}
	}
}
