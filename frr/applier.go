// SPDX-License-Identifier: Apache-2.0

package frr

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/heraldlb/herald/frr/conf"
	"github.com/heraldlb/herald/frr/vty"
)

// Options configure an Applier.
type Options struct {
	RunDir   string        // required: the directory of the daemons' vty sockets
	ConfPath string        // optional: the frr.conf that FRR starts from; the wanted text is written to it
	Timeout  time.Duration // optional: for one attempt at one daemon; 0 means 10 s
	Drift    time.Duration // optional: between two checks of the running configuration; 0 means 60 s
	Extras   func() []byte // optional: configuration that somebody else added; its lines stay
	Changed  func()        // optional: called after State has changed, with no lock held; it must not block
	Logger   *slog.Logger  // optional: nil discards

	// Found is called once, before anything is applied, with the routes that bgpd announces and
	// the route-map of each: those of a process before this one. They are none if bgpd does not
	// answer. Optional.
	Found func(map[netip.Prefix]string)
}

// A State is how far the wanted configuration is in force.
type State struct {
	Generation uint64          // of the wanted text: 1 for the first, one more for each different one
	Applied    bool            // every daemon accepted all of the wanted text
	AppliedAt  time.Time       // when a wanted text was last in force; zero if never
	Err        error           // why it is not; wraps vty.ErrUnavailable or vty.ErrRejected
	Unsaved    error           // why the file that FRR starts from has another text; nil if it has not
	Up         map[string]bool // for each daemon that the wanted text needs: it answered
}

// An Applier keeps FRR running a wanted configuration. It drives each daemon
// independently, so that one that hangs does not delay the others. The methods are
// safe for concurrent use.
type Applier struct {
	opts    Options
	workers []*worker

	mu      sync.Mutex // guards the fields below
	wanted  *wanted    // nil before the first Set
	results map[string]result
	state   State
}

// A target is a place where the wanted text has to be in force: a daemon, or the
// file that FRR starts from.
type target interface {
	// id names the target in errors, and in State if it is a daemon.
	id() string
	// needed reports whether the wanted text has anything for the target.
	needed(w *wanted) bool
	// apply puts w in force in the target, and reports whether that took a change.
	// With check it reads the target first instead of relying on what it remembers.
	apply(ctx context.Context, w *wanted, check bool) (changed bool, err error)
	// restart forgets what is known about the target.
	restart(ctx context.Context)
	// lost reports whether the target is known to have gone away.
	lost(ctx context.Context) bool
}

// A wanted is a configuration on its way to the targets.
type wanted struct {
	Text
	generation uint64
	frame      func() conf.Parts // of the text without networks, parsed once, when first asked for
	text       func() string     // all of it, likewise
	parts      func() conf.Parts // of that
}

// newWanted returns what is wanted after before, which may be nil.
func newWanted(t Text, before *wanted, generation uint64) *wanted {
	w := &wanted{Text: t, generation: generation}
	if before != nil && before.Frame == t.Frame {
		w.frame = before.frame
	} else {
		w.frame = sync.OnceValue(func() conf.Parts { return conf.Parse(t.Frame).Parts() })
	}
	w.text = sync.OnceValue(func() string { return string(t.Whole()) })
	w.parts = sync.OnceValue(func() conf.Parts { return conf.Parse(w.text()).Parts() })
	return w
}

// A result is how the last attempt at a target ended.
type result struct {
	generation uint64
	needed     bool
	err        error
}

// New returns an Applier. It starts nothing.
func New(opts Options) *Applier {
	opts.Timeout = cmp.Or(opts.Timeout, 10*time.Second)
	opts.Drift = cmp.Or(opts.Drift, time.Minute)
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	a := &Applier{opts: opts, results: make(map[string]result)}
	if opts.ConfPath != "" {
		file := newWorker(newConfFile(opts.ConfPath))
		file.every = saveEvery
		a.workers = append(a.workers, file)
	}
	for _, name := range conf.Daemons {
		a.workers = append(a.workers, newWorker(newDaemon(opts.RunDir, name, opts.Extras, opts.Logger)))
	}
	a.state.Up = make(map[string]bool)
	return a
}

