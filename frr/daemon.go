// SPDX-License-Identifier: Apache-2.0

package frr

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"

	"github.com/heraldlb/herald/frr/conf"
	"github.com/heraldlb/herald/frr/vty"
	"github.com/heraldlb/herald/status"
)

// A daemon is what an Applier keeps about one daemon: its connection, and what the
// daemon is known to run. Whoever holds the token owns it.
type daemon struct {
	name  string
	paths []string // sockets that take its configuration, the first that is there
	log   *slog.Logger
	extra func() []byte // what others have added; nil means nothing
	token chan struct{} // capacity 1

	conn    *vty.Conn
	running *conf.Config    // what the daemon runs; nil if not known
	applied *conf.Config    // the last configuration that was wholly accepted
	settled map[string]bool // differences that FRR's way of printing leaves
	tried   []conf.Command  // what had sessions tried again at the last change; see retry
}

func newDaemon(dir, name string, extra func() []byte, log *slog.Logger) *daemon {
	d := &daemon{name: name, log: log, extra: extra, token: make(chan struct{}, 1)}
	for _, socket := range sockets(name) {
		d.paths = append(d.paths, filepath.Join(dir, socket))
	}
	return d
}

// sockets returns the files in FRR's run directory on which a daemon may take its
// configuration, the preferred one first. From FRR 10 on mgmtd takes zebra's,
// where there is an mgmtd.
func sockets(daemon string) []string {
	if daemon == conf.Zebra {
		return []string{"mgmtd.vty", "zebra.vty"}
	}
	return []string{daemon + ".vty"}
}

// acquire takes the token.
func (d *daemon) acquire(ctx context.Context) error {
	select {
	case d.token <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: busy: %w: %w", d.name, vty.ErrUnavailable, context.Cause(ctx))
	}
}

func (d *daemon) release() { <-d.token }

// reset forgets the daemon that was there: another may have taken its place.
func (d *daemon) reset() {
	if d.conn != nil {
		d.conn.Close()
	}
	d.conn, d.running, d.applied, d.settled, d.tried = nil, nil, nil, nil, nil
}

// id returns the name of the daemon.
func (d *daemon) id() string { return d.name }

// needed reports whether w has anything for the daemon.
func (d *daemon) needed(w *wanted) bool { return w.parts().Need(d.name) }

// restart forgets the daemon that was there.
func (d *daemon) restart(ctx context.Context) {
	if d.acquire(ctx) != nil {
		return
	}
	defer d.release()
	d.reset()
}

// lost reports whether the daemon has gone away since it was last asked.
func (d *daemon) lost(ctx context.Context) bool {
	if d.acquire(ctx) != nil {
		return false
	}
	defer d.release()
	return d.conn != nil && d.conn.Lost()
}

// apply makes the daemon run its part of w.
func (d *daemon) apply(ctx context.Context, w *wanted, check bool) (changed bool, err error) {
	if err := d.acquire(ctx); err != nil {
		return false, err
	}
	defer d.release()
	want := w.parts()[d.name]
	err = d.retryStale(func() error {
		if check {
			d.running = nil
		}
		fresh := d.running == nil
		if err := d.load(ctx, want); err != nil {
			return err
		}
		commands := conf.Diff(d.running, want)
		switch {
		case fresh && want != d.applied:
			d.settled = nil
		case fresh:
			commands = slices.DeleteFunc(commands, d.isSettled)
		}
		changed = changed || len(commands) > 0
		if check && want == d.applied && len(commands) > 0 {
			d.log.Warn("running configuration was changed", "daemon", d.name,
				"lines", len(commands), "first", commands[0].String())
			rest, err := d.restore(ctx, want, commands)
			if err != nil {
				return err
			}
			commands = rest
		}
		if err := d.send(ctx, commands); err != nil {
			return err
		}
		d.running, d.applied = want, want
		if check {
			return d.retry(ctx)
		}
		return nil
	})
	return changed, err
}

