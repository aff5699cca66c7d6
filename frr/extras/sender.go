// SPDX-License-Identifier: Apache-2.0

package extras

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/heraldlb/herald/frr/conf"
	"github.com/heraldlb/herald/frr/contract"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/wake"
)

// Reasons of events about the raw configuration.
const (
	eventRefused = "RawConfigurationRefused" // warning
	eventApplied = "RawConfigurationApplied" // after it was refused
	eventUnlike  = "RawConfigurationUnlike"  // warning: some of it may not stay
)

// resultEvery is the time between two looks for the result.
const resultEvery = 2 * time.Second

// A Text is a version of the raw configuration. It is empty if there is none.
type Text struct {
	Text    []byte
	Source  string // what it was read from, for the log
	Version string // of the source, for the log
}

// An Event is news for the operator about the raw configuration.
type Event struct {
	Warning bool
	Reason  string
	Message string
}

// SenderOptions are what a Sender works with. All of it is required.
type SenderOptions struct {
	Dir     string              // the folder shared with the FRR container
	Node    string              // the name of this node
	Text    func() (Text, bool) // the present text; false before it was read for the first time
	Changed wake.Signal         // Text returns another one
	Event   func(Event)
	Logger  *slog.Logger
}

// A Sender hands the raw configuration to the FRR container, and reports the result.
type Sender struct {
	opts     SenderOptions
	reported contract.ExtrasResult // without its time
	read     contract.ExtrasResult // the last result, as it was read
	shown    contract.ExtrasResult // and as it may be shown

	mu     sync.Mutex     // guards status
	status *status.Extras // nil: there is no raw configuration
}

// NewSender returns a Sender. Run makes it work.
func NewSender(opts SenderOptions) *Sender { return &Sender{opts: opts} }

// Run hands over every version of the text until ctx ends.
func (s *Sender) Run(ctx context.Context) error {
	look := time.NewTicker(resultEvery)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.opts.Changed:
		case <-look.C:
			s.result()
			continue
		}
		if err := s.handOver(); err != nil {
			s.opts.Logger.Warn("raw configuration not handed over", "err", err)
		}
		s.result()
	}
}

// handOver writes the text. Until the source was read for the first time, the text
// that an earlier agent handed over stays.
func (s *Sender) handOver() error {
	text, read := s.opts.Text()
	if !read {
		return nil
	}
	changed, err := contract.WriteExtras(s.opts.Dir, text.Text)
	if changed {
		s.opts.Logger.Info("raw configuration handed over", "source", text.Source, "version", text.Version)
	}
	return err
}

// result reads what became of the present text, and reports news about it.
func (s *Sender) result() {
	text, err := contract.ReadExtras(s.opts.Dir)
	if err != nil {
		return // it was not handed over, which was logged
	}
	r, err := contract.ReadExtrasResult(s.opts.Dir)
	if err != nil {
		r = contract.ExtrasResult{Sum: contract.Sum(text), Error: err.Error()}
	}
	r = s.hide(r, text)
	state := &status.Extras{Pending: r.Sum != contract.Sum(text)}
	switch {
	case len(text) == 0 && (state.Pending || r.Applied):
		state = nil
	case !state.Pending:
		state.Applied, state.Error, state.Remark, state.At = r.Applied, r.Error, r.Remark, r.At
	}
	s.mu.Lock()
	s.status = state
	s.mu.Unlock()
	r.At = time.Time{} // another attempt with the same result is no news
	if r.Sum == "" || r == s.reported {
		return
	}
	before := s.reported
	s.reported = r
	if !r.Applied {
		s.opts.Logger.Warn("raw configuration refused", "reason", r.Error)
		s.opts.Event(Event{Warning: true, Reason: eventRefused,
			Message: fmt.Sprintf("node %s: what was in force stays: %s", s.opts.Node, r.Error)})
		return
	}
	s.opts.Logger.Info("raw configuration applied")
	if r.Remark != "" {
		s.opts.Event(Event{Warning: true, Reason: eventUnlike,
			Message: fmt.Sprintf("node %s: it may not stay; write it as \"show running-config\" prints it: %s", s.opts.Node, r.Remark)})
	}
	if before.Error != "" {
		s.opts.Event(Event{Reason: eventApplied, Message: fmt.Sprintf("node %s: FRR runs all of it", s.opts.Node)})
	}
}

// hide returns a result without what may not be shown of the text. A herald-frr of an
// earlier version quotes whole lines.
func (s *Sender) hide(r contract.ExtrasResult, text []byte) contract.ExtrasResult {
	if r == s.read {
		return s.shown
	}
	applied, _ := contract.ReadExtrasApplied(s.opts.Dir) // the text alone then has to do
	veil := conf.NewVeil(string(text), string(applied))
	s.read = r
	r.Error, r.Remark = veil.Hide(r.Error), veil.Hide(r.Remark)
	s.shown = r
	return r
}

// Status returns what became of the raw configuration; nil if there is none.
func (s *Sender) Status() *status.Extras {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// Kept returns the lines that the agent must not remove from FRR although it does not
// want them itself: those of the present text, and those of the text in force, which
// is another one while FRR has not taken the present one.
func Kept(dir string) []byte {
	present, _ := contract.ReadExtras(dir) // a text that cannot be read cannot be kept
	applied, _ := contract.ReadExtrasApplied(dir)
	return slices.Concat(applied, []byte("\n"), present)
}