// Set declares the wanted configuration, which Run puts in force. It does not
// block. A text that has not been applied when the next one comes is skipped.
// Setting the same text again changes nothing.
func (a *Applier) Set(conf Text) {
	if _, isNew := a.declare(conf); !isNew {
		return
	}
	for _, w := range a.workers {
		w.wake.Set()
	}
}

// declare makes conf the wanted text.
func (a *Applier) declare(conf Text) (w *wanted, isNew bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.wanted != nil && a.wanted.same(conf) {
		return a.wanted, false
	}
	a.state.Generation++
	a.state.Applied = false
	a.wanted = newWanted(conf, a.wanted, a.state.Generation)
	return a.wanted, true
}

// State returns how far the wanted configuration is in force.
func (a *Applier) State() State {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.state
	s.Up = maps.Clone(s.Up)
	return s
}

// Apply declares the wanted configuration and puts it in force now. It returns
// nil when every daemon that the text needs has accepted all of it. For a line that
// FRR refuses, the error wraps a *vty.CommandError, and the rest is applied. For a
// daemon that is absent or does not answer, it wraps vty.ErrUnavailable.
func (a *Applier) Apply(ctx context.Context, conf Text) error {
	w, _ := a.declare(conf)
	errs := make([]error, len(a.workers))
	var g errgroup.Group
	for i, to := range a.workers {
		g.Go(func() error {
			_, r := a.attempt(ctx, to.target, w, false)
			a.report(to.id(), r)
			errs[i] = r.err
			return nil
		})
	}
	g.Wait()
	return errors.Join(errs...)
}

// attempt puts w in force in one target, and returns the result.
func (a *Applier) attempt(ctx context.Context, t target, w *wanted, check bool) (changed bool, r result) {
	ctx, cancel := context.WithTimeout(ctx, a.opts.Timeout)
	defer cancel()
	changed, err := t.apply(ctx, w, check)
	needed := t.needed(w)
	if !needed && errors.Is(err, vty.ErrUnavailable) {
		err = nil // there is nothing to do
	}
	return changed, result{generation: w.generation, needed: needed, err: err}
}

// needs reports whether a target was needed at the last attempt that was reported.
func (a *Applier) needs(id string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.results[id].needed
}

// report records a result and derives the state from all of them.
func (a *Applier) report(id string, r result) {
	if a.record(id, r) && a.opts.Changed != nil {
		a.opts.Changed()
	}
}

func (a *Applier) record(id string, r result) (changed bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r.generation < a.results[id].generation {
		return false // a later text was tried in the meantime
	}
	a.results[id] = r
	before := a.state
	a.state = before.next(a.workers, a.results, time.Now())
	return !a.state.same(before)
}

// next returns the state that follows from the results.
func (s State) next(workers []*worker, results map[string]result, now time.Time) State {
	next := State{Generation: s.Generation, AppliedAt: s.AppliedAt, Up: make(map[string]bool)}
	next.Applied = true
	var errs []error
	for _, w := range workers {
		r := results[w.id()]
		if _, isFile := w.target.(*confFile); isFile {
			next.Unsaved = r.err
			continue // FRR runs the text; it reads the file when it starts
		}
		if r.generation != s.Generation || r.err != nil {
			next.Applied = false
		}
		errs = append(errs, r.err)
		if _, isDaemon := w.target.(*daemon); isDaemon && r.needed {
			next.Up[w.id()] = !errors.Is(r.err, vty.ErrUnavailable)
		}
	}
	next.Err = errors.Join(errs...)
	if next.Applied && !s.Applied {
		next.AppliedAt = now
	}
	return next
}

// same reports whether two states are equal.
func (s State) same(o State) bool {
	text := func(err error) string {
		if err == nil {
			return ""
		}
		return err.Error()
	}
	return s.Generation == o.Generation && s.Applied == o.Applied && s.AppliedAt.Equal(o.AppliedAt) &&
		text(s.Err) == text(o.Err) && text(s.Unsaved) == text(o.Unsaved) && maps.Equal(s.Up, o.Up)
}
