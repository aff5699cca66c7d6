// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"os"
	"testing"

	"github.com/heraldlb/herald/lab/need"
)

// frrDaemons is where Debian and the upstream packages put FRR's daemons; it
// is in nobody's PATH.
const frrDaemons = "/usr/lib/frr"

// Need says that a test runs as root and which programs it needs, in PATH or, for FRR's
// daemons, in /usr/lib/frr.
func Need(t testing.TB, programs ...string) {
	t.Helper()
	need.Root(t)
	for _, p := range programs {
		need.Program(t, p, frrDaemons)
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
