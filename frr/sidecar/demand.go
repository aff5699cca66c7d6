// SPDX-License-Identifier: Apache-2.0

package sidecar

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/frr/conf"
	"github.com/heraldlb/herald/frr/contract"
	"github.com/heraldlb/herald/frr/vty"
)

const (
	// linger is how long a daemon runs on after nothing needs it any more. A resource
	// that is deleted and created again does not restart it, and what was configured is
	// removed from it first.
	linger = 10 * time.Second

	// startLimit bounds the wait for daemons that were just started.
	startLimit = 5 * time.Second
)

// texts are the files in the shared folder that FRR's configuration is made of.
var texts = []string{contract.ConfFile, contract.ExtrasFile, contract.ExtrasAppliedFile}

// DemandOptions are what a Demand works with. All of it is required.
type DemandOptions struct {
	Dir        string // the folder shared with the agent
	RunDir     string // of the daemons' vty sockets
	Supervisor *Supervisor
	Logger     *slog.Logger
}

// A Demand has the daemons of conf.OnDemand run only while the configuration has
// something for them: bfdd listens to the network, and staticd would run for nothing.
type Demand struct {
	opts DemandOptions

	mu   sync.Mutex           // guards the fields below, and is held while files are read
	used map[string]bool      // the texts have something for the daemon
	last map[string]time.Time // when a text that does was last looked at
}

// NewDemand returns a Demand. Look has it look for the first time.
func NewDemand(opts DemandOptions) *Demand {
	return &Demand{opts: opts, used: make(map[string]bool), last: make(map[string]time.Time)}
}

// Run looks at the texts whenever one changes, until ctx ends.
func (d *Demand) Run(ctx context.Context) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return err
	}
	defer w.Close()
	if err := w.Add(d.opts.Dir); err != nil {
		return fmt.Errorf("watch %s: %w", d.opts.Dir, err)
	}
	d.Look() // a text may have changed before the folder was watched
	every := time.NewTicker(lookEvery)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case event := <-w.Events:
			if slices.Contains(texts, filepath.Base(event.Name)) {
				d.Look()
			}
		case err := <-w.Errors:
			d.opts.Logger.Debug("folder watch", "err", err)
			d.Look()
		case <-every.C:
			d.retire(ctx)
		}
	}
}

// Look reads the texts, and starts the daemons that they need. If one cannot be read,
// those run that ran before.
func (d *Demand) Look() {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all strings.Builder
	for _, name := range texts {
		text, err := os.ReadFile(filepath.Join(d.opts.Dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			d.opts.Logger.Warn("not known which daemons are needed", "err", err)
			return
		}
		all.Write(text)
		all.WriteByte('\n')
	}
	now := time.Now()
	for _, name := range conf.OnDemand {
		before := d.used[name]
		d.used[name] = conf.Uses(all.String(), name)
		if d.used[name] || before {
			d.last[name] = now
		}
		if d.used[name] && !d.opts.Supervisor.Runs(name) {
			d.opts.Logger.Info("daemon needed", "daemon", name)
			d.opts.Supervisor.Need(name, true)
		}
	}
}

// retire ends the daemons that nothing has needed for a while.
func (d *Demand) retire(ctx context.Context) {
	for _, name := range conf.OnDemand {
		if !d.unneeded(name) {
			continue
		}
		guards := name == conf.BFDD && d.guards(ctx)
		d.mu.Lock()
		switch {
		case d.used[name]: // by now
		case guards:
			d.last[name] = time.Now()
		default:
			d.opts.Logger.Info("daemon no longer needed", "daemon", name)
			d.opts.Supervisor.Need(name, false)
		}
		d.mu.Unlock()
	}
}

// unneeded reports whether a daemon runs that no text has needed for a while.
func (d *Demand) unneeded(name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.used[name] && d.opts.Supervisor.Runs(name) && time.Since(d.last[name]) >= linger
}

// guards reports whether bfdd has sessions though no text has BFD: the agent has not
// removed them yet. Without bfdd they would go down, and BGP with them.
func (d *Demand) guards(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	conn, err := vty.Dial(ctx, filepath.Join(d.opts.RunDir, conf.BFDD+".vty"))
	if err != nil {
		return false // it ends anyway
	}
	defer conn.Close()
	text, err := conn.Run(ctx, "show bfd peers json")
	if err != nil {
		return false
	}
	peers, err := frr.DecodeBFD([]byte(text))
	return err != nil || len(peers) > 0
}

// Started returns when the daemons run that the texts need now, after at most a few
// seconds.
func (d *Demand) Started(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	d.Look()
	d.opts.Supervisor.Await(ctx)
}