// retry has sessions tried once more that have been tried at the last change and are
// still down, unless they are just being opened. FRR loses the first attempt when the
// neighbor came into the AS or left it: it tracks the next hop again, and misses
// that it has it already.
func (d *daemon) retry(ctx context.Context) error {
	tried := d.tried
	d.tried = nil
	if len(tried) == 0 {
		return nil
	}
	states, err := d.states(ctx)
	if err != nil {
		return err
	}
	tried = slices.DeleteFunc(tried, func(c conf.Command) bool { return states[c.Down] != "Active" && states[c.Down] != "Idle" })
	for i := range tried {
		tried[i].Down = status.PeerID{}
	}
	return d.send(ctx, tried)
}

// restore sends what is missing of a configuration that was in force before, and
// returns what is left to send. If FRR, asked again, still does not show what it
// has just accepted, it shows it in other words: sending it once more would change
// as little, and removing the other words would undo it.
func (d *daemon) restore(ctx context.Context, want *conf.Config, commands []conf.Command) (rest []conf.Command, err error) {
	if !slices.ContainsFunc(commands, conf.Command.Adds) {
		return commands, nil
	}
	removal := func(c conf.Command) bool { return !c.Adds() && !c.Exec }
	if err := d.send(ctx, slices.DeleteFunc(slices.Clone(commands), removal)); err != nil {
		return nil, err
	}
	d.running = nil
	if err := d.load(ctx, want); err != nil {
		return nil, err
	}
	rest = slices.DeleteFunc(conf.Diff(d.running, want), d.isSettled)
	if !slices.ContainsFunc(rest, conf.Command.Adds) {
		return rest, nil
	}
	d.settle(rest)
	return nil, nil
}

// retryStale calls f again, once, if it found that the connection which an
// earlier call left had broken in the meantime.
func (d *daemon) retryStale(f func() error) error {
	reused := d.conn != nil
	err := f()
	if err != nil && reused && errors.Is(err, vty.ErrUnavailable) &&
		!errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
		d.reset()
		err = f()
	}
	switch {
	case errors.Is(err, vty.ErrUnavailable):
		d.reset()
	case err != nil:
		d.running = nil // some of it is in force, some is not
	}
	return err
}

// load connects and reads the running configuration, unless that is done. It does
// not see what others have added and nobody else wants.
func (d *daemon) load(ctx context.Context, want *conf.Config) error {
	if d.conn == nil {
		conn, err := d.dial(ctx)
		if err != nil {
			return err
		}
		d.conn = conn
	}
	if d.running != nil {
		return nil
	}
	text, err := d.conn.Run(ctx, "show running-config")
	if err != nil {
		return err
	}
	d.running = conf.Parse(text)
	if d.extra != nil {
		d.running = d.running.Without(conf.Parse(string(d.extra())), want)
	}
	return nil
}

// dial connects to the first socket that is there.
func (d *daemon) dial(ctx context.Context) (*vty.Conn, error) {
	last := len(d.paths) - 1
	for _, path := range d.paths[:last] {
		conn, err := vty.Dial(ctx, path)
		if !errors.Is(err, fs.ErrNotExist) {
			return conn, err
		}
	}
	return vty.Dial(ctx, d.paths[last])
}

func (d *daemon) isSettled(c conf.Command) bool { return d.settled[c.String()] }

// settle notes differences that stay.
func (d *daemon) settle(commands []conf.Command) {
	if d.settled == nil {
		d.settled = make(map[string]bool)
	}
	for _, c := range commands {
		d.settled[c.String()] = true
		d.log.Info("line shown differently by FRR", "daemon", d.name, "command", c.String())
	}
}

// send carries out commands in order. The way into a context is sent and answered
// before what is for it, so that no command reaches another context when FRR
// refuses one; the commands inside a context are pipelined. Refused commands are
// collected; those after them are sent all the same.
func (d *daemon) send(ctx context.Context, commands []conf.Command) error {
	commands, err := d.due(ctx, commands)
	if err != nil {
		return err
	}
	var errs []error
	for len(commands) > 0 {
		n := groupLen(commands)
		refused, err := d.sendGroup(ctx, commands[:n])
		if err != nil {
			return err
		}
		errs = append(errs, refused...)
		commands = commands[n:]
	}
	return errors.Join(errs...)
}

