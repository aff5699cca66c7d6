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
	"time"

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
	current, err := readSecret(filepath.Join(dir, keyFile))
	if err != nil {
		return nil, err
	}
	previous, err := readSecret(filepath.Join(dir, previousFile))
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && previous == current:
		return [][]byte{members.Key(current)}, nil
	case err != nil:
		return nil, err
	}
	return [][]byte{members.Key(current), members.Key(previous)}, nil
}

// readSecret returns the content of a file of the Secret.
func readSecret(path string) (string, error) {
	content, err := os.ReadFile(path)
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
	for _, name := range []string{keyFile, previousFile} {
		g.Go(func() error { return configfile.New(filepath.Join(k.dir, name), news.Set).Run(ctx) })
	}
	g.Go(func() error {
		// The files may change again while both are read: look now and then.
		tick := time.NewTicker(5 * time.Second)
		defer tick.Stop()
		last := "" // what was read
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-news:
			case <-tick.C:
			}
			keys, err := readKeys(k.dir)
			read := fmt.Sprintf("%x %v", keys, err)
			if read == last {
				continue
			}
			last = read
			if err := k.set(keys, err); err != nil {
				k.log.Error("key of gossip refused: the one so far stays in force", "err", err)
			}
		}
	})
	return g.Wait()
}
