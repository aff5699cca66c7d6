// SPDX-License-Identifier: Apache-2.0

package configfile_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/heraldlb/herald/cmd/internal/configfile"
)

// start reads a path until the test ends, and returns a function that waits
// until the content is this text, or the error that.
func start(t *testing.T, path string) (expect func(what, text, reason string)) {
	t.Helper()
	woken := make(chan struct{}, 1)
	f := configfile.New(path, func() {
		select {
		case woken <- struct{}{}:
		default:
		}
	})
	if _, read := f.Document(); read {
		t.Error("read before it ran")
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- f.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return func(what, text, reason string) {
		t.Helper()
		deadline := time.After(20 * time.Second)
		for {
			if doc, read := f.Document(); read {
				err := ""
				if doc.Err != nil {
					err = doc.Err.Error()
				}
				if string(doc.Text) == text && err == reason {
					return
				}
			}
			select {
			case <-woken:
			case <-deadline:
				doc, read := f.Document()
				t.Fatalf("%s: the document is %q, %v, read %v; want %q, %q", what, doc.Text, doc.Err, read, text, reason)
			}
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "herald.yaml")
	expect := start(t, path)
	expect("before there is one", "", "not found")
	write(t, path, "one")
	expect("created", "one", "")
	write(t, path, "two")
	expect("written in place", "two", "")
	write(t, path+"~", "three")
	must(t, os.Rename(path+"~", path))
	expect("replaced, as editors do", "three", "")
	write(t, path, " \n")
	expect("emptied", " \n", "")
	must(t, os.Remove(path))
	expect("removed", "", "not found")
	write(t, path, "four")
	expect("created again", "four", "")
}

// A ConfigMap is mounted as a link to a link, which the kubelet replaces.
func TestMountedConfigMap(t *testing.T) {
	dir := t.TempDir()
	version := func(name, text string) {
		t.Helper()
		must(t, os.Mkdir(filepath.Join(dir, name), 0o755))
		write(t, filepath.Join(dir, name, "config"), text)
		must(t, os.Symlink(name, filepath.Join(dir, "..data_tmp")))
		must(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
	}
	version("..1", "one")
	must(t, os.Symlink("..data/config", filepath.Join(dir, "config")))
	expect := start(t, dir)
	expect("mounted", "one", "")
	version("..2", "two")
	must(t, os.RemoveAll(filepath.Join(dir, "..1")))
	expect("swapped", "two", "")
	version("..3", "three")
	must(t, os.RemoveAll(filepath.Join(dir, "..2")))
	expect("swapped again", "three", "")
}

func TestLinkElsewhere(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	path := filepath.Join(dir, "herald.yaml")
	target := filepath.Join(elsewhere, "real.yaml")
	write(t, target, "one")
	must(t, os.Symlink(target, path))
	expect := start(t, path)
	expect("linked", "one", "")
	write(t, target, "two")
	expect("its target is written", "two", "")
}
