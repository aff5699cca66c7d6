// SPDX-License-Identifier: Apache-2.0

package status

import (
	"slices"
	"sync"
	"time"

	"github.com/heraldlb/herald/excerpt"
)

// A Change is something that became different, and why. What was so before the process
// started is no Change.
type Change struct {
	At      time.Time  `json:"at"`
	Kind    ChangeKind `json:"kind"`
	Subject string     `json:"subject"`          // what has changed, such as a peer, or a Service with its address and protocol
	Before  string     `json:"before,omitempty"` // empty: it was not there
	After   string     `json:"after,omitempty"`  // empty: it is not there any more
	Cause   string     `json:"cause,omitempty"`  // empty: not known, or clear from the rest

	Lasted Seconds `json:"lastedSeconds,omitempty"` // how long it was as before; missing: not known

	// The same change again and again, as of a session that flaps, is one Change: how often it
	// has come, and when first.
	Times int       `json:"times,omitempty"`
	First time.Time `json:"first,omitzero"`
}

// Seconds are a time that has passed, to the millisecond.
type Seconds float64

// SecondsOf returns a time that has passed; none if it has not.
func SecondsOf(d time.Duration) Seconds { return Seconds(max(d, 0).Round(time.Millisecond).Seconds()) }

// A ChangeKind is what a Change is about.
type ChangeKind string

// The kinds of changes.
const (
	ChangeAnnouncement  ChangeKind = "announcement"  // agent: whether it announces an address, and the reason
	ChangeSession       ChangeKind = "session"       // the state of a BGP session; of the leading controller: of any node
	ChangeBFD           ChangeKind = "bfd"           // agent: the state of the BFD session that guards a BGP session
	ChangeMember        ChangeKind = "member"        // agent: whether gossip has another agent as alive
	ChangeDataPlane     ChangeKind = "dataPlane"     // agent: whether the node's data plane is healthy
	ChangeDrain         ChangeKind = "drain"         // agent: whether the node drains
	ChangeFRR           ChangeKind = "frr"           // whether FRR runs the wanted configuration; of the leading controller: on any node
	ChangeConfiguration ChangeKind = "configuration" // which configuration is in force, and whether the newest is
	ChangeFailure       ChangeKind = "failure"       // what keeps the process from its work
	ChangeLeading       ChangeKind = "leading"       // controller: whether it assigns addresses
	ChangeAddress       ChangeKind = "address"       // controller: the addresses in a Service's status
	ChangeCondition     ChangeKind = "condition"     // controller: the reason of a Service's condition
	ChangeLogLevel      ChangeKind = "logLevel"      // by whoever may run programs in the container
)

const (
	// journalSize is how many Changes a Journal keeps.
	journalSize = 256
	// repeats is how many of the newest Changes may be the same as another one: a subject that
	// flaps must not displace all others.
	repeats = 16
)

// A Journal has the last Changes of a process. Its methods are safe for concurrent use, and
// never block. A nil Journal keeps nothing.
type Journal struct {
	mu      sync.Mutex // guards the field below
	changes []Change   // the newest last
}

// Add adds Changes, the newest last. It cuts texts that are too long.
func (j *Journal) Add(changes ...Change) {
	if j == nil || len(changes) == 0 {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, c := range changes {
		c.Subject, c.Before = excerpt.Message(c.Subject), excerpt.Message(c.Before)
		c.After, c.Cause = excerpt.Message(c.After), excerpt.Message(c.Cause)
		newest := j.changes[max(0, len(j.changes)-repeats):]
		if i := slices.IndexFunc(newest, c.repeats); i >= 0 {
			c.Times, c.First = max(newest[i].Times, 1)+1, newest[i].First
			if c.First.IsZero() {
				c.First = newest[i].At
			}
			at := len(j.changes) - len(newest) + i
			j.changes = slices.Delete(j.changes, at, at+1)
		}
		if len(j.changes) == journalSize {
			j.changes = slices.Delete(j.changes, 0, 1)
		}
		j.changes = append(j.changes, c)
	}
}

// repeats reports whether an earlier Change was the same.
func (c Change) repeats(o Change) bool {
	return c.Kind == o.Kind && c.Subject == o.Subject && c.Before == o.Before && c.After == o.After && c.Cause == o.Cause
}

// List returns the Changes, the newest first.
func (j *Journal) List() []Change {
	if j == nil {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	out := slices.Clone(j.changes)
	slices.Reverse(out)
	return out
}
