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

	"github.com/heraldlb/herald/status"
)

// A link is what an Applier keeps about one daemon: its connection, and what the
// daemon is known to run. Whoever holds the token owns it.
type link struct {
	name  string
	paths []string // sockets that take its configuration, the first that is there
	log   *slog.Logger
	extra func() []byte // what others have added; nil means nothing
	token chan struct{} // capacity 1

	conn    *Conn
	running *Config         // what the daemon runs; nil if not known
	applied *Config         // the last configuration that was wholly accepted
	settled map[string]bool // differences that FRR's way of printing leaves
	tried   []Command       // what had sessions tried again at the last change; see retry
}

func newLink(dir, name string, extra func() []byte, log *slog.Logger) *link {
	l := &link{name: name, log: log, extra: extra, token: make(chan struct{}, 1)}
	for _, socket := range sockets(name) {
		l.paths = append(l.paths, filepath.Join(dir, socket))
	}
	return l
}

// acquire takes the token.
func (l *link) acquire(ctx context.Context) error {
	select {
	case l.token <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: busy: %w: %w", l.name, ErrUnavailable, context.Cause(ctx))
	}
}

func (l *link) release() { <-l.token }

// reset forgets the daemon that was there: another may have taken its place.
func (l *link) reset() {
	if l.conn != nil {
		l.conn.Close()
	}
	l.conn, l.running, l.applied, l.settled, l.tried = nil, nil, nil, nil, nil
}

// id returns the name of the daemon.
func (l *link) id() string { return l.name }

// needed reports whether w has more for the daemon than what every daemon gets. The
// tracking of next hops is for routes: without bgpd's there is none to track, so
// that a node that announces on layer 2 alone needs no FRR.
func (l *link) needed(w *wanted) bool {
	parts := w.parts()
	routes := slices.ContainsFunc(parts[bgpd].Sections, func(s Section) bool { return !common(s) })
	return slices.ContainsFunc(parts[l.name].Sections, func(s Section) bool {
		return !common(s) && (routes || !isNexthopTracking(s.Text))
	})
}

// restart forgets the daemon that was there.
func (l *link) restart(ctx context.Context) {
	if l.acquire(ctx) != nil {
		return
	}
	defer l.release()
	l.reset()
}

// lost reports whether the daemon has gone away since it was last asked.
func (l *link) lost(ctx context.Context) bool {
	if l.acquire(ctx) != nil {
		return false
	}
	defer l.release()
	return l.conn != nil && l.conn.lost()
}

// apply makes the daemon run its part of w.
func (l *link) apply(ctx context.Context, w *wanted, check bool) (changed bool, err error) {
	if err := l.acquire(ctx); err != nil {
		return false, err
	}
	defer l.release()
	want := w.parts()[l.name]
	err = l.retryStale(func() error {
		if check {
			l.running = nil
		}
		fresh := l.running == nil
		if err := l.load(ctx, want); err != nil {
			return err
		}
		commands := Diff(l.running, want)
		switch {
		case fresh && want != l.applied:
			l.settled = nil
		case fresh:
			commands = slices.DeleteFunc(commands, l.isSettled)
		}
		changed = changed || len(commands) > 0
		if check && want == l.applied && len(commands) > 0 {
			l.log.Warn("running configuration was changed", "daemon", l.name,
				"lines", len(commands), "first", commands[0].String())
			rest, err := l.restore(ctx, want, commands)
			if err != nil {
				return err
			}
			commands = rest
		}
		if err := l.send(ctx, commands); err != nil {
			return err
		}
		l.running, l.applied = want, want
		if check {
			return l.retry(ctx)
		}
		return nil
	})
	return changed, err
}

// retry has sessions tried once more that have been tried at the last change and are
// still down, unless they are just being opened. FRR loses the first attempt when the
// neighbor came into the AS or left it: it tracks the next hop again, and misses
// that it has it already.
func (l *link) retry(ctx context.Context) error {
	tried := l.tried
	l.tried = nil
	if len(tried) == 0 {
		return nil
	}
	states, err := l.states(ctx)
	if err != nil {
		return err
	}
	tried = slices.DeleteFunc(tried, func(c Command) bool { return states[c.Down] != "Active" && states[c.Down] != "Idle" })
	for i := range tried {
		tried[i].Down = status.PeerID{}
	}
	return l.send(ctx, tried)
}

// restore sends what is missing of a configuration that was in force before, and
// returns what is left to send. If FRR, asked again, still does not show what it
// has just accepted, it shows it in other words: sending it once more would change
// as little, and removing the other words would undo it.
func (l *link) restore(ctx context.Context, want *Config, commands []Command) (rest []Command, err error) {
	if !slices.ContainsFunc(commands, Command.adds) {
		return commands, nil
	}
	removal := func(c Command) bool { return !c.adds() && !c.Exec }
	if err := l.send(ctx, slices.DeleteFunc(slices.Clone(commands), removal)); err != nil {
		return nil, err
	}
	l.running = nil
	if err := l.load(ctx, want); err != nil {
		return nil, err
	}
	rest = slices.DeleteFunc(Diff(l.running, want), l.isSettled)
	if !slices.ContainsFunc(rest, Command.adds) {
		return rest, nil
	}
	l.settle(rest)
	return nil, nil
}

