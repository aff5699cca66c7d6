// SPDX-License-Identifier: Apache-2.0

package frr

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/heraldlb/herald/frr/vty"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/wake"
)

const (
	// firstLook and lastLook bound the time between two looks at routes that
	// have not been sent yet. It doubles each time.
	firstLook = 50 * time.Millisecond
	lastLook  = 2 * time.Second

	// lookAgain is the time between two looks at routes that have been sent.
	lookAgain = 30 * time.Second

	// lookOnceMore is how often a route is looked at after it was seen to be sent
	// to another set of peers: they are not all sent it at the same moment.
	lookOnceMore = 5

	// sessionsAge is how old the list of sessions may be at a look. It says where to
	// ask, not what was sent: a route is at most missed, until the next look.
	sessionsAge = firstLook

	// lookOneByOne is up to how many routes are asked for one by one. From there
	// on the whole of what each peer was sent is cheaper.
	lookOneByOne = 32
)

// A Prober asks FRR for what was sent to whom.
type Prober interface {
	AdvertisedTo(ctx context.Context, vrf string, prefix netip.Prefix) ([]status.PeerID, error)
	Advertised(ctx context.Context, peer status.PeerID, v6 bool) (map[netip.Prefix]bool, error)
	Close() error
}

var _ Prober = (*Reader)(nil)

// VerifierOptions configure a Verifier.
type VerifierOptions struct {
	Sessions func(ctx context.Context, since time.Time) ([]Session, error) // required: as Poller.Sessions

	Prober  Prober        // required: the Verifier's own, which it closes
	Timeout time.Duration // optional: for one look; 0 means 10 s
	Changed func()        // optional: called after answers of SentTo have changed, with no lock held; it must not block
	Logger  *slog.Logger  // optional: nil discards
}

// A Verifier knows which routes peers were sent: in whose Adj-RIB-Out they are,
// over a session that is up. Its methods are safe for concurrent use.
type Verifier struct {
	opts VerifierOptions
	wake wake.Signal // there is something to look at

	mu     sync.Mutex // guards the fields below
	routes []netip.Prefix
	sent   map[netip.Prefix][]status.PeerID // of routes, the peers in order
	young  map[netip.Prefix]int             // of routes: how often to look once more
	again  bool                             // all of it may have changed
	looked time.Time                        // when the last look at all that succeeded was begun
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
	return &Verifier{opts: opts, wake: wake.New(), sent: map[netip.Prefix][]status.PeerID{}, young: map[netip.Prefix]int{}}
}

// Expect replaces the routes to look at. It waits for nothing.
func (v *Verifier) Expect(routes []netip.Prefix) {
	v.mu.Lock()
	same := slices.Equal(routes, v.routes)
	if !same {
		v.routes = slices.Clone(routes)
		wanted := make(map[netip.Prefix]bool, len(routes))
		for _, r := range routes {
			wanted[r] = true
		}
		maps.DeleteFunc(v.sent, func(p netip.Prefix, _ []status.PeerID) bool { return !wanted[p] })
		maps.DeleteFunc(v.young, func(p netip.Prefix, _ int) bool { return !wanted[p] })
	}
	v.mu.Unlock()
	if !same {
		v.wake.Set()
	}
}

// Look has all routes looked at: a session has come up, say, or gone down.
func (v *Verifier) Look() {
	v.mu.Lock()
	v.again = true
	v.mu.Unlock()
	v.wake.Set()
}

// Recheck has routes looked at that were sent, several times over: they may go to
// other peers in a moment. It waits for nothing.
func (v *Verifier) Recheck(routes []netip.Prefix) {
	v.mu.Lock()
	for _, r := range routes {
		if len(v.sent[r]) > 0 {
			v.young[r] = lookOnceMore
		}
	}
	v.mu.Unlock()
	if len(routes) > 0 {
		v.wake.Set()
	}
}

// SentTo returns the peers that were sent a route, in order, as of the last look.
// The caller must not change it.
func (v *Verifier) SentTo(route netip.Prefix) []status.PeerID {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.sent[route]
}

// Sent reports whether any peer was.
func (v *Verifier) Sent(route netip.Prefix) bool { return len(v.SentTo(route)) > 0 }

// Run looks until ctx ends, and returns nil then. It must not be called twice.
func (v *Verifier) Run(ctx context.Context) error {
	defer v.opts.Prober.Close()
	timer := time.NewTimer(lookAgain)
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
		routes, all := v.due()
		err := v.look(ctx, routes, all)
		if err != nil && ctx.Err() == nil {
			v.opts.Logger.Debug("routes not looked at", "err", err)
		}
		if _, all := v.due(); all && err == nil {
			looks = 0
			timer.Reset(lookAgain)
			continue
		}
		timer.Reset(min(firstLook<<min(looks, 10), lastLook))
		looks++
	}
}

// due returns the routes to look at: those that have not been sent, or were a
// moment ago; or all.
func (v *Verifier) due() (routes []netip.Prefix, all bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, r := range v.routes {
		if len(v.sent[r]) == 0 || v.young[r] > 0 {
			routes = append(routes, r)
		}
	}
	if len(routes) == 0 || v.again {
		return v.routes, true
	}
	return routes, false
}

// look asks FRR about routes.
func (v *Verifier) look(ctx context.Context, routes []netip.Prefix, all bool) error {
	ctx, cancel := context.WithTimeout(ctx, v.opts.Timeout)
	defer cancel()
	begun, awaited := time.Now(), false
	if all {
		v.mu.Lock()
		awaited, v.again = v.again, false
		v.mu.Unlock()
	}
	found, err := v.ask(ctx, routes, begun.Add(-sessionsAge))
	if errors.Is(err, vty.ErrUnavailable) && ctx.Err() == nil {
		found, err = nil, nil // no bgpd, no sessions
	}
	if err != nil {
		v.mu.Lock()
		v.again = v.again || awaited
		v.mu.Unlock()
		return err
	}
	news := v.note(routes, found)
	if all {
		v.mu.Lock()
		v.looked = begun
		v.mu.Unlock()
	}
	if news || awaited {
		v.opts.Changed()
	}
	return nil
}

// Looked returns when the last look at all routes was begun that is over: what SentTo
// returns is at least as new. Changed is called after one that Look asked for.
func (v *Verifier) Looked() time.Time {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.looked
}

// ask returns who was sent each of the routes, over the sessions that have been up
// since a time or later.
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

// note remembers what was found of routes, as far as they are still expected, and
// reports whether that is news.
func (v *Verifier) note(routes []netip.Prefix, found map[netip.Prefix][]status.PeerID) (news bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, r := range routes {
		if slices.Equal(v.sent[r], found[r]) {
			if v.young[r]--; v.young[r] <= 0 {
				delete(v.young, r)
			}
			continue
		}
		if _, expected := slices.BinarySearchFunc(v.routes, r, netip.Prefix.Compare); !expected {
			continue
		}
		news = true
		if len(found[r]) == 0 {
			delete(v.sent, r)
			delete(v.young, r)
		} else {
			v.sent[r] = found[r]
			v.young[r] = lookOnceMore
		}
	}
	return news
}
