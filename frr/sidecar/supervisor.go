// SPDX-License-Identifier: Apache-2.0

package sidecar

import (
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/heraldlb/herald/frr/conf"
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

// awaitEvery is the time between two looks whether a daemon is ready.
const awaitEvery = 20 * time.Millisecond

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

	mu       sync.Mutex // guards the field below, and is held while it is decided which daemons run
	stopping bool       // none is started any more
}

// NewSupervisor returns a Supervisor. Run starts the daemons, but those of
// conf.OnDemand only once they are needed.
func NewSupervisor(opts SupervisorOptions) *Supervisor {
	s := &Supervisor{opts: opts}
	for _, name := range opts.Daemons {
		s.daemons = append(s.daemons, &child{
			name:     name,
			opts:     &s.opts,
			socket:   filepath.Join(opts.RunDir, name+".vty"),
			onDemand: slices.Contains(conf.OnDemand, name),
			log:      opts.Logger.With("daemon", name),
			first:    make(chan struct{}),
			wake:     wake.New(),
			wanted:   !slices.Contains(conf.OnDemand, name),
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
	s.mu.Lock()
	s.stopping = true
	s.mu.Unlock()
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
func (s *Supervisor) Withdraw(withdraw bool) { s.want(bgpd, !withdraw) }

// Need starts a daemon that runs on demand, or ends it.
func (s *Supervisor) Need(name string, run bool) { s.want(name, run) }

// want sets whether a daemon is to run.
func (s *Supervisor) want(name string, run bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.child(name); c != nil && !s.stopping && c.isWanted() != run {
		c.want(run, false)
	}
}

// child returns a daemon; nil if FRR has none of that name.
func (s *Supervisor) child(name string) *child {
	i := slices.IndexFunc(s.daemons, func(c *child) bool { return c.name == name })
	if i < 0 {
		return nil
	}
	return s.daemons[i]
}

// Runs reports whether a daemon is to run.
func (s *Supervisor) Runs(name string) bool {
	c := s.child(name)
	return c != nil && c.isWanted()
}

// Serves reports whether a daemon is to run and has been ready since. One that is just
// being started is not asked for anything yet.
func (s *Supervisor) Serves(name string) bool {
	c := s.child(name)
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.serves
}

// Await returns when each daemon that runs on demand is ready if it is to run, or when
// ctx ends.
func (s *Supervisor) Await(ctx context.Context) {
	look := time.NewTicker(awaitEvery)
	defer look.Stop()
	for slices.ContainsFunc(s.daemons, func(c *child) bool {
		return c.onDemand && c.isWanted() && !c.health().Ready
	}) {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
	}
}

// A Health says how a daemon is.
type Health struct {
	Name      string
	Up        bool // it answers on its vty socket
	Ready     bool // and has read frr.conf
	Withdrawn bool // it is kept from running
	Idle      bool // nothing needs it
	Restarts  int  // after it ended by itself or hung
}

// Health says how the daemons are, in the order of their start.
func (s *Supervisor) Health() []Health {
	var all []Health
	for _, c := range s.daemons {
		all = append(all, c.health())
	}
	return all
}
