// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

// HeartbeatInterval is the time between two signs of life of an agent.
const HeartbeatInterval = 10 * time.Second

// Heartbeat tells the FRR container again and again, by a file in the folder that
// they share, that an agent is there, until ctx ends; then it returns nil. An
// agent that ends leaves the file: the next one has until herald-frr's
// --agent-timeout to take over.
func Heartbeat(ctx context.Context, dir string, log *slog.Logger) error {
	every := time.NewTicker(HeartbeatInterval)
	defer every.Stop()
	failed := false
	for {
		if err := Beat(dir); err != nil && !failed {
			log.Warn("no sign of life left for FRR", "err", err)
			failed = true
		} else if err == nil {
			failed = false
		}
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
		}
	}
}

// Beat leaves one sign of life.
func Beat(dir string) error { return touch(dir, HeartbeatFile) }

// lastAge is how long what BeatLast says counts.
const lastAge = 3 * time.Second

// BeatLast tells the FRR container, which may be about to stop as well, that there
// are routes that no other node was seen to announce.
func BeatLast(dir string) error { return touch(dir, LastFile) }

// EndLast takes that back.
func EndLast(dir string) error {
	err := os.Remove(filepath.Join(dir, LastFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// IsLast reports whether BeatLast was called within the last 3 s, and EndLast was not
// since.
func IsLast(dir string, now time.Time) bool {
	info, err := os.Stat(filepath.Join(dir, LastFile))
	return err == nil && now.Sub(info.ModTime()).Abs() < lastAge
}

// touch sets the time of a file, which it makes if need be.
func touch(dir, name string) error {
	path := filepath.Join(dir, name)
	now := time.Now()
	err := os.Chtimes(path, now, now)
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	// The file is not there, or an agent that ran as somebody else left it.
	return ReplaceFile(path, nil)
}

// LastBeat returns when an agent left its last sign of life; the zero time if none
// ever did.
func LastBeat(dir string) (time.Time, error) {
	info, err := os.Stat(filepath.Join(dir, HeartbeatFile))
	if errors.Is(err, fs.ErrNotExist) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	return info.ModTime(), nil
}
