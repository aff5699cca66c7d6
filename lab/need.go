// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// frrDaemons is where Debian and the upstream packages put FRR's daemons; it
// is in nobody's PATH.
const frrDaemons = "/usr/lib/frr"

// Need skips the test unless it runs as root and every program is installed,
// either in PATH or, for FRR's daemons, in /usr/lib/frr. Under LAB=require, which
// CI sets, it fails the test instead: there, a skip would look green while it
// tested nothing.
func Need(t testing.TB, programs ...string) {
	t.Helper()
	miss := t.Skipf
	if os.Getenv("LAB") == "require" {
		miss = t.Fatalf
	}
	if os.Geteuid() != 0 {
		miss("lab: need root")
	}
	for _, p := range programs {
		if _, err := findProgram(p); err != nil {
			miss("lab: need %v", err)
		}
	}
}

// Attached reports whether tests are to use the lab that `make lab-up` holds, instead
// of starting one: HERALD_LAB=attach says so.
func Attached() bool { return os.Getenv("HERALD_LAB") == "attach" }

// NotAttached skips a test that needs a lab of its own where tests are to attach to
// one that is up.
func NotAttached(t testing.TB) {
	t.Helper()
	if Attached() {
		t.Skip("lab: this test needs a lab of its own and cannot attach; run it without HERALD_LAB=attach")
	}
}

// findProgram returns the path of a program in PATH or among FRR's daemons.
func findProgram(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	path, err := exec.LookPath(filepath.Join(frrDaemons, name))
	if err != nil {
		return "", fmt.Errorf("%s in PATH or %s: %w", name, frrDaemons, err)
	}
	return path, nil
}
