// SPDX-License-Identifier: Apache-2.0

package sidecar

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/heraldlb/herald/wake"
)

const (
	bgpd = "bgpd"

	// loadTimeout bounds the loading of frr.conf into one daemon.
	loadTimeout = time.Minute
)

// leaders are the daemons that the others connect to when they start. A daemon
// that finds no leader tries again only after ten seconds.
var leaders = map[string]bool{"mgmtd": true, "zebra": true}

// SupervisorOptions are what a Supervisor works with.
type SupervisorOptions struct {
	Host      Host                // required
	Daemons   []string            // required: in the order of their start
	DaemonDir string              // required: of their programs
	RunDir    string              // required: of their vty sockets
	Args      []string            // optional: for each of them
	Own       map[string][]string // optional: more for one of them
	Hang      time.Duration       // required: restart a daemon that does not answer for so long
	Stop      StopMode            // required
	StopWait  time.Duration       // optional: between the GSHUT community and the end of the sessions
	Last      func() bool         // optional: reports whether no other node announces some route
	Loaded    func()              // optional: called when a daemon has been started and has read frr.conf
	Logger    *slog.Logger        // required
}

// A Supervisor keeps FRR's daemons running, and stops them.
type Supervisor struct {
	opts    SupervisorOptions
	daemons []*child
}

// NewSupervisor returns a Supervisor. Run starts the daemons.
func NewSupervisor(opts SupervisorOptions) *Supervisor {
	s := &Supervisor{opts: opts}
	for _, name := range opts.Daemons {
		s.daemons = append(s.daemons, &child{
			name:   name,
			opts:   &s.opts,
			socket: filepath.Join(opts.RunDir, name+".vty"),
			log:    opts.Logger.With("daemon", name),
			first:  make(chan struct{}),
			wake:   wake.New(),
			wanted: true,
		})
	}
	return s
}

// Run starts the daemons and keeps them running until ctx ends. Then it stops them
// as the options say.
func (s *Supervisor) Run(ctx context.Context) error {
	// The daemons outlive ctx by the time that stopping them takes.
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

// stop prepares the peers and then ends the daemons, bgpd first.
func (s *Supervisor) stop(ctx context.Context) {
	mode := s.preparePeers(ctx)
	s.opts.Logger.Info("stopping", "how", string(mode))
	for i := len(s.daemons) - 1; i >= 0; i-- {
		c := s.daemons[i]
		// On SIGTERM bgpd closes its sessions, and the peers drop the routes at once.
		// If it is killed, the peers keep the routes until their restart timers end.
		c.want(false, c.name == bgpd && mode == StopGracefulRestart)
		if c.name == bgpd {
			c.awaitEnd(ctx)
		}
	}
	for _, c := range s.daemons {
		c.awaitEnd(ctx)
	}
}

// Withdraw ends bgpd, so that the peers drop all routes at once, or lets it run
// again.
func (s *Supervisor) Withdraw(withdraw bool) {
	for _, c := range s.daemons {
		if c.name == bgpd {
			c.want(!withdraw, false)
		}
	}
}

// A Health says how a daemon is.
type Health struct {
	Name      string
	Up        bool // it answers on its vty socket
	Ready     bool // and has read frr.conf
	Withdrawn bool // it is kept from running
	Restarts  int
}

// Health says how the daemons are, in the order of their start.
func (s *Supervisor) Health() []Health {
	var all []Health
	for _, c := range s.daemons {
		all = append(all, c.health())
	}
	return all
}