// due returns the commands without those that are for sessions which are not down, and
// takes note of those that are.
func (d *daemon) due(ctx context.Context, commands []conf.Command) ([]conf.Command, error) {
	conditional := func(c conf.Command) bool { return c.Down != status.PeerID{} }
	if !slices.ContainsFunc(commands, conditional) {
		return commands, nil
	}
	states, err := d.states(ctx)
	if err != nil {
		return nil, err
	}
	commands = slices.DeleteFunc(slices.Clone(commands), func(c conf.Command) bool {
		return conditional(c) && (states[c.Down] == "" || states[c.Down] == established)
	})
	d.tried = slices.DeleteFunc(slices.Clone(commands), func(c conf.Command) bool { return !conditional(c) })
	return commands, nil
}

// states returns the states of bgpd's sessions; none if it does not say.
func (d *daemon) states(ctx context.Context) (map[status.PeerID]string, error) {
	text, err := d.conn.Run(ctx, showSessions)
	if errors.Is(err, vty.ErrUnavailable) {
		return nil, err
	}
	sessions, _ := DecodeSessions([]byte(text)) // what cannot be read has no states
	states := make(map[status.PeerID]string, len(sessions))
	for _, f := range sessions {
		states[f.Peer] = f.State
	}
	return states, nil
}

// groupLen returns how many of the first commands are for one context.
func groupLen(commands []conf.Command) int {
	n := 1
	for n < len(commands) && commands[n].Exec == commands[0].Exec &&
		slices.EqualFunc(commands[n].Context, commands[0].Context, sameText) &&
		!commands[n-1].Opens() {
		n++
	}
	return n
}

func sameText(a, b conf.Line) bool { return a.Text == b.Text }

// sendGroup sends commands that are all for one context, and returns the refusals.
func (d *daemon) sendGroup(ctx context.Context, group []conf.Command) (refused []error, err error) {
	batch := make([]string, 0, len(group)+2)
	skip := 0 // replies before those of the group
	if way := group[0].Context; !group[0].Exec {
		batch = append(batch, "configure terminal")
		skip = 1
		if len(way) > 0 {
			refusal, err := d.enter(ctx, way)
			if err != nil || refusal != nil {
				return []error{refusal}, err
			}
			batch, skip = batch[:0], 0
		}
	}
	for _, c := range group {
		batch = append(batch, c.Text)
	}
	if !group[0].Exec {
		batch = append(batch, "end")
	}
	replies, err := d.conn.Batch(ctx, batch)
	if err != nil {
		return nil, err
	}
	for i, c := range group {
		switch r := replies[skip+i]; {
		case !r.Status.OK(r.Output):
			refused = append(refused, d.refusal(c.Line, r))
		case c.Resets != "":
			d.log.Warn("session reset", "peer", c.Resets, "reason", c.Reason)
		}
	}
	return refused, nil
}

// enter goes from the enable node into a context. If FRR refuses part of the way
// it returns to where it was and reports that.
func (d *daemon) enter(ctx context.Context, way []conf.Line) (refusal, err error) {
	batch := []string{"configure terminal"}
	for _, head := range way {
		batch = append(batch, head.Text)
	}
	replies, err := d.conn.Batch(ctx, batch)
	if err != nil {
		return nil, err
	}
	for i, head := range way {
		if r := replies[i+1]; !r.Status.OK(r.Output) {
			_, err := d.conn.Batch(ctx, []string{"end"})
			return d.refusal(head, r), err
		}
	}
	return nil, nil
}

func (d *daemon) refusal(line conf.Line, r vty.Reply) error {
	e := vty.NewCommandError(d.name, line.Text, r)
	e.Line = line.No
	return e
}
