// SPDX-License-Identifier: Apache-2.0

package frr

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/heraldlb/herald/frr/contract"
)

// A confFile is the frr.conf that FRR starts from.
type confFile struct {
	path  string
	token token // its holder owns the fields below

	known   bool
	content string // of the file, if known
}

func newConfFile(path string) *confFile {
	return &confFile{path: path, token: newToken()}
}

func (f *confFile) id() string                { return filepath.Base(f.path) }
func (f *confFile) needed(*wanted) bool       { return true }
func (f *confFile) restart(context.Context)   {}
func (f *confFile) lost(context.Context) bool { return false }

// apply writes the wanted text unless the file has it already.
func (f *confFile) apply(ctx context.Context, w *wanted, check bool) (changed bool, err error) {
	if err := f.token.acquire(ctx); err != nil {
		return false, fmt.Errorf("write %s: %w", f.path, err)
	}
	defer f.token.release()

	if check || !f.known {
		old, err := os.ReadFile(f.path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
		f.content, f.known = string(old), err == nil
	}
	if f.known && f.content == w.text() {
		return false, nil
	}
	f.known = false
	if err := contract.ReplaceFile(f.path, []byte(w.text())); err != nil {
		return false, err
	}
	f.content, f.known = w.text(), true
	return true, nil
}
