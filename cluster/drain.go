// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/heraldlb/herald/config"

	"github.com/heraldlb/herald/excerpt"
)

// AnnotationDrain on a Node drains it: the node hands over what it announces, and then
// announces nothing. Its value is a Drain.
const AnnotationDrain = config.AnnotationDrain

// DefaultDrainHold is how long a node that drains sends graceful shutdown (RFC 8326)
// before it withdraws its routes: the time in which routers choose other paths.
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

// A Drain is a request that a node announce nothing. The zero Drain is none.
type Drain struct {
	Since time.Time     // orders nodes that drain: the last to begin keeps what no other node announces
	Hold  time.Duration // time of graceful shutdown before routes are withdrawn; 0: DefaultDrainHold
	Force bool          // withdraw also what no other node announces
}

// CheckDrainHold reports a Hold that is out of range.
func CheckDrainHold(hold time.Duration) error {
	if hold < MinDrainHold || hold > MaxDrainHold {
		return fmt.Errorf("hold %v: want %v to %v", hold, MinDrainHold, MaxDrainHold)
	}
	return nil
}

// maxDrain bounds the text that ParseDrain reads.
const maxDrain = 256

// ParseDrain reads what Drain.String returns: a time of RFC 3339, then optionally
// "hold=DURATION" and "force", in any order.
func ParseDrain(text string) (Drain, error) {
	if len(text) > maxDrain {
		return Drain{}, fmt.Errorf("drain %s: longer than %d bytes", excerpt.Quote(text), maxDrain)
	}
	words := strings.Fields(text)
	if len(words) == 0 {
		words = []string{""}
	}
	since, err := time.Parse(time.RFC3339, words[0])
	if err != nil || since.IsZero() {
		return Drain{}, fmt.Errorf("drain %s: want a time such as %s first", excerpt.Quote(text), "2026-01-02T15:04:05Z")
	}
	d := Drain{Since: since}
	for i, word := range words[1:] {
		hold, isHold := strings.CutPrefix(word, drainHoldFor)
		switch {
		case slices.Contains(words[1:1+i], word):
			return Drain{}, fmt.Errorf("drain %s: %s twice", excerpt.Quote(text), excerpt.Quote(word))
		case word == drainForce:
			d.Force = true
		case isHold && d.Hold == 0:
			if d.Hold, err = time.ParseDuration(hold); err == nil {
				err = CheckDrainHold(d.Hold)
			}
			if err != nil {
				return Drain{}, fmt.Errorf("drain %s: %w", excerpt.Quote(text), err)
			}
		default:
			return Drain{}, fmt.Errorf("drain %s: want %sDURATION and %s behind the time, or not", excerpt.Quote(text), drainHoldFor, drainForce)
		}
	}
	return d, nil
}

// drainDoubt is how wrong the clock may be that an annotation's time is from.
const drainDoubt = time.Minute

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

// IsZero reports whether there is no request.
func (d Drain) IsZero() bool { return d == Drain{} }

// HoldTime returns how long the node sends graceful shutdown before it withdraws.
func (d Drain) HoldTime() time.Duration { return cmp.Or(d.Hold, DefaultDrainHold) }

// Outlasts reports whether a node keeps announcing what n, which drains, hands over to
// it. If all nodes drain, the last one to begin does.
func (m *Node) Outlasts(n Node) bool {
	if m.Drain.IsZero() || m.Drain.Force {
		return m.Drain.IsZero()
	}
	return cmp.Or(m.Drain.Since.Compare(n.Drain.Since), strings.Compare(m.Name, n.Name)) > 0
}

// Expired reports whether the hold is over on every clock that Since may be from.
func (d Drain) Expired(now time.Time) bool {
	return !now.Before(d.Since.Add(d.HoldTime() + drainDoubt))
}
