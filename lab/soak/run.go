// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// Options say how to run a plan.
type Options struct {
	Plan      Plan          // required
	Limits    Limits        // required
	From      int           // optional: the number of the step to begin with; 0 means 1
	Bin       string        // optional: where Herald's binaries are; empty means bin in or above the working directory
	KeepGoing bool          // optional: go on after a violation
	Within    time.Duration // optional: start no step after this time; 0 means that there is no limit
	Log       io.Writer     // optional: receives what happens, a line each
	Dump      io.Writer     // optional: receives what is known of the lab after a violation
	Logs      string        // optional: a folder that the logs of Herald's daemons are copied to
}

// Run carries out a plan on a lab of its own. Its error is that there was no lab.
func Run(ctx context.Context, opts Options) (_ Report, err error) {
	if opts.Log == nil {
		opts.Log = io.Discard
	}
	before := opts.Plan.Steps[:min(max(opts.From-1, 0), len(opts.Plan.Steps))]
	world := NewWorld()
	for _, s := range before {
		world = world.Apply(s)
	}
	r, err := newRig(ctx, opts.Bin, world)
	if err != nil {
		return Report{}, err
	}
	defer func() { err = errors.Join(err, r.Down(ctx)) }()
	u := &run{opts: opts, rig: r, world: world, started: time.Now(), done: make([]Done, 0, len(opts.Plan.Steps)+1)}
	if u.inspector, err = newInspector(ctx, r); err != nil {
		return Report{}, err
	}
	if u.watch, err = newWatch(ctx, r); err != nil {
		return Report{}, err
	}
	defer u.watch.stop()
	if err := u.watch.settled(ctx, u.world, 2*patience, u.pending()); err != nil {
		return Report{}, fmt.Errorf("wait for the lab: %w", err)
	}
	u.watch.begin()
	u.started = time.Now()
	u.steps(ctx, len(before))
	if opts.Logs != "" {
		err = r.copyLogs(opts.Logs)
	}
	if len(u.violations) > 0 && opts.Dump != nil {
		r.Dump(ctx, opts.Dump)
	}
	return u.report(), errors.Join(err, ctx.Err())
}

// A run is a plan that is being carried out.
type run struct {
	opts      Options
	rig       *rig
	watch     *watch
	inspector *inspector
	world     World
	started   time.Time
	checked   int // how many of the steps are over, and checked
	quiets    []time.Duration
	figures   Figures
	beyond    []Violation // of the strict limits, where others apply

	mu         sync.Mutex // guards the fields below
	done       []Done
	undoing    sync.WaitGroup
	violations []Violation
	stalls     []Span
	owners     []Answer
}

// steps carries out all steps but the first few, until one has failed or there is no more
// time.
func (u *run) steps(ctx context.Context, skip int) {
	for i, s := range u.opts.Plan.Steps {
		if i < skip {
			continue
		}
		if ctx.Err() != nil {
			return
		}
		if u.opts.Within > 0 && time.Since(u.started) > u.opts.Within {
			s = Step{Kind: Quiet} // what was begun is still looked at
		}
		u.step(ctx, i, s)
		if s.Kind == Quiet && (len(u.violations) > 0 && !u.opts.KeepGoing || u.opts.Within > 0 && time.Since(u.started) > u.opts.Within) {
			return
		}
	}
	// A plan that was shrunk may have lost its last quiet step.
	if n := len(u.opts.Plan.Steps); n == 0 || u.opts.Plan.Steps[n-1].Kind != Quiet {
		u.step(ctx, n, Step{Kind: Quiet})
	}
}

// step carries out one step. What undoes it is done in its time, while others follow.
func (u *run) step(ctx context.Context, i int, s Step) {
	u.world = u.world.Apply(s)
	release, err := u.rig.take(ctx, partsOf(s))
	if err != nil {
		return // the run ends
	}
	u.mu.Lock()
	u.done = append(u.done, Done{Number: i + 1, Step: s, World: u.world, Start: time.Now()})
	d := &u.done[len(u.done)-1] // there is room for all: it does not move
	u.mu.Unlock()
	u.say("step %d: %s", i+1, s)
	if s.Kind == Quiet {
		u.look(ctx, d)
		release()
		return
	}
	start := time.Now()
	undo, err := u.rig.do(ctx, s, u.world)
	u.failed(ctx, d, err)
	u.undoing.Go(func() {
		defer release()
		if undo != nil {
			pause(ctx, s.Hold.Duration()-time.Since(start))
			// Also when the run ends: the next one is to find a lab without faults.
			u.failed(ctx, d, persist(context.WithoutCancel(ctx), undo))
		}
		u.mu.Lock()
		d.End = time.Now()
		u.mu.Unlock()
	})
	pause(ctx, s.Gap.Duration()-time.Since(start))
}

