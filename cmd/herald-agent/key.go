// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/heraldlb/herald/cmd/internal/configfile"
	"github.com/heraldlb/herald/l2/members"
	"github.com/heraldlb/herald/wake"
)

// Files of the mounted Secret. The second one is optional: an agent that starts while the
// key is replaced accepts both.
const (
	keyFile      = "secretkey"
	previousFile = "secretkey-previous"
)

// readKeys returns the keys that encrypt gossip, the one to send with first; none without
// a directory.
func readKeys(dir string) ([][]byte, error) {
	if dir == "" {
		return nil, nil
	}
	return keysOf(dir, os.ReadFile)
}

// keysOf returns the keys in the files of a directory.
func keysOf(dir string, read func(path string) ([]byte, error)) ([][]byte, error) {
	current, err := secret(filepath.Join(dir, keyFile), read)
	if err != nil {
		return nil, err
	}
	previous, err := secret(filepath.Join(dir, previousFile), read)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, configfile.ErrNotFound) || err == nil && previous == current:
		return [][]byte{members.Key(current)}, nil
	case err != nil:
		return nil, err
	}
	return [][]byte{members.Key(current), members.Key(previous)}, nil
}

// secret returns the content of a file of the Secret.
func secret(path string, read func(path string) ([]byte, error)) (string, error) {
	content, err := read(path)
	if err != nil {
		return "", fmt.Errorf("%w: put the key of gossip into %s of the Secret that is mounted there", err, filepath.Base(path))
	}
	text := strings.TrimSpace(string(content))
	if text == "" {
		return "", fmt.Errorf("%s is empty: put the key of gossip into %s of the Secret that is mounted there", path, filepath.Base(path))
	}
	return text, nil
}

// keyFollower reads the keys of gossip again when their files change. If they cannot be
// read, the keys so far stay in force.
type keyFollower struct {
	dir string // empty: there is nothing to read
	set func(keys [][]byte, err error) error
	log *slog.Logger
}

// run follows the files until the context is canceled.
func (k *keyFollower) run(ctx context.Context) error {
	if k.dir == "" {
		<-ctx.Done()
		return nil
	}
	news := wake.New()
	g, ctx := errgroup.WithContext(ctx)
	files := map[string]*configfile.File{}
	for _, name := range []string{keyFile, previousFile} {
		path := filepath.Join(k.dir, name)
		f := configfile.New(path, news.Set)
		files[path] = f
		g.Go(func() error { return f.Run(ctx) })
	}
	g.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-news:
			}
			k.look(files)
		}
	})
	return g.Wait()
}

// look sets the keys that the files have, once both were read.
func (k *keyFollower) look(files map[string]*configfile.File) {
	for _, f := range files {
		if _, read := f.Document(); !read {
			return
		}
	}
	keys, err := keysOf(k.dir, func(path string) ([]byte, error) {
		doc, _ := files[path].Document()
		if doc.Err != nil {
			return nil, &fs.PathError{Op: "read", Path: path, Err: doc.Err}
		}
		return doc.Text, nil
	})
	if err := k.set(keys, err); err != nil {
		k.log.Error("key of gossip refused: the one so far stays in force", "err", err)
	}
}
