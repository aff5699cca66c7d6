// SPDX-License-Identifier: Apache-2.0

package frr

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// confMode lets FRR's group read the file, which has passwords in it.
const confMode = 0o640

// A confFile is the frr.conf that FRR starts from.
type confFile struct {
	path  string
	token chan struct{} // capacity 1; whoever holds it owns what follows

	known   bool
	content string // of the file, if known
}

func newConfFile(path string) *confFile {
	return &confFile{path: path, token: make(chan struct{}, 1)}
}

func (f *confFile) id() string                { return filepath.Base(f.path) }
func (f *confFile) needed(*wanted) bool       { return true }
func (f *confFile) restart(context.Context)   {}
func (f *confFile) lost(context.Context) bool { return false }

// apply writes the wanted text unless the file has it already.
func (f *confFile) apply(ctx context.Context, w *wanted, check bool) (changed bool, err error) {
	select {
	case f.token <- struct{}{}:
	case <-ctx.Done():
		return false, fmt.Errorf("write %s: %w", f.path, context.Cause(ctx))
	}
	defer func() { <-f.token }()

	if check || !f.known {
		old, err := os.ReadFile(f.path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
		f.content, f.known = string(old), err == nil
	}
	if f.known && f.content == w.text {
		return false, nil
	}
	f.known = false
	if err := ReplaceFile(f.path, []byte(w.text)); err != nil {
		return false, err
	}
	f.content, f.known = w.text, true
	return true, nil
}

// ReplaceFile writes a file so that others see the old text or the new one, and
// never a part. FRR's group may read it.
func ReplaceFile(path string, text []byte) error { return place(path, text, os.Rename) }

// CreateFile is ReplaceFile for a file that is not there; one that is stays.
func CreateFile(path string, text []byte) error {
	return place(path, text, func(tmp, path string) error {
		if err := os.Link(tmp, path); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		return os.Remove(tmp)
	})
}

// place writes a text into a file of its own, and gives that its place.
func place(path string, text []byte, put func(tmp, path string) error) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".frr.conf-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			os.Remove(tmp.Name())
			err = fmt.Errorf("write %s: %w", path, err)
		}
	}()
	// FRR may run as another user, which reads the file by the folder's group.
	if dir, err := os.Stat(filepath.Dir(path)); err == nil {
		if st, ok := dir.Sys().(*syscall.Stat_t); ok {
			_ = tmp.Chown(-1, int(st.Gid)) // not permitted: FRR starts as root then
		}
	}
	_, err = tmp.Write(text)
	err = errors.Join(err, tmp.Chmod(confMode), tmp.Sync(), tmp.Close())
	if err != nil {
		return err
	}
	return put(tmp.Name(), path)
}
