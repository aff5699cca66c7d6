// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/heraldlb/herald/config"
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

// drainDoubt is by how much the clock that an annotation is from may be wrong,
// where there is nothing else to go by.
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

// IsZero reports whether nothing is wished.
func (d Drain) IsZero() bool { return d == Drain{} }

// HoldTime returns how long the node asks routers to prefer others.
func (d Drain) HoldTime() time.Duration { return cmp.Or(d.Hold, DefaultDrainHold) }

// Outlasts reports whether a node goes on announcing what n, which drains, would
// leave to it. Of nodes that all drain, that is the last to have begun.
func (m *Node) Outlasts(n Node) bool {
	if m.Drain.IsZero() || m.Drain.Force {
		return m.Drain.IsZero()
	}
	return cmp.Or(m.Drain.Since.Compare(n.Drain.Since), strings.Compare(m.Name, n.Name)) > 0
}

// Expired reports whether the hold must be over, whoever's clock Since is from.
func (d Drain) Expired(now time.Time) bool {
	return !now.Before(d.Since.Add(d.HoldTime() + drainDoubt))
}
