// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// confMode lets FRR's group read the file, which has passwords in it.
const confMode = 0o640

// ReplaceFile writes a file so that others see the old text or the new one, never a
// part of it. FRR's group may read the file.
func ReplaceFile(path string, text []byte) error { return place(path, text, os.Rename) }

// CreateFile is like ReplaceFile, but leaves a file alone that exists.
func CreateFile(path string, text []byte) error {
	return place(path, text, func(tmp, path string) error {
		if err := os.Link(tmp, path); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		return os.Remove(tmp)
	})
}

// place writes a text to a temporary file, and puts that in place. An error names path
// alone: the name of the temporary file differs each time, and errors are compared.
func place(path string, text []byte, put func(tmp, path string) error) error {
	if err := write(path, text, put); err != nil {
		return fmt.Errorf("write %s: %w", path, Cause(err))
	}
	return nil
}

func write(path string, text []byte, put func(tmp, path string) error) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".frr.conf-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(tmp.Name())
		}
	}()
	// FRR may run as another user, who can read the file by the folder's group.
	if dir, err := os.Stat(filepath.Dir(path)); err == nil {
		if st, ok := dir.Sys().(*syscall.Stat_t); ok {
			_ = tmp.Chown(-1, int(st.Gid)) // not permitted: FRR starts as root then
		}
	}
	if _, err = tmp.Write(text); err == nil {
		err = cmp.Or(tmp.Chmod(confMode), tmp.Sync())
	}
	if err = cmp.Or(err, tmp.Close()); err != nil {
		return err
	}
	return put(tmp.Name(), path)
}

// Cause returns an error of a file operation without the operation and the names.
func Cause(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err
	}
	return err
}
