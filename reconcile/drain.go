// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"cmp"
	"fmt"
	"net/netip"
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

// outlasts reports whether a node goes on announcing what n, which drains, would
// leave to it. Of nodes that all drain, that is the last to have begun.
func (m *Node) outlasts(n Node) bool {
	if m.Drain.IsZero() || m.Drain.Force {
		return m.Drain.IsZero()
	}
	return cmp.Or(m.Drain.Since.Compare(n.Drain.Since), strings.Compare(m.Name, n.Name)) > 0
}

// A drainage says what of a node's routes is withdrawn because it drains.
type drainage struct {
	force bool
	waits bool // for routers to follow; nothing is withdrawn yet
}

// lastAnnouncer is what a decision says of an address that is still announced though
// the node drains, and why.
func lastAnnouncer(why string) string { return "the node drains, but " + why }

// drain enters what the node's drain means for its routes: at first they all ask
// for another path, then they go.
func (a *announcer) drain(n Node) {
	if n.Drain.IsZero() {
		return
	}
	a.policies.shutdown = true
	a.drained = &drainage{force: n.Drain.Force, waits: !a.opts.Drained}
}

// drainRefusal completes the decision about an address that the node could
// announce; it reports whether it withdraws it. It does not unless another node was
// seen to announce it, or it has to. What it does not announce, because it has
// withdrawn it before or has never announced it, it leaves to those that are able to
// for a moment: they may be about to.
func (a *announcer) drainRefusal(d *status.Decision, svc *Service, pool *poolAds, endpoints []Endpoint) bool {
	switch {
	case a.drained == nil:
		return false
	case a.drained.force:
		if a.drained.waits {
			return false
		}
		d.Reason = status.NodeDraining
		return true
	}
	s := a.succession().of(svc, pool, d.Addr, endpoints, "")
	switch {
	case s.Confirmed && a.drained.waits:
		return false
	case s.Confirmed:
		d.Reason = status.NodeDraining
		return true
	case s.Able && !a.opts.announces(d.Addr) && !a.opts.overdue(d.Addr):
		a.unseen = append(a.unseen, d.Addr)
		d.Reason, d.Detail = status.NodeDraining, s.Detail
		return true
	}
	d.Detail, d.Last = lastAnnouncer(s.Detail), true
	a.last = append(a.last, d.Addr)
	return false
}

// succession is made once it is needed.
func (a *announcer) succession() *succession {
	if a.others == nil {
		a.others = newSuccession(a.snapshot, a.policies.node, a.opts)
	}
	return a.others
}

// announces reports whether the node announces an address, as far as is known.
func (o AnnounceOptions) announces(addr netip.Addr) bool {
	return o.Announces == nil || o.Announces(addr)
}

// overdue reports whether others should have announced an address by now.
func (o AnnounceOptions) overdue(addr netip.Addr) bool { return o.Overdue != nil && o.Overdue(addr) }
