// SPDX-License-Identifier: Apache-2.0

package frr

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/heraldlb/herald/frr/vty"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/table"
	"github.com/heraldlb/herald/trace"
	"github.com/heraldlb/herald/wake"
)

const (
	// firstLook and lastLook limit the time between two looks at routes that have not
	// been sent yet. It doubles each time.
	firstLook = 50 * time.Millisecond
	lastLook  = 2 * time.Second

	// idleLook is the time between two looks when all routes have been sent.
	idleLook = 30 * time.Second

	// rechecks is the number of further looks at a route after the set of its peers
	// has changed: they are not all sent the route at the same moment.
	rechecks = 5

	// sessionsAge is how old the list of sessions may be at a look. The list says
	// which VRFs and peers to ask about, not what was sent, so that an old one can
	// only hide a route until the next look.
	sessionsAge = firstLook

	// lookOneByOne is the largest number of routes that are asked about one by one.
	// For more routes it is cheaper to ask for the whole Adj-RIB-Out of each peer.
	lookOneByOne = 32
)

// A Prober asks FRR which routes it has sent to which peers.
type Prober interface {
	AdvertisedTo(ctx context.Context, vrf string, prefix netip.Prefix) ([]status.PeerID, error)
	Advertised(ctx context.Context, peer status.PeerID, v6 bool) (map[netip.Prefix]bool, error)
	Close() error
}

var _ Prober = (*Reader)(nil)

// VerifierOptions configure a Verifier.
type VerifierOptions struct {
	Sessions func(ctx context.Context, since time.Time) ([]Session, error) // required: as Poller.Sessions

	Prober  Prober        // required: only the Verifier uses it, and closes it
	Timeout time.Duration // optional: for one look; 0 means 10 s
	Changed func()        // optional: called after results of SentTo have changed, with no lock held; it must not block
	Logger  *slog.Logger  // optional: nil discards
}

// A Verifier knows which routes the peers were sent: those in the Adj-RIB-Out of an
// established session. Its methods are safe for concurrent use.
type Verifier struct {
	opts VerifierOptions
	wake wake.Signal // there is something to look at

	mu     sync.Mutex                                  // guards the fields below
	routes table.Table[netip.Prefix, string]           // the keys
	sent   table.Editor[netip.Prefix, []status.PeerID] // of routes: the peers in order
	peers  []status.PeerID                             // of the route that was found sent last: most have the same
	unsent map[netip.Prefix]bool                       // of routes: those that are not in sent
	young  map[netip.Prefix]int                        // of routes: the rechecks that are left
	asked  bool                                        // Look asked for a look at all routes
	looked time.Time                                   // when the last successful look at all routes began
}

// NewVerifier returns a Verifier. It starts nothing.
func NewVerifier(opts VerifierOptions) *Verifier {
	if opts.Timeout == 0 {
		opts.Timeout = 10 * time.Second
	}
	if opts.Changed == nil {
		opts.Changed = func() {}
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	return &Verifier{opts: opts, wake: wake.New(), unsent: map[netip.Prefix]bool{}, young: map[netip.Prefix]int{}}
}

// Expect replaces the routes to look at, which are the keys. It does not block.
func (v *Verifier) Expect(routes table.Table[netip.Prefix, string]) {
	more := false
	v.mu.Lock()
	for c := range table.Diff(v.routes, routes, func(string, string) bool { return true }) {
		if c.After != nil {
			more = true
			v.unsent[c.Key] = true
			continue
		}
		v.sent.Delete(c.Key)
		delete(v.unsent, c.Key)
		delete(v.young, c.Key)
	}
	v.routes = routes
	v.mu.Unlock()
	if more {
		v.wake.Set()
	}
}

// Look asks for a look at all routes, as after a session has come up or gone down.
func (v *Verifier) Look() {
	v.mu.Lock()
	v.asked = true
	v.mu.Unlock()
	v.wake.Set()
}

// Recheck asks for several looks at those of the routes that have been sent: the set
// of their peers is about to change. It does not block.
func (v *Verifier) Recheck(routes []netip.Prefix) {
	v.mu.Lock()
	for _, r := range routes {
		if _, sent := v.sent.Get(r); sent {
			v.young[r] = rechecks
		}
	}
	v.mu.Unlock()
	if len(routes) > 0 {
		v.wake.Set()
	}
}

// SentTo returns the peers that were sent a route, in order, as of the last look.
// The caller must not change the result.
func (v *Verifier) SentTo(route netip.Prefix) []status.PeerID {
	v.mu.Lock()
	defer v.mu.Unlock()
	peers, _ := v.sent.Get(route)
	return peers
}

// AllSent returns the peers that were sent each route, of routes that were sent to any.
func (v *Verifier) AllSent() table.Table[netip.Prefix, []status.PeerID] {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.sent.Table()
}

// Sent reports whether any peer was sent a route.
func (v *Verifier) Sent(route netip.Prefix) bool { return len(v.SentTo(route)) > 0 }

// Run looks until ctx ends, and returns nil then. It must not be called twice.
func (v *Verifier) Run(ctx context.Context) error {
	defer v.opts.Prober.Close()
	timer := time.NewTimer(idleLook)
	defer timer.Stop()
	looks := 0 // without success
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-v.wake:
			looks = 0
		case <-timer.C:
		}
		routes, all := v.due(time.Now())
		if len(routes) > 0 || all {
			err := v.look(ctx, routes, all)
			if err != nil && ctx.Err() == nil {
				v.opts.Logger.Debug("routes not looked at", "err", err)
			}
		}
		again := v.quiet(time.Now())
		if again > 0 {
			looks = 0
		} else {
			again = min(firstLook<<min(looks, 10), lastLook)
			looks++
		}
		timer.Reset(again)
	}
}

