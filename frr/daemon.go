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
	"strings"
	"time"

	"github.com/heraldlb/herald/frr/conf"
	"github.com/heraldlb/herald/frr/vty"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/trace"
)

// A daemon drives one of FRR's daemons. It knows the connection, and the
// configuration that the daemon runs.
type daemon struct {
	name  string
	paths []string // sockets that take its configuration, the first that is there
	log   *slog.Logger
	extra func() []byte // configuration that somebody else added; nil means none
	life  *life
	token token // its holder owns the fields below

	conn    *vty.Conn
	runs    *wanted         // what the daemon runs; nil if it was read, or is unknown
	read    *conf.Config    // what the daemon runs, as it was read; nil if it is known, or unknown
	applied *wanted         // the last configuration that was wholly accepted
	settled map[string]bool // commands for lines that FRR prints differently; they are not sent
	held    time.Time       // since when bgpd holds back routes, or has held them back last
	tried   []conf.Command  // commands that retried sessions at the last change; see retry
}

func newDaemon(dir, name string, extra func() []byte, log *slog.Logger) *daemon {
	d := &daemon{name: name, log: log, extra: extra, life: &life{}, token: newToken()}
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
	if err := d.token.acquire(ctx); err != nil {
		return fmt.Errorf("%s: busy: %w: %w", d.name, vty.ErrUnavailable, err)
	}
	return nil
}

// reset forgets the daemon: another one may have taken its place.
func (d *daemon) reset() {
	if d.conn != nil {
		d.conn.Close()
	}
	d.forget()
	d.conn, d.applied, d.settled, d.tried = nil, nil, nil, nil
}

// forget forgets what the daemon runs.
func (d *daemon) forget() { d.runs, d.read = nil, nil }

// running returns the configuration that the daemon runs; nil if it is unknown.
func (d *daemon) running() *conf.Config {
	if d.runs != nil {
		return d.runs.parts()[d.name]
	}
	return d.read
}

// id returns the name of the daemon.
func (d *daemon) id() string { return d.name }

// needed reports whether w has anything for the daemon.
func (d *daemon) needed(w *wanted) bool { return w.frame().Need(d.name) }

// restart forgets the daemon.
func (d *daemon) restart(ctx context.Context) {
	if d.acquire(ctx) != nil {
		return
	}
	defer d.token.release()
	d.reset()
}

// lost reports whether the daemon has closed the connection.
func (d *daemon) lost(ctx context.Context) bool {
	if d.acquire(ctx) != nil {
		return false
	}
	defer d.token.release()
	return d.conn != nil && d.conn.Lost()
}

// apply makes the daemon run its part of w.
func (d *daemon) apply(ctx context.Context, w *wanted, check bool) (changed bool, err error) {
	if err := d.acquire(ctx); err != nil {
		return false, err
	}
	defer d.token.release()
	err = d.retryStale(func() error {
		if commands, ok := w.since(d.runs, d.name); ok && !check && d.conn != nil {
			if len(commands) > 0 {
				changed = true
				d.hold(time.Now())
			}
			err := d.send(ctx, commands)
			if err == nil {
				d.runs, d.applied = w, w
			}
			if err == nil || errors.Is(err, vty.ErrUnavailable) {
				return err
			}
			d.forget() // and find out which lines are refused
		}
		return d.compare(ctx, w, check, &changed)
	})
	return changed, err
}

// compare compares what the daemon runs with what it is to run, and sends the difference.
func (d *daemon) compare(ctx context.Context, w *wanted, check bool, changed *bool) error {
	if check {
		d.forget()
	}
	want := w.parts()[d.name]
	fresh := d.running() == nil
	if err := d.load(ctx, want); err != nil {
		return err
	}
	commands := conf.Diff(d.running(), want)
	switch {
	case fresh && w != d.applied:
		d.settled = nil
	case fresh:
		commands = slices.DeleteFunc(commands, d.isSettled)
	}
	*changed = *changed || len(commands) > 0
	if check && w == d.applied && len(commands) > 0 {
		d.log.Warn("running configuration was changed", "daemon", d.name,
			"lines", len(commands), "first", commands[0].Shown())
		rest, err := d.restore(ctx, want, commands)
		if err != nil {
			return err
		}
		commands = rest
	}
	if err := d.send(ctx, commands); err != nil {
		return err
	}
	d.runs, d.read, d.applied = w, nil, w
	if check {
		return d.retry(ctx)
	}
	return nil
}

// retry tries sessions once more that were tried at the last change and are still
// down, unless they are being opened. If the neighbor became internal or external,
// FRR loses the first attempt: it tracks the next hop again, and does not notice
// that it is known already.
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

