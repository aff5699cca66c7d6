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

// watch wakes the workers when the socket of their daemon comes or goes, until ctx
// ends. It waits for a run directory that does not exist yet.
func (a *Applier) watch(ctx context.Context) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		// The retries and checks of the workers find a restarted daemon later.
		a.opts.Logger.Warn("run directory not watched", "err", err)
		return nil
	}
	defer w.Close()

	retry := time.NewTimer(0)
	defer retry.Stop()
	missed := false // daemons may have started while nothing was watched
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-retry.C:
			if err := w.Add(a.opts.RunDir); err != nil {
				retry.Reset(rewatch)
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
					retry.Reset(rewatch)
				}
			case e.Has(fsnotify.Create), e.Has(fsnotify.Remove):
				a.restarted(filepath.Base(e.Name))
			}
		case err := <-w.Errors:
			// Events were lost: any daemon may have restarted.
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
