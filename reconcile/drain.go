// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/status"
)

// AnnotationDrain on a Node has the node hand over what it announces, and then
// announce nothing. Its value is a Drain.
const AnnotationDrain = config.AnnotationDrain

// DefaultDrainHold is how long a node that drains asks routers to prefer others
// before it withdraws its routes: time for them to have moved.
const DefaultDrainHold = 10 * time.Second

// The bounds of a Drain's Hold.
const (
	MinDrainHold = time.Second
	MaxDrainHold = time.Hour
)

// The words behind the time in a Drain's text.
const (
	drainHoldFor = "hold=" // a duration follows
	drainForce   = "force"
)

// A Drain is the wish that a node announce nothing. The zero Drain is none.
type Drain struct {
	Since time.Time     // orders nodes that drain: the last to have begun keeps what none announces besides
	Hold  time.Duration // how long to ask for other paths before routes are withdrawn; 0: DefaultDrainHold
	Force bool          // also what no other node announces
}

// CheckDrainHold says what is wrong with the Hold of a Drain.
func CheckDrainHold(hold time.Duration) error {
	if hold < MinDrainHold || hold > MaxDrainHold {
		return fmt.Errorf("hold %v: want %v to %v", hold, MinDrainHold, MaxDrainHold)
	}
	return nil
}

// ParseDrain reads what Drain.String returns: a time of RFC 3339, and behind it,
// or not, "hold=DURATION" and "force", in any order.
func ParseDrain(text string) (Drain, error) {
	words := strings.Fields(text)
	if len(words) == 0 {
		words = []string{""}
	}
	since, err := time.Parse(time.RFC3339, words[0])
	if err != nil || since.IsZero() {
		return Drain{}, fmt.Errorf("drain %q: want a time such as %s first", text, "2026-01-02T15:04:05Z")
	}
	d := Drain{Since: since}
	for i, word := range words[1:] {
		hold, isHold := strings.CutPrefix(word, drainHoldFor)
		switch {
		case slices.Contains(words[1:1+i], word):
			return Drain{}, fmt.Errorf("drain %q: %q twice", text, word)
		case word == drainForce:
			d.Force = true
		case isHold && d.Hold == 0:
			if d.Hold, err = time.ParseDuration(hold); err == nil {
				err = CheckDrainHold(d.Hold)
			}
			if err != nil {
				return Drain{}, fmt.Errorf("drain %q: %w", text, err)
			}
		default:
			return Drain{}, fmt.Errorf("drain %q: want %sDURATION and %s behind the time, or not", text, drainHoldFor, drainForce)
		}
	}
	return d, nil
}

// String returns the value of the annotation.
func (d Drain) String() string {
	text := d.Since.UTC().Format(time.RFC3339)
	if d.Hold != 0 {
		text += " " + drainHoldFor + d.Hold.String()
	}
	if d.Force {
		text += " " + drainForce
	}
	return text
}

// IsZero reports whether nothing is wished.
func (d Drain) IsZero() bool { return d == Drain{} }

// hold returns how long the node asks routers to prefer others.
func (d Drain) hold() time.Duration { return cmp.Or(d.Hold, DefaultDrainHold) }

// A drainage says what of a node's routes is withdrawn because it drains.
type drainage struct {
	force  bool
	waits  bool             // for routers to follow; nothing is withdrawn yet
	others []announcingNode // that are alive, outlast it, and may announce something
	last   string           // what decisions say of what none of them announces
}

// An announcingNode is another node, with the peers that run there.
type announcingNode struct {
	*Node
	sessions []session
}

// newDrainage returns what a node that drains goes by. A node that has no agent,
// or no power, announces nothing, whatever the cluster says of it: only one that
// gossip reaches counts, and without gossip none does.
func newDrainage(s Snapshot, n Node, opts AnnounceOptions) *drainage {
	d := &drainage{force: n.Drain.Force, last: lastAnnouncer}
	if opts.Members.Disabled || opts.Members.Stale {
		d.last = aliveUnknown
		return d
	}
	for _, m := range s.Nodes {
		if m.Name == n.Name || !opts.Members.stays(m.Name) || !m.outlasts(n) || refusal(*m, true, opts) != "" {
			continue
		}
		if _, _, sessions := sessionsOf(*s.Config.Config, *m, true); len(sessions) > 0 {
			d.others = append(d.others, announcingNode{m, sessions})
		}
	}
	return d
}

// stays reports whether the agent of a node is known to be alive, and does not say
// that it stops.
func (m Membership) stays(node string) bool {
	return slices.ContainsFunc(m.Members, func(o Member) bool { return o.Node == node && !o.Leaving })
}

// outlasts reports whether a node goes on announcing what n, which drains, would
// leave to it. Of nodes that all drain, that is the last to have begun.
func (m *Node) outlasts(n Node) bool {
	if m.Drain.IsZero() || m.Drain.Force {
		return m.Drain.IsZero()
	}
	return cmp.Or(m.Drain.Since.Compare(n.Drain.Since), strings.Compare(m.Name, n.Name)) > 0
}

// withdraws reports whether the node withdraws an address of a Service. The last
// one that announces it does not, unless it has to.
func (d *drainage) withdraws(svc *Service, pool *poolAds, is4 bool, endpoints []Endpoint) bool {
	return d.force || slices.ContainsFunc(d.others, func(m announcingNode) bool {
		return m.announces(svc, pool, is4, endpoints)
	})
}

// announces reports whether the node has a route of the address for a peer, by
// the same rules as this one.
func (m announcingNode) announces(svc *Service, pool *poolAds, is4 bool, endpoints []Endpoint) bool {
	if newReach(endpoints, m.Name).refusal(is4, svc.Local) != "" {
		return false
	}
	return slices.ContainsFunc(pool.bgp, func(ad *config.BGPAdvertisement) bool {
		return config.AnyMatches(ad.ServiceSelectors, svc.Labels) && config.AnyMatches(ad.NodeSelectors, m.Labels) &&
			slices.ContainsFunc(m.sessions, func(s session) bool {
				return s.carries(is4) && (len(ad.Peers) == 0 || slices.Contains(ad.Peers, s.name))
			})
	})
}

// What a decision says of an address that is still announced though the node
// drains.
const (
	lastAnnouncer = "the node drains, but no other announces the address"
	aliveUnknown  = "the node drains, but which other nodes are alive is not known"
)

// drain enters what the node's drain means for its routes: at first they all ask
// for another path, then they go.
func (a *announcer) drain(s Snapshot, n Node, opts AnnounceOptions) {
	if n.Drain.IsZero() {
		return
	}
	a.policies.shutdown = true
	a.drained = newDrainage(s, n, opts)
	a.drained.waits = !opts.Drained
}

// drainRefusal completes the decision about an address that the node could
// announce; it reports whether it withdraws it.
func (a *announcer) drainRefusal(d *status.Decision, svc *Service, pool *poolAds, endpoints []Endpoint) bool {
	switch {
	case a.drained == nil:
		return false
	case !a.drained.withdraws(svc, pool, d.Addr.Is4(), endpoints):
		d.Detail, d.Last = a.drained.last, true
		a.last = append(a.last, d.Addr)
		return false
	case a.drained.waits:
		return false
	}
	d.Reason = status.NodeDraining
	return true
}
