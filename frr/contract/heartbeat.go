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

// Heartbeat leaves a sign of life for the FRR container at each HeartbeatInterval, until
// ctx ends; then it returns nil. The file stays when an agent ends: the next agent has
// the time of herald-frr's --agent-timeout to take over.
func Heartbeat(ctx context.Context, dir string, log *slog.Logger) error {
	every := time.NewTicker(HeartbeatInterval)
	defer every.Stop()
	failed := false
	for {
		if err := Beat(dir); err != nil && !failed {
			log.Warn("sign of life not written", "err", err)
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

// lastAge is how long a call of BeatLast counts.
const lastAge = 3 * time.Second

// BeatLast tells the FRR container that no other node is known to announce some of
// this node's routes. The container may be about to stop, and waits for that.
func BeatLast(dir string) error { return touch(dir, LastFile) }

// EndLast revokes BeatLast.
func EndLast(dir string) error {
	err := os.Remove(filepath.Join(dir, LastFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// A LastWatch reports whether an agent calls BeatLast. It is not safe for concurrent use.
type LastWatch struct {
	Dir string // required

	looked bool
	beat   time.Time // the time of the file
	seen   time.Time // when it was seen to change; zero: it is old
}

// Is reports whether BeatLast was called within the last 3 s, and EndLast was not called
// after it. The first call goes by the clock. Later ones go by whether the file's time
// changes, so that a clock that is set has no effect.
func (w *LastWatch) Is(now time.Time) bool {
	first := !w.looked
	w.looked = true
	info, err := os.Stat(filepath.Join(w.Dir, LastFile))
	if err != nil {
		w.beat, w.seen = time.Time{}, time.Time{}
		return false
	}
	if at := info.ModTime(); !at.Equal(w.beat) {
		w.beat, w.seen = at, now
		if first && now.Sub(at).Abs() >= lastAge {
			w.seen = time.Time{}
		}
	}
	return !w.seen.IsZero() && now.Sub(w.seen) < lastAge
}

// touch sets the time of a file, and creates it if necessary.
func touch(dir, name string) error {
	path := filepath.Join(dir, name)
	now := time.Now()
	err := os.Chtimes(path, now, now)
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	// The file does not exist, or an agent that ran as another user left it.
	return ReplaceFile(path, nil)
}

// LastBeat returns the time of the last sign of life of an agent, zero if there was
// none.
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
