// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/heraldlb/herald/frr"
)

const (
	bgpd = "bgpd"

	// loadTimeout bounds the loading of frr.conf into one daemon.
	loadTimeout = time.Minute
)

// leaders are the daemons that the others look for when they start, once, and
// then not again for ten seconds.
var leaders = map[string]bool{"mgmtd": true, "zebra": true}

type supervisorOptions struct {
	Host      host                // required
	Daemons   []string            // required: in the order of their start
	DaemonDir string              // required: of their programs
	RunDir    string              // required: of their vty sockets
	Args      []string            // optional: for each of them
	Own       map[string][]string // optional: more for one of them
	Hang      time.Duration       // required: restart a daemon that does not answer for so long
	Stop      stopMode            // required
	StopWait  time.Duration       // optional
	Last      func() bool         // optional: reports whether no other node announces some route
	Loaded    func()              // optional: called when a daemon has been started and has read frr.conf
	Logger    *slog.Logger        // required
}

// A supervisor keeps FRR's daemons running, and ends them.
type supervisor struct {
	opts    supervisorOptions
	daemons []*child
}

func newSupervisor(opts supervisorOptions) *supervisor {
	s := &supervisor{opts: opts}
	for _, name := range opts.Daemons {
		s.daemons = append(s.daemons, &child{
			name:   name,
			opts:   &s.opts,
			socket: filepath.Join(opts.RunDir, name+".vty"),
			log:    opts.Logger.With("daemon", name),
			first:  make(chan struct{}),
			wake:   make(chan struct{}, 1),
			wanted: true,
		})
	}
	return s
}

// run starts the daemons and keeps them running until ctx ends; then it ends them
// as the options say.
func (s *supervisor) run(ctx context.Context) error {
	// The daemons outlive ctx by the time that ending them takes.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	var all sync.WaitGroup
	for _, c := range s.daemons {
		all.Go(func() { c.keep(life) })
		if !leaders[c.name] {
			continue
		}
		select {
		case <-c.first:
		case <-ctx.Done():
		}
	}
	<-ctx.Done()
	s.stop(context.WithoutCancel(ctx))
	end()
	all.Wait()
	return nil
}

// stop takes leave of the peers, and then ends the daemons, bgpd first.
func (s *supervisor) stop(ctx context.Context) {
	mode := s.farewell(ctx)
	s.opts.Logger.Info("stopping", "how", string(mode))
	for i := len(s.daemons) - 1; i >= 0; i-- {
		c := s.daemons[i]
		// bgpd that gets SIGTERM closes its sessions, and the peers drop the routes
		// at once. One that is killed leaves them to the peers' restart timers.
		c.want(false, c.name == bgpd && mode == stopGracefulRestart)
		if c.name == bgpd {
			c.gone(ctx)
		}
	}
	for _, c := range s.daemons {
		c.gone(ctx)
	}
}

// withdraw ends bgpd, so that the peers drop all routes at once, or lets it run
// again.
func (s *supervisor) withdraw(yes bool) {
	for _, c := range s.daemons {
		if c.name == bgpd {
			c.want(!yes, false)
		}
	}
}

// A condition says how a daemon is.
type condition struct {
	Name      string
	Up        bool // it answers on its vty socket
	Ready     bool // and has read frr.conf
	Withdrawn bool // it is not to run
	Restarts  int
	Answered  time.Time
}

// conditions says how the daemons are, in their order.
func (s *supervisor) conditions() []condition {
	var all []condition
	for _, c := range s.daemons {
		all = append(all, c.condition())
	}
	return all
}

// reader returns a way to ask FRR.
func (s *supervisor) reader() *frr.Reader { return frr.NewReader(s.opts.RunDir) }