// failed records that a step could not be carried out.
func (u *run) failed(ctx context.Context, d *Done, err error) {
	if err == nil || ctx.Err() != nil {
		return
	}
	u.mu.Lock()
	d.Error = err.Error()
	u.mu.Unlock()
	u.add(Violation{Invariant: InvariantStep, Subject: d.Step.String(), Time: time.Now(), Steps: []int{d.Number}, Evidence: err.Error()})
}

// look waits until all faults are undone and all is well, and checks what was observed
// since the last look.
func (u *run) look(ctx context.Context, d *Done) {
	u.undoing.Wait()
	start := time.Now()
	err := u.watch.settled(ctx, u.world, u.opts.Limits.Settle, u.pending())
	since := time.Now()
	if err != nil {
		u.add(Violation{Invariant: InvariantSettled, Subject: "all", Time: start, Evidence: err.Error()})
	} else if since, err = u.watch.quiet(ctx, u.opts.Limits.Settle, u.pending()); err != nil {
		u.add(Violation{Invariant: InvariantQuiet, Subject: "all", Time: start, Evidence: err.Error()})
	}
	took := time.Since(start)
	// All is well since then: requests that were lost before are known by now.
	seen, ended := u.watch.take(since)
	found, err := u.inspector.inspect(ctx, u.opts.Limits)
	if err != nil && ctx.Err() == nil {
		found = append(found, Violation{Invariant: InvariantSettled, Subject: "all", Time: time.Now(), Evidence: err.Error()})
	}
	u.mu.Lock()
	d.End = time.Now()
	steps := slices.Clone(u.done[u.checked:])
	u.checked = len(u.done)
	u.stalls = append(u.stalls, seen.Stalls...)
	u.owners = append(u.owners, changes(seen.Answers)...)
	u.quiets = append(u.quiets, took)
	u.mu.Unlock()
	found = append(found, ended...)
	excuses := Excuses(steps, u.opts.Limits.Scale, seen.End)
	found = append(found, Check(seen, excuses, u.opts.Limits)...)
	u.figures = u.figures.add(Measure(seen, excuses))
	Blame(found, steps, seen.End)
	for _, v := range found {
		u.add(v)
	}
	if u.opts.Limits != Strict {
		beyond := Check(seen, Excuses(steps, Strict.Scale, seen.End), Strict)
		Blame(beyond, steps, seen.End)
		u.beyond = append(u.beyond, beyond...)
		for _, v := range beyond {
			u.say("beyond the strict limits: %s", v)
		}
	}
	u.say("quiet after %v", took.Round(100*time.Millisecond))
}

// pending returns what logs why all is not well yet, each reason once.
func (u *run) pending() func(error) error {
	start, last := time.Now(), ""
	return func(err error) error {
		if err != nil && err.Error() != last {
			last = err.Error()
			u.say("not yet, after %v: %s", time.Since(start).Round(100*time.Millisecond), last)
		}
		return err
	}
}

func (u *run) add(v Violation) {
	u.mu.Lock()
	u.violations = append(u.violations, v)
	u.mu.Unlock()
	u.say("VIOLATION: %s", v)
}

func (u *run) say(format string, args ...any) {
	fmt.Fprintf(u.opts.Log, "%s "+format+"\n", append([]any{clock(time.Now())}, args...)...)
}

// report returns what has come of the run.
func (u *run) report() Report {
	u.mu.Lock()
	defer u.mu.Unlock()
	r := Report{
		Seed: u.opts.Plan.Seed, Planned: len(u.opts.Plan.Steps), From: max(u.opts.From, 1), Started: u.started, Took: time.Since(u.started),
		Steps: slices.Clone(u.done), Violations: u.violations, Beyond: u.beyond, Stalls: u.stalls, Quiets: u.quiets, Owners: u.owners, Loads: map[string]LoadSum{},
	}
	for name, l := range u.watch.loads {
		sum := l.Report()
		r.Loads[name] = LoadSum{Sent: sum.Sent, Lost: sum.Lost, Again: sum.Again}
	}
	r.Figures, r.Figures.Sizes = u.figures, u.inspector.sizes
	return r
}