// restore sends the missing lines of a configuration that was in force before, and
// returns the commands that are left to send. If FRR accepts a line but prints it
// differently, the difference is recorded as settled: to send the line again would
// change nothing, and to remove the printed form would undo it.
func (d *daemon) restore(ctx context.Context, want *conf.Config, commands []conf.Command) (rest []conf.Command, err error) {
	if !slices.ContainsFunc(commands, conf.Command.Adds) {
		return commands, nil
	}
	removal := func(c conf.Command) bool { return !c.Adds() && !c.Exec }
	if err := d.send(ctx, slices.DeleteFunc(slices.Clone(commands), removal)); err != nil {
		return nil, err
	}
	d.forget()
	if err := d.load(ctx, want); err != nil {
		return nil, err
	}
	rest = slices.DeleteFunc(conf.Diff(d.running(), want), d.isSettled)
	if !slices.ContainsFunc(rest, conf.Command.Adds) {
		return rest, nil
	}
	d.settle(rest)
	return nil, nil
}

// retryStale calls f. If the connection of an earlier call turns out to be broken, it
// calls f a second time.
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
		d.forget() // it is unknown which commands are in force
	}
	return err
}

// load connects and reads the running configuration, unless both are known. It drops
// the lines that somebody else added, except those that want has too.
func (d *daemon) load(ctx context.Context, want *conf.Config) error {
	if d.conn == nil {
		conn, err := d.dial(ctx)
		if err != nil {
			return err
		}
		d.conn = conn
	}
	if d.running() != nil {
		return nil
	}
	text, err := d.conn.Run(ctx, "show running-config")
	if err != nil {
		return err
	}
	d.read = conf.Parse(text)
	if d.extra != nil {
		d.read = d.read.Without(conf.Parse(string(d.extra())), want)
	}
	return nil
}

// dial connects to the first socket that exists.
func (d *daemon) dial(ctx context.Context) (*vty.Conn, error) {
	last := len(d.paths) - 1
	for _, path := range d.paths[:last] {
		conn, err := vty.Dial(ctx, path)
		if !errors.Is(err, fs.ErrNotExist) {
			d.life.met(path, err)
			return conn, err
		}
	}
	conn, err := vty.Dial(ctx, d.paths[last])
	d.life.met(d.paths[last], err)
	return conn, err
}

func (d *daemon) isSettled(c conf.Command) bool { return d.settled[c.String()] }

// settle records commands for lines that FRR prints differently.
func (d *daemon) settle(commands []conf.Command) {
	if d.settled == nil {
		d.settled = make(map[string]bool)
	}
	for _, c := range commands {
		d.settled[c.String()] = true
		d.log.Info("line shown differently by FRR", "daemon", d.name, "command", c.Shown())
	}
}

// send sends commands in order. It enters a context and waits for the answer before
// it sends the commands for that context, so that none reaches another context if
// FRR refuses to enter. The commands inside a context are pipelined. A refused
// command does not stop those after it.
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

// due drops the commands that are for sessions that are down if their session is not,
// and remembers those that are left in tried.
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

// states returns the states of bgpd's sessions; none if it cannot be read.
func (d *daemon) states(ctx context.Context) (map[status.PeerID]string, error) {
	text, err := d.conn.Run(ctx, showSessions)
	if errors.Is(err, vty.ErrUnavailable) {
		return nil, err
	}
	sessions, _ := DecodeSessions([]byte(text)) // an answer that cannot be read has no states
	states := make(map[status.PeerID]string, len(sessions))
	for _, f := range sessions {
		states[f.Peer] = f.State
	}
	return states, nil
}

// groupLen returns how many commands at the beginning are for one context.
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

// sendGroup sends commands for one context, and returns the refusals.
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
	start := time.Now()
	replies, err := d.conn.Batch(ctx, batch)
	if err != nil {
		return nil, err
	}
	if trace.On(d.log) {
		trace.Line(d.log, trace.Commands, slog.String("daemon", d.name), slog.Int("commands", len(group)),
			slog.String("first", group[0].Shown()), slog.String("last", group[len(group)-1].Shown()), slog.Duration("took", time.Since(start)))
	}
	for i, c := range group {
		switch r := replies[skip+i]; {
		case !r.Status.OK(r.Output):
			e := d.refusal(c.Line, r)
			if !c.Adds() && !c.Exec { // a line that somebody else may have written
				e.Command = conf.Brief(c.Text)
				e.Output = conf.NewVeil(strings.TrimPrefix(c.Text, "no ")).Hide(e.Output)
			}
			refused = append(refused, e)
		case c.Resets != "":
			d.log.Warn("session reset", "peer", c.Resets, "reason", c.Reason)
		}
	}
	return refused, nil
}

// enter goes from the enable node into a context. If FRR refuses a part of the way,
// enter goes back to the enable node and returns the refusal.
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

func (d *daemon) refusal(line conf.Line, r vty.Reply) *vty.CommandError {
	e := vty.NewCommandError(d.name, line.Text, r)
	e.Line = line.No
	return e
}
