// SPDX-License-Identifier: Apache-2.0

package frr

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

// rewatch is the time between two attempts to watch a directory that is not there.
const rewatch = time.Second

// watch tells the workers when the socket of their daemon comes or goes, until ctx
// ends. A run directory that does not exist yet is waited for.
func (a *Applier) watch(ctx context.Context) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		// The workers' own retries and checks find a restarted daemon too, later.
		a.opts.Logger.Warn("run directory not watched", "err", err)
		return nil
	}
	defer w.Close()

	again := time.NewTimer(0)
	defer again.Stop()
	missed := false // daemons may have come while nobody watched
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-again.C:
			if err := w.Add(a.opts.RunDir); err != nil {
				again.Reset(rewatch)
				missed = true
			} else if missed {
				missed = false
				a.restarted("")
			}
		case e, ok := <-w.Events:
			if !ok {
				return fmt.Errorf("watch %s: closed", a.opts.RunDir)
			}
			switch {
			case filepath.Clean(e.Name) == filepath.Clean(a.opts.RunDir):
				if e.Has(fsnotify.Remove) {
					again.Reset(rewatch)
				}
			case e.Has(fsnotify.Create), e.Has(fsnotify.Remove):
				a.restarted(filepath.Base(e.Name))
			}
		case err := <-w.Errors:
			// Events were lost: look at every daemon.
			a.opts.Logger.Debug("run directory watch", "err", err)
			a.restarted("")
		}
	}
}

// restarted wakes the worker of the daemon with the socket; all of them if socket
// is empty.
func (a *Applier) restarted(socket string) {
	for _, w := range a.workers {
		if d, ok := w.target.(*daemon); ok && (socket == "" || slices.Contains(sockets(d.name), socket)) {
			w.restarted.Set()
		}
	}
}