// retryStale calls f again, once, if it found that the connection which an
// earlier call left had broken in the meantime.
func (l *link) retryStale(f func() error) error {
	reused := l.conn != nil
	err := f()
	if err != nil && reused && errors.Is(err, ErrUnavailable) &&
		!errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
		l.reset()
		err = f()
	}
	switch {
	case errors.Is(err, ErrUnavailable):
		l.reset()
	case err != nil:
		l.running = nil // some of it is in force, some is not
	}
	return err
}

// load connects and reads the running configuration, unless that is done. It does
// not see what others have added and nobody else wants.
func (l *link) load(ctx context.Context, want *Config) error {
	if l.conn == nil {
		conn, err := l.dial(ctx)
		if err != nil {
			return err
		}
		l.conn = conn
	}
	if l.running != nil {
		return nil
	}
	text, err := l.conn.Run(ctx, "show running-config")
	if err != nil {
		return err
	}
	l.running = Parse(text)
	if l.extra != nil {
		l.running = l.running.Without(Parse(string(l.extra())), want)
	}
	return nil
}

// dial connects to the first socket that is there.
func (l *link) dial(ctx context.Context) (*Conn, error) {
	last := len(l.paths) - 1
	for _, path := range l.paths[:last] {
		conn, err := Dial(ctx, path)
		if !errors.Is(err, fs.ErrNotExist) {
			return conn, err
		}
	}
	return Dial(ctx, l.paths[last])
}

func (l *link) isSettled(c Command) bool { return l.settled[c.String()] }

// settle notes differences that stay.
func (l *link) settle(commands []Command) {
	if l.settled == nil {
		l.settled = make(map[string]bool)
	}
	for _, c := range commands {
		l.settled[c.String()] = true
		l.log.Info("line shown differently by FRR", "daemon", l.name, "command", c.String())
	}
}

// send carries out commands in order. The way into a context is sent and answered
// before what is for it, so that no command reaches another context when FRR
// refuses one; the commands inside a context are pipelined. Refused commands are
// collected; those after them are sent all the same.
func (l *link) send(ctx context.Context, commands []Command) error {
	commands, err := l.due(ctx, commands)
	if err != nil {
		return err
	}
	var errs []error
	for len(commands) > 0 {
		n := groupLen(commands)
		refused, err := l.sendGroup(ctx, commands[:n])
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
func (l *link) due(ctx context.Context, commands []Command) ([]Command, error) {
	conditional := func(c Command) bool { return c.Down != status.PeerID{} }
	if !slices.ContainsFunc(commands, conditional) {
		return commands, nil
	}
	states, err := l.states(ctx)
	if err != nil {
		return nil, err
	}
	commands = slices.DeleteFunc(slices.Clone(commands), func(c Command) bool {
		return conditional(c) && (states[c.Down] == "" || states[c.Down] == established)
	})
	l.tried = slices.DeleteFunc(slices.Clone(commands), func(c Command) bool { return !conditional(c) })
	return commands, nil
}

// states returns the states of bgpd's sessions; none if it does not say.
func (l *link) states(ctx context.Context) (map[status.PeerID]string, error) {
	text, err := l.conn.Run(ctx, showSessions)
	if errors.Is(err, ErrUnavailable) {
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
func groupLen(commands []Command) int {
	n := 1
	for n < len(commands) && commands[n].Exec == commands[0].Exec &&
		slices.EqualFunc(commands[n].Context, commands[0].Context, sameText) &&
		!opens(commands[n-1]) {
		n++
	}
	return n
}

func sameText(a, b Line) bool { return a.Text == b.Text }

// opens reports whether a command leaves the daemon in a context of its own.
func opens(c Command) bool {
	in := inTop
	for _, l := range c.Context {
		in, _ = enter(in, l.Text)
	}
	_, opens := enter(in, c.Text)
	return opens
}

// sendGroup sends commands that are all for one context, and returns the refusals.
func (l *link) sendGroup(ctx context.Context, group []Command) (refused []error, err error) {
	batch := make([]string, 0, len(group)+2)
	skip := 0 // replies before those of the group
	if way := group[0].Context; !group[0].Exec {
		batch = append(batch, "configure terminal")
		skip = 1
		if len(way) > 0 {
			refusal, err := l.enter(ctx, way)
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
	replies, err := l.conn.Batch(ctx, batch)
	if err != nil {
		return nil, err
	}
	for i, c := range group {
		switch r := replies[skip+i]; {
		case !r.Status.OK(r.Output):
			refused = append(refused, l.refusal(c.Line, r))
		case c.Resets != "":
			l.log.Warn("session reset", "peer", c.Resets, "reason", c.Reason)
		}
	}
	return refused, nil
}

// enter goes from the enable node into a context. If FRR refuses part of the way
// it returns to where it was and reports that.
func (l *link) enter(ctx context.Context, way []Line) (refusal, err error) {
	batch := []string{"configure terminal"}
	for _, head := range way {
		batch = append(batch, head.Text)
	}
	replies, err := l.conn.Batch(ctx, batch)
	if err != nil {
		return nil, err
	}
	for i, head := range way {
		if r := replies[i+1]; !r.Status.OK(r.Output) {
			_, err := l.conn.Batch(ctx, []string{"end"})
			return l.refusal(head, r), err
		}
	}
	return nil, nil
}

func (l *link) refusal(line Line, r Reply) error {
	e := newCommandError(l.name, line.Text, r)
	e.Line = line.No
	return e
}
