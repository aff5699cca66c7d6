// SPDX-License-Identifier: Apache-2.0

package sidecar

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/heraldlb/herald/frr/conf"
	"github.com/heraldlb/herald/frr/vty"
	"github.com/heraldlb/herald/wake"
)

const (
	// firstRestart and lastRestart bound the pause between the end of a daemon and
	// its next start. The pause doubles unless the daemon stayed up for stableAfter.
	firstRestart = 200 * time.Millisecond
	lastRestart  = 10 * time.Second
	stableAfter  = time.Minute

	// probeEvery is the time between two probes of a daemon, and probeSoon that
	// while it starts.
	probeEvery   = 2 * time.Second
	probeSoon    = 20 * time.Millisecond
	probeTimeout = 2 * time.Second

	// endGrace is how long a daemon has after SIGTERM.
	endGrace = 5 * time.Second
)

// A child is one of FRR's daemons.
type child struct {
	name     string
	opts     *SupervisorOptions
	socket   string
	onDemand bool // not wanted at first
	log      *slog.Logger

	first    chan struct{} // closed when it has answered for the first time
	announce sync.Once     // closes first
	wake     wake.Signal   // wanted has changed

	mu     sync.Mutex // guards the fields below
	wanted bool
	kill   bool          // end it by SIGKILL
	up     bool          // it answers
	ready  bool          // it has read frr.conf
	serves bool          // it has been ready since it was last wanted
	failed bool          // it ended by itself or hung, and has not been started since
	again  int           // how often it was started after that
	ended  chan struct{} // closed when the process has ended; nil before the first start
}

// want sets whether the daemon is to run. If not, kill says whether it ends by
// SIGKILL, without a message to its peers.
func (c *child) want(run, kill bool) {
	c.mu.Lock()
	c.wanted, c.kill = run, kill
	c.serves = c.serves && run
	c.mu.Unlock()
	c.wake.Set()
}

// awaitEnd returns when the daemon has ended.
func (c *child) awaitEnd(ctx context.Context) {
	c.mu.Lock()
	ended := c.ended
	c.mu.Unlock()
	if ended == nil {
		return
	}
	select {
	case <-ended:
	case <-ctx.Done():
	}
}

func (c *child) isWanted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wanted
}

func (c *child) health() Health {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Health{
		Name: c.name, Up: c.up, Ready: c.up && c.ready, Withdrawn: !c.wanted && !c.onDemand, Idle: !c.wanted && c.onDemand,
		Restarts: c.again,
	}
}

// keep runs the daemon while it is wanted, until ctx ends.
func (c *child) keep(ctx context.Context) {
	pause := firstRestart
	for ctx.Err() == nil {
		if !c.isWanted() {
			select {
			case <-ctx.Done():
			case <-c.wake:
			}
			continue
		}
		since := time.Now()
		err := c.runOnce(ctx)
		if ctx.Err() != nil || !c.isWanted() {
			continue
		}
		if time.Since(since) > stableAfter {
			pause = firstRestart
		}
		c.mu.Lock()
		c.failed = c.ended != nil // it has been started
		c.mu.Unlock()
		c.log.Warn("daemon ended", "err", err, "restart", pause)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, lastRestart)
	}
}

// runOnce starts the daemon and returns when it has ended. The daemon ends by
// itself, or is ended because it is no longer wanted or does not answer.
func (c *child) runOnce(ctx context.Context) error {
	if err := os.Remove(c.socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	args := append(append([]string(nil), c.opts.Args...), c.opts.Own[c.name]...)
	p, err := c.opts.Host.Start(filepath.Join(c.opts.DaemonDir, c.name), args...)
	if err != nil {
		return err
	}
	ended := make(chan struct{})
	var end error
	go func() {
		end = p.Wait()
		close(ended)
	}()
	c.mu.Lock()
	if c.failed {
		c.failed = false
		c.again++
	}
	c.ended = ended
	c.mu.Unlock()
	life, cancel := context.WithCancel(ctx)
	silent, monitored := make(chan struct{}), make(chan struct{})
	go func() {
		c.monitor(life, silent)
		close(monitored)
	}()
	defer func() {
		cancel()
		<-monitored // what it finds out about this process must not count for the next
		c.mu.Lock()
		c.up, c.ready = false, false
		c.mu.Unlock()
	}()
	for {
		select {
		case <-ended:
			if end == nil {
				end = errors.New("exit status 0")
			}
			return end
		case <-silent:
			c.finish(p, ended, true)
			return errors.New("no answer on its vty socket")
		case <-ctx.Done():
			c.finish(p, ended, false)
			return nil
		case <-c.wake:
			c.mu.Lock()
			wanted, kill := c.wanted, c.kill
			c.mu.Unlock()
			if !wanted {
				c.finish(p, ended, kill)
				return nil
			}
		}
	}
}

// finish ends the process.
func (c *child) finish(p Process, ended <-chan struct{}, kill bool) {
	if !kill {
		// A stopped process does not receive SIGTERM. It is no error if the process has
		// ended already.
		_ = p.Signal(syscall.SIGCONT)
		_ = p.Signal(syscall.SIGTERM)
		select {
		case <-ended:
			return
		case <-time.After(endGrace):
			c.log.Warn("daemon killed", "reason", "it did not end")
		}
	}
	_ = p.Signal(syscall.SIGKILL)
	<-ended
}

// monitor loads frr.conf once the daemon answers, and then probes it until ctx
// ends. It closes silent when the daemon has not answered for too long.
func (c *child) monitor(ctx context.Context, silent chan<- struct{}) {
	last := time.Now()
	pause := probeSoon
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		if err := c.probe(ctx); err != nil {
			if time.Since(last) > c.opts.Hang {
				close(silent)
				return
			}
			c.setUp(false)
			continue
		}
		last = time.Now()
		if c.setUp(true) {
			c.load(ctx)
		}
		pause = probeEvery
	}
}

// setUp records whether the daemon answers, and reports whether frr.conf has to be
// loaded.
func (c *child) setUp(up bool) (load bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.up = up
	if !up {
		return false
	}
	c.announce.Do(func() { close(c.first) })
	return !c.ready
}

// probe connects to the daemon's vty socket.
func (c *child) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	conn, err := vty.Dial(ctx, c.socket)
	if err != nil {
		return err
	}
	return conn.Close()
}

// load has vtysh read frr.conf into the daemon, as FRR's start script does. The
// agent applies the same text, and reports the lines that FRR refuses.
func (c *child) load(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	out, err := c.opts.Host.Output(ctx, "vtysh", "-b", "-d", c.name)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		c.log.Warn("frr.conf not loaded completely", "err", err, "output", conf.Redact(out))
	}
	c.mu.Lock()
	c.ready, c.serves = true, c.wanted
	c.mu.Unlock()
	c.log.Info("daemon runs")
	if c.opts.Loaded != nil {
		c.opts.Loaded()
	}
}
