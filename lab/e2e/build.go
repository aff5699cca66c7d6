// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/heraldlb/herald/lab"
)

// Build builds Herald's programs, so that no test runs what is older than the
// source, and returns where they are. It takes a second or two if nothing has
// changed. herald-kube is kept up to date too, but not built where there is none:
// that takes minutes.
func Build(t testing.TB) (bin string) {
	t.Helper()
	bin, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// build runs make once a process. Of several areas, one builds and the others wait.
var build = sync.OnceValues(func() (string, error) {
	root, err := lab.Root()
	if err != nil {
		return "", fmt.Errorf("build Herald's programs: %w", err)
	}
	bin := filepath.Join(root, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return "", fmt.Errorf("build Herald's programs: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(bin, ".build.lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", fmt.Errorf("build Herald's programs: %w", err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return "", fmt.Errorf("build Herald's programs: lock %s: %w", lock.Name(), err)
	}
	target := "build"
	// A link is to the herald-kube of another checkout.
	if kube, err := os.Lstat(filepath.Join(bin, "lab/herald-kube")); err == nil && kube.Mode().IsRegular() {
		target = "lab-bin"
	}
	if out, err := exec.Command("make", "-s", "-C", root, target).CombinedOutput(); err != nil {
		return "", fmt.Errorf("build Herald's programs: make %s: %w: %s", target, err, bytes.TrimSpace(out))
	}
	return bin, nil
})
