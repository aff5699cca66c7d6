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

	"github.com/heraldlb/herald/table"
	"github.com/heraldlb/herald/wake"
)

// A Policy says what to do about an address that a stranger has.
type Policy int

// The policies.
const (
	Warn   Policy = iota // announce it, and report the conflict
	Refuse               // announce it only after probes without an answer
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
	Exclude  []*regexp.Regexp // optional: interfaces with a name that matches one are not used
	Conflict Policy           // optional: about fresh addresses; the zero value is Warn
	Nodes    bool             // optional: SetNodes will be called; fresh addresses wait for the first call, at most 750 ms from the start
	Mute     func() bool      // optional: while it is true nothing is answered or announced; it is called for each packet
	Changed  func()           // optional: called after State has changed, apart from its counts, with no lock held; it must not block
	Logger   *slog.Logger     // optional: nil discards
}

// An Announcer answers for addresses on the interfaces of this node. Its methods
// are safe for concurrent use.
type Announcer struct {
	opts     Options
	wake     wake.Signal // there is something to do
	requests [drops]atomic.Uint64
	claims   [claimResults]atomic.Uint64

	mu     sync.Mutex // guards the fields below
	input  input
	report report
}

// An input is everything that determines what an Announcer does. The values behind its
// fields are never changed, apart from claims and failures, which the engine removes.
type input struct {
	generation uint64 // of the fields up to the next blank line
	site       uint64 // of those fields but want
	want       Wanted
	links      []Link
	exclude    []*regexp.Regexp
	friends    map[MAC]bool
	lost       map[MAC]bool   // of the friends, those that may come back
	nodes      map[MAC]string // of the cluster, without an agent
	nodesKnown bool           // SetNodes was called

	claims   map[linkClaim]time.Time
	failures map[*responder]error
}

// A linkClaim is a claim and the link on which it was made.
type linkClaim struct {
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
		wake:  wake.New(),
		input: input{exclude: slices.Clone(opts.Exclude)},
	}
}

// Set replaces the announced addresses. It does not block, and calling it again with the
// same set changes nothing on the wire. Several announcements of one address count as one
// that covers them all.
func (a *Announcer) Set(want []Announcement) {
	next := byAddress(want)
	a.changeWant(func(now Wanted) Wanted {
		edit := now.Edit()
		for addr := range now.All() {
			if _, wanted := next[addr]; !wanted {
				edit.Delete(addr)
			}
		}
		for addr, w := range next {
			if was, ok := now.Get(addr); !ok || !was.equal(w) {
				edit.Set(addr, &w)
			}
		}
		return edit.Table()
	})
}

// A Wanted has announcements by address. They are read-only. Addresses are those of hosts,
// without a zone and not IPv4 in IPv6, and interfaces are sorted.
type Wanted = table.Table[netip.Addr, *Announcement]

// SetWanted is Set for a table. Announcements that stay the same are not looked at.
func (a *Announcer) SetWanted(want Wanted) {
	a.changeWant(func(Wanted) Wanted { return want })
}

// changeWant edits what is wanted, and wakes the engine if that is a change.
func (a *Announcer) changeWant(edit func(Wanted) Wanted) {
	a.mu.Lock()
	before := a.input.want
	a.input.want = edit(before)
	changed := false
	for range table.Diff(before, a.input.want, func(a, b *Announcement) bool { return a == b || a.equal(*b) }) {
		changed = true
		break
	}
	if changed {
		a.input.generation++
	}
	a.mu.Unlock()
	if changed {
		a.wake.Set()
	}
}

// SetExclude replaces the expressions for the interfaces that are not used.
func (a *Announcer) SetExclude(exclude []*regexp.Regexp) {
	exclude = slices.Clone(exclude)
	a.change(func(in *input) bool {
		in.exclude = exclude
		return true
	})
}

// SetFriends replaces the hardware addresses of the agents on other nodes. Their claims
// are no conflicts. See the package comment.
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

// SetLost replaces the hardware addresses of those friends that gossip has lost, and whose
// agents may still run. Their claims are looked into: see [Address.Contenders].
func (a *Announcer) SetLost(macs []MAC) {
	lost := make(map[MAC]bool, len(macs))
	for _, m := range macs {
		lost[m] = true
	}
	a.change(func(in *input) bool {
		same := maps.Equal(in.lost, lost)
		in.lost = lost
		return !same
	})
}

// SetNodes replaces the hardware addresses and names of the cluster's nodes without an
// agent. If one of them answers for a wanted address, another load balancer runs there.
// A fresh address is left to that load balancer until it no longer answers.
func (a *Announcer) SetNodes(nodes map[MAC]string) {
	nodes = maps.Clone(nodes)
	a.change(func(in *input) bool {
		same := in.nodesKnown && maps.Equal(in.nodes, nodes)
		in.nodes, in.nodesKnown = nodes, true
		return !same
	})
}

// Run announces the addresses of Set until ctx ends. Then it stops answering and returns
// nil. Run must not be called twice.
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

// change edits the input, but for what is wanted, and wakes the engine if edit reports a change.
func (a *Announcer) change(edit func(in *input) bool) {
	a.mu.Lock()
	changed := edit(&a.input)
	if changed {
		a.input.generation++
		a.input.site++
	}
	a.mu.Unlock()
	if changed {
		a.wake.Set()
	}
}

// claimed passes a claim to the engine. Equal claims are one.
func (a *Announcer) claimed(link int, c claim) {
	now := time.Now()
	a.mu.Lock()
	if a.input.claims == nil {
		a.input.claims = map[linkClaim]time.Time{}
	}
	if len(a.input.claims) < maxClaims {
		a.input.claims[linkClaim{link, c}] = now
	}
	a.mu.Unlock()
	a.wake.Set()
}

// maxClaims bounds the claims that wait for the engine.
const maxClaims = 1 << 12

// failed passes to the engine that a responder has ended.
func (a *Announcer) failed(r *responder, err error) {
	a.mu.Lock()
	if a.input.failures == nil {
		a.input.failures = map[*responder]error{}
	}
	a.input.failures[r] = err
	a.mu.Unlock()
	a.wake.Set()
}

// take returns the input, with the claims and failures since the last call.
func (a *Announcer) take() input {
	a.mu.Lock()
	defer a.mu.Unlock()
	in := a.input
	a.input.claims, a.input.failures = nil, nil
	return in
}

// last returns the newest report.
func (a *Announcer) last() report {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.report
}

// publish makes r the report behind Seen and State.
func (a *Announcer) publish(r report) {
	a.mu.Lock()
	a.report = r
	a.mu.Unlock()
	a.opts.Changed()
}

const (
	// firstRetry and lastRetry bound the time between two attempts after a failure. It
	// doubles each time.
	firstRetry = 100 * time.Millisecond
	lastRetry  = 5 * time.Second
)

// backoff returns the time to the next attempt; failures is the number before this one.
func backoff(failures int) time.Duration {
	return min(firstRetry<<min(failures, 10), lastRetry)
}
