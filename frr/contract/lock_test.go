// SPDX-License-Identifier: Apache-2.0

package contract_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/heraldlb/herald/frr/contract"
)

// One agent at a time drives an FRR. What a crashed agent leaves stops nobody.
func TestLock(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, contract.LockFile), []byte("pod crashed, which had a longer name\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	first, err := contract.Lock(dir, "pod a")
	if err != nil {
		t.Fatal(err)
	}
	_, err = contract.Lock(dir, "pod b")
	if !errors.Is(err, contract.ErrInUse) || !strings.Contains(err.Error(), ": pod a; stop one of them") {
		t.Errorf("got %v, want that pod a drives FRR", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := contract.Lock(dir, "pod b")
	if err != nil {
		t.Fatalf("after the first has ended: %v", err)
	}
	second.Close()
	if _, err := contract.Lock(filepath.Join(dir, "absent"), "pod c"); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, contract.ErrInUse) {
		t.Errorf("got %v, want that the directory does not exist", err)
	}
}
