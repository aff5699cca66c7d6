// SPDX-License-Identifier: Apache-2.0

// Package configfile reads the configuration from a file, again after each change.
package configfile

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/heraldlb/herald/source"
)

const (
	// quiet is the pause after the last change before the file is read, so that a
	// program that writes it in place has finished.
	quiet = 100 * time.Millisecond
	// poll is how often the file is read without a notification. Its folder may not
	// exist yet, or be on a file system that sends none.
	poll = 5 * time.Second
)

// fileName is the file to read if the path is a directory, as with a mounted
// ConfigMap.
const fileName = "config"

// ErrNotFound is the error of a Document whose file does not exist. A caller that can do
// without the file goes on.
var ErrNotFound = errors.New("not found")

// A File holds the newest content of a file.
type File struct {
	path string
	wake func()

	mu  sync.Mutex       // guards doc
	doc *source.Document // nil: not read yet
}

// New returns a File, which Run reads. The path is that of a file, or of a directory
// with a file named config. Wake is called after every change and must not block.
func New(path string, wake func()) *File { return &File{path: path, wake: wake} }

// Document returns the newest content; read is false before the first one.
func (f *File) Document() (doc source.Document, read bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.doc == nil {
		return doc, false
	}
	return *f.doc, true
}

// Run reads until the context is canceled.
func (f *File) Run(ctx context.Context) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch %s: %w", f.path, err)
	}
	defer w.Close()
	read := time.NewTimer(0)
	defer read.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, ok := <-w.Events:
			if !ok {
				return errors.New("watch ended")
			}
			read.Reset(quiet)
		case <-w.Errors:
			read.Reset(quiet) // events were lost: look
		case <-read.C:
			f.watch(w)
			f.read()
			read.Reset(poll)
		}
	}
}

// watch watches the folder of the file, in which the file may be replaced. If the
// file is a link, it watches the folder of the target too. A folder that does not
// exist is tried again at the next poll.
func (f *File) watch(w *fsnotify.Watcher) {
	path := f.file()
	w.Add(filepath.Dir(path))
	if target, err := filepath.EvalSymlinks(path); err == nil {
		w.Add(filepath.Dir(target))
	}
}

// file returns the path of the file itself.
func (f *File) file() string {
	if info, err := os.Stat(f.path); err == nil && info.IsDir() {
		return filepath.Join(f.path, fileName)
	}
	return f.path
}

func (f *File) read() {
	doc := source.Document{Source: f.path}
	text, err := os.ReadFile(f.file())
	var pathErr *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		doc.Err = ErrNotFound
	case errors.As(err, &pathErr):
		doc.Err = pathErr.Err
	case err != nil:
		doc.Err = err
	default:
		sum := sha256.Sum256(text)
		doc.Version, doc.Text = hex.EncodeToString(sum[:6]), text
	}
	if f.replace(doc) {
		f.wake()
	}
}

// replace sets the content, and reports whether it has changed.
func (f *File) replace(doc source.Document) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	old := f.doc
	f.doc = &doc
	return old == nil || old.Version != doc.Version || fmt.Sprint(old.Err) != fmt.Sprint(doc.Err)
}
