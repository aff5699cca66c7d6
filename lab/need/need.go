// SPDX-License-Identifier: Apache-2.0

// Package need says what a test needs of its machine. A test without it is skipped, or
// fails under LAB=require, which CI sets: there, a skip would look green while it tested
// nothing.
package need

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Root says that a test runs as root.
func Root(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		miss(t, "need root")
	}
}

// Program says that a test runs a program, which is in PATH or in one of more folders.
func Program(t testing.TB, name string, folders ...string) {
	t.Helper()
	var err error
	for _, folder := range append([]string{""}, folders...) {
		if _, err = exec.LookPath(filepath.Join(folder, name)); err == nil {
			return
		}
	}
	miss(t, fmt.Sprintf("need %s: %v", name, err))
}

// miss ends a test that lacks something.
func miss(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("LAB") == "require" {
		t.Fatal(what)
	}
	t.Skip(what)
}
