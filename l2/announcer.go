// SPDX-License-Identifier: Apache-2.0

package l2

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// A Policy says what to do about an address that a stranger turns out to have.
type Policy int

// The policies.
const (
	Warn   Policy = iota // announce it, and report the conflict
	Refuse               // announce it only after a probe has found nobody
)

// String returns the policy as UnmarshalText takes it.
func (p Policy) String() string {
	if p == Refuse {
		return "refuse"
	}
	return "warn"
}

// MarshalText returns the same as String.
func (p Policy) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads "warn" or "refuse".
func (p *Policy) UnmarshalText(text []byte) error {
	for _, q := range []Policy{Warn, Refuse} {
		if string(text) == q.String() {
			*p = q
			return nil
		}
	}
	return fmt.Errorf("conflict policy %q: want warn or refuse", text)
}

// Options configure an Announcer.
type Options struct {
	Network  Network          // optional: where the interfaces are; nil means Kernel
	Exclude  []*regexp.Regexp // optional: interfaces whose names match one are left alone
	Conflict Policy           // optional: about fresh addresses; the zero value is Warn
	Nodes    bool             // optional: SetNodes will be called; fresh addresses wait for its first call, at most 750 ms from the start
	Mute     func() bool      // optional: while it is true nothing is answered or announced; it is asked for each packet
	Changed  func()           // optional: called after State has changed in more than its counts, with no lock held; it must not block
	Logger   *slog.Logger     // optional: nil discards
}

// An Announcer answers for addresses on the interfaces of this node. Its methods
// are safe for concurrent use.
type Announcer struct {
	opts     Options
	wake     chan struct{} // has room for one value: there is something to do
	requests [drops]atomic.Uint64

	mu     sync.Mutex // guards the fields below
	input  input
	report report
}

// An input is what an Announcer is to go by. What its fields refer to is never
// changed, except for claims and failures, which the engine takes away.
type input struct {
	generation uint64 // of the fields up to the next blank line
	want       map[netip.Addr]Announcement
	links      []Link
	exclude    []*regexp.Regexp
	friends    map[MAC]bool
	nodes      map[MAC]string // of the cluster, where no agent of ours is
	nodesKnown bool           // SetNodes was called

	claims   map[heard]time.Time
	failures map[*responder]error
}

// heard is a claim and where it was made.
type heard struct {
	link int
	claim
}

// New returns an Announcer. It starts nothing.
func New(opts Options) *Announcer {
	if opts.Network == nil {
		opts.Network = Kernel{}
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Mute == nil {
		opts.Mute = func() bool { return false }
	}
	if opts.Changed == nil {
		opts.Changed = func() {}
	}
	return &Announcer{
		opts:  opts,
		wake:  make(chan struct{}, 1),
		input: input{exclude: slices.Clone(opts.Exclude)},
	}
}

// Set replaces the announced addresses. It does not wait for anything to happen,
// and calling it again with the same set changes nothing on the wire. Several
// announcements of one address count as one that covers them all.
func (a *Announcer) Set(want []Announcement) {
	next := byAddress(want)
	a.change(func(in *input) bool {
		same := maps.EqualFunc(in.want, next, Announcement.equal)
		in.want = next
		return !same
	})
}

// SetExclude replaces the expressions of the interfaces to leave alone.
func (a *Announcer) SetExclude(exclude []*regexp.Regexp) {
	exclude = slices.Clone(exclude)
	a.change(func(in *input) bool {
		in.exclude = exclude
		return true
	})
}

// SetFriends replaces the hardware addresses of our agents on other nodes, whose
// claims are no conflicts. See the package comment.
func (a *Announcer) SetFriends(macs []MAC) {
	friends := make(map[MAC]bool, len(macs))
	for _, m := range macs {
		friends[m] = true
	}
	a.change(func(in *input) bool {
		same := maps.Equal(in.friends, friends)
		in.friends = friends
		return !same
	})
}

// SetNodes replaces the hardware addresses, and the names, of the cluster's nodes on
// which no agent of ours runs. What answers there for a wanted address is another
// load balancer. A fresh address is left to it until it is silent.
func (a *Announcer) SetNodes(nodes map[MAC]string) {
	nodes = maps.Clone(nodes)
	a.change(func(in *input) bool {
		same := in.nodesKnown && maps.Equal(in.nodes, nodes)
		in.nodes, in.nodesKnown = nodes, true
		return !same
	})
}

// Run announces what Set declares until ctx ends; then it stops answering and
// returns nil. Run must not be called twice.
func (a *Announcer) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		a.watch(ctx)
		return nil
	})
	g.Go(func() error {
		newEngine(a, g).run(ctx)
		return nil
	})
	return g.Wait()
}

// watch follows the links of the node until ctx ends.
func (a *Announcer) watch(ctx context.Context) {
	failures := 0
	for {
		err := a.opts.Network.Watch(ctx, func(links []Link) {
			failures = 0
			a.change(func(in *input) bool {
				same := slices.Equal(in.links, links)
				in.links = links
				return !same
			})
		})
		if ctx.Err() != nil {
			return
		}
		if failures == 0 {
			a.opts.Logger.Warn("interfaces not watched", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(backoff(failures)):
		}
		failures++
	}
}

// change edits the input, and wakes the engine if edit reports that it is
// another one now.
func (a *Announcer) change(edit func(in *input) bool) {
	a.mu.Lock()
	changed := edit(&a.input)
	if changed {
		a.input.generation++
	}
	a.mu.Unlock()
	if changed {
		a.signal()
	}
}

// claimed tells the engine of a claim. A flood of equal ones takes no room.
func (a *Announcer) claimed(link int, c claim) {
	now := time.Now()
	a.mu.Lock()
	if a.input.claims == nil {
		a.input.claims = map[heard]time.Time{}
	}
	if len(a.input.claims) < maxClaims {
		a.input.claims[heard{link, c}] = now
	}
	a.mu.Unlock()
	a.signal()
}

// maxClaims bounds the claims that wait for the engine.
const maxClaims = 1 << 12

// failed tells the engine that a responder has ended.
func (a *Announcer) failed(r *responder, err error) {
	a.mu.Lock()
	if a.input.failures == nil {
		a.input.failures = map[*responder]error{}
	}
	a.input.failures[r] = err
	a.mu.Unlock()
	a.signal()
}

func (a *Announcer) signal() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// take returns the input, with the claims and failures since the last call.
func (a *Announcer) take() input {
	a.mu.Lock()
	defer a.mu.Unlock()
	in := a.input
	a.input.claims, a.input.failures = nil, nil
	return in
}

// publish makes r what State is made of.
func (a *Announcer) publish(r report) {
	a.mu.Lock()
	a.report = r
	a.mu.Unlock()
	a.opts.Changed()
}

const (
	// firstRetry and lastRetry bound the time between two attempts at something
	// that failed. It doubles each time.
	firstRetry = 100 * time.Millisecond
	lastRetry  = 5 * time.Second
)

// backoff returns the time to wait after so many failures before this one.
func backoff(failures int) time.Duration {
	return min(firstRetry<<min(failures, 10), lastRetry)
}
