// SPDX-License-Identifier: Apache-2.0

package main

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
)

const (
	// firstRestart and lastRestart bound the time between the end of a daemon and
	// its next start; it doubles while it does not stay up for steadyAfter.
	firstRestart = 200 * time.Millisecond
	lastRestart  = 10 * time.Second
	steadyAfter  = time.Minute

	// askEvery is the time between two questions whether a daemon answers, and
	// askSoon that while it starts.
	askEvery   = 2 * time.Second
	askSoon    = 20 * time.Millisecond
	askTimeout = 2 * time.Second

	// endGrace is how long a daemon has after SIGTERM.
	endGrace = 5 * time.Second
)

// A child is one of FRR's daemons.
type child struct {
	name   string
	opts   *supervisorOptions
	socket string
	log    *slog.Logger

	first    chan struct{} // closed when it has answered for the first time
	announce sync.Once     // closes first
	wake     chan struct{} // capacity 1: wanted has changed

	mu       sync.Mutex // guards the fields below
	wanted   bool
	kill     bool          // end it by SIGKILL
	up       bool          // it answers
	ready    bool          // it has read frr.conf
	answered time.Time     // the last time
	starts   int           // how often it was started
	ended    chan struct{} // closed when the process has ended; nil before the first start
}

// want says whether the daemon is to run; if not, whether it is to end without
// a word to its peers.
func (c *child) want(yes, kill bool) {
	c.mu.Lock()
	c.wanted, c.kill = yes, kill
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// gone returns when the daemon has ended.
func (c *child) gone(ctx context.Context) {
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

func (c *child) condition() condition {
	c.mu.Lock()
	defer c.mu.Unlock()
	return condition{
		Name: c.name, Up: c.up, Ready: c.ready, Withdrawn: !c.wanted,
		Restarts: max(c.starts-1, 0), Answered: c.answered,
	}
}

// keep starts the daemon whenever it is wanted and does not run, until ctx ends.
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
		err := c.once(ctx)
		if ctx.Err() != nil || !c.isWanted() {
			continue
		}
		if time.Since(since) > steadyAfter {
			pause = firstRestart
		}
		c.log.Warn("daemon ended", "err", err, "again", pause)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, lastRestart)
	}
}

// once starts the daemon, and returns when it has ended: by itself, because it is
// not wanted any more, or because it did not answer.
func (c *child) once(ctx context.Context) error {
	if err := os.Remove(c.socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	args := append(append([]string(nil), c.opts.Args...), c.opts.Own[c.name]...)
	p, err := c.opts.Host.start(filepath.Join(c.opts.DaemonDir, c.name), args...)
	if err != nil {
		return err
	}
	ended := make(chan struct{})
	var end error
	go func() {
		end = p.wait()
		close(ended)
	}()
	c.mu.Lock()
	c.starts++
	c.ended = ended
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.up, c.ready = false, false
		c.mu.Unlock()
	}()

	life, cancel := context.WithCancel(ctx)
	defer cancel()
	silent := make(chan struct{})
	go c.attend(life, silent)
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
func (c *child) finish(p process, ended <-chan struct{}, kill bool) {
	if !kill {
		// A stopped process would be deaf. That it has ended is no error.
		_ = p.signal(syscall.SIGCONT)
		_ = p.signal(syscall.SIGTERM)
		select {
		case <-ended:
			return
		case <-time.After(endGrace):
			c.log.Warn("daemon killed", "reason", "it did not end")
		}
	}
	_ = p.signal(syscall.SIGKILL)
	<-ended
}

// attend loads frr.conf when the daemon answers, and then asks it again and
// again. It closes silent when the daemon has not answered for too long.
func (c *child) attend(ctx context.Context, silent chan<- struct{}) {
	last := time.Now()
	pause := askSoon
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		if err := c.ask(ctx); err != nil {
			if time.Since(last) > c.opts.Hang {
				close(silent)
				return
			}
			c.set(false)
			continue
		}
		last = time.Now()
		if c.set(true) {
			c.load(ctx)
		}
		pause = askEvery
	}
}

// set notes whether the daemon answers, and reports whether it is yet to read
// frr.conf.
func (c *child) set(up bool) (first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.up = up
	if !up {
		return false
	}
	c.answered = time.Now()
	c.announce.Do(func() { close(c.first) })
	return !c.ready
}

// ask asks the daemon something.
func (c *child) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	conn, err := vty.Dial(ctx, c.socket)
	if err != nil {
		return err
	}
	return conn.Close()
}

// load has vtysh read frr.conf into the daemon, as FRR's start script does. What
// is refused the agent reports: it applies the same text.
func (c *child) load(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	out, err := c.opts.Host.output(ctx, "vtysh", "-b", "-d", c.name)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		c.log.Warn("frr.conf not loaded whole", "err", err, "said", conf.Redact(out))
	}
	c.mu.Lock()
	c.ready = true
	c.mu.Unlock()
	c.log.Info("daemon runs")
	if c.opts.Loaded != nil {
		c.opts.Loaded()
	}
}