// quiet returns how long there is nothing to look at, unless something changes.
func (v *Verifier) quiet(now time.Time) time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.unsent)+len(v.young) > 0 || v.asked {
		return 0
	}
	return v.looked.Add(idleLook).Sub(now)
}

// due returns the routes to look at: those that have not been sent and those to
// recheck, or all if Look asked for it or the last look at all was long ago. With many
// routes, FRR takes a while to answer a look at all, and sends nothing meanwhile.
func (v *Verifier) due(now time.Time) (routes []netip.Prefix, all bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.asked || now.Sub(v.looked) >= idleLook {
		for r := range v.routes.All() {
			routes = append(routes, r)
		}
		return routes, true
	}
	for r := range v.unsent {
		routes = append(routes, r)
	}
	for r := range v.young {
		if !v.unsent[r] {
			routes = append(routes, r)
		}
	}
	slices.SortFunc(routes, netip.Prefix.Compare)
	return routes, false
}

// look asks FRR about routes, and records the answers.
func (v *Verifier) look(ctx context.Context, routes []netip.Prefix, all bool) error {
	ctx, cancel := context.WithTimeout(ctx, v.opts.Timeout)
	defer cancel()
	begun, awaited := time.Now(), false
	if all {
		v.mu.Lock()
		awaited, v.asked = v.asked, false
		v.mu.Unlock()
	}
	found, err := v.ask(ctx, routes, begun.Add(-sessionsAge))
	if errors.Is(err, vty.ErrUnavailable) && ctx.Err() == nil {
		found, err = nil, nil // no bgpd, no sessions
	}
	if err != nil {
		v.mu.Lock()
		v.asked = v.asked || awaited
		v.mu.Unlock()
		return err
	}
	changed := v.note(routes, found)
	if all {
		v.mu.Lock()
		v.looked = begun
		v.mu.Unlock()
	}
	if changed || awaited {
		v.opts.Changed()
	}
	return nil
}

// Looked returns when the last finished look at all routes began. The results of
// SentTo are at least as new. Changed is called after each look that Look asked for.
func (v *Verifier) Looked() time.Time {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.looked
}

// ask returns the peers that were sent each route, over the sessions that were up at
// a time or later.
func (v *Verifier) ask(ctx context.Context, routes []netip.Prefix, since time.Time) (map[netip.Prefix][]status.PeerID, error) {
	found := make(map[netip.Prefix][]status.PeerID, len(routes))
	sessions, err := v.opts.Sessions(ctx, since)
	if err != nil {
		return nil, err
	}
	if len(routes) <= lookOneByOne {
		for _, vrf := range vrfsUp(sessions) {
			for _, r := range routes {
				peers, err := v.opts.Prober.AdvertisedTo(ctx, vrf, r)
				if err != nil {
					return nil, err
				}
				found[r] = append(found[r], peers...)
			}
		}
		return found, nil
	}
	families := map[bool]bool{}
	for _, r := range routes {
		families[r.Addr().Is6()] = true
	}
	for _, s := range sessions {
		if !s.Up {
			continue
		}
		for is6 := range families {
			sent, err := v.opts.Prober.Advertised(ctx, s.Peer, is6)
			if err != nil {
				return nil, err
			}
			for _, r := range routes {
				if sent[r] {
					found[r] = append(found[r], s.Peer)
				}
			}
		}
	}
	return found, nil
}

// vrfsUp returns the VRFs in which a session is up, in order.
func vrfsUp(sessions []Session) []string {
	var vrfs []string
	for _, s := range sessions {
		if s.Up {
			vrfs = append(vrfs, s.Peer.VRF)
		}
	}
	slices.Sort(vrfs)
	return slices.Compact(vrfs)
}

// note records the peers of routes that are still expected, and reports whether any
// have changed.
func (v *Verifier) note(routes []netip.Prefix, found map[netip.Prefix][]status.PeerID) (changed bool) {
	var news []netip.Prefix
	defer func() {
		for _, r := range news {
			trace.Line(v.opts.Logger, trace.Sent, slog.Any("route", r))
		}
	}()
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, r := range routes {
		peers, _ := v.sent.Get(r)
		if slices.Equal(peers, found[r]) {
			if v.young[r]--; v.young[r] <= 0 {
				delete(v.young, r)
			}
			continue
		}
		if _, expected := v.routes.Get(r); !expected {
			continue
		}
		changed = true
		if len(found[r]) == 0 {
			v.sent.Delete(r)
			delete(v.young, r)
			v.unsent[r] = true
		} else {
			if len(peers) == 0 && trace.On(v.opts.Logger) {
				news = append(news, r)
			}
			if !slices.Equal(v.peers, found[r]) {
				v.peers = found[r]
			}
			v.sent.Set(r, v.peers)
			v.young[r] = rechecks
			delete(v.unsent, r)
		}
	}
	// A map stays as large as it was once.
	if len(v.unsent) == 0 {
		v.unsent = map[netip.Prefix]bool{}
	}
	if len(v.young) == 0 {
		v.young = map[netip.Prefix]int{}
	}
	return changed
}
