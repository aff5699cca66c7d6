// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/status"
)

// maxChanges is how many Changes a Topology has.
const maxChanges = 256

// A Change is what an agent saw change.
type Change struct {
	Node string `json:"node"`
	status.Change
}

// history adds the last changes of all agents that were asked, the newest first by the
// clocks of their nodes.
func (b *builder) history() {
	for _, n := range b.t.Nodes {
		if r := b.agents[n.Name].Report; r != nil {
			for _, c := range r.Changes {
				b.t.Changes = append(b.t.Changes, Change{Node: n.Name, Change: c})
			}
		}
	}
	slices.SortStableFunc(b.t.Changes, func(x, y Change) int { return cmp.Or(y.At.Compare(x.At), strings.Compare(x.Node, y.Node)) })
	if len(b.t.Changes) > maxChanges {
		b.t.Changes = slices.Clone(b.t.Changes[:maxChanges])
	}
}

// together is how far apart the Changes of several nodes are at most that count as one.
const together = 10 * time.Second

// Words returns what has changed, as in "n2 tor Established -> Idle: Hold Timer Expired".
func (c Change) Words() string {
	subject := c.Subject
	if c.Kind != status.ChangeSession && c.Kind != status.ChangeAnnouncement {
		subject = strings.TrimSpace(string(c.Kind) + " " + subject)
	}
	return c.Node + " " + subject + " " + c.turn()
}

// turn returns how it was and is, and why.
func (c Change) turn() string {
	text := c.Before + " -> " + c.After
	switch {
	case c.Before == "":
		text = "now " + c.After
	case c.After == "":
		text = "no longer " + c.Before
	}
	if c.Cause != "" {
		text += ": " + c.Cause
	}
	if c.Times > 1 {
		text += fmt.Sprintf(" (%d times)", c.Times)
	}
	return text
}

// Recent returns the Changes of the last time, the newest first.
func (t Topology) Recent(within time.Duration) []Change {
	end := slices.IndexFunc(t.Changes, func(c Change) bool { return t.At.Sub(c.At) > within })
	if end < 0 {
		end = len(t.Changes)
	}
	return t.Changes[:end]
}

// lastChange says when what Why explains was changed last, on which nodes, how and why; empty
// if no agent has seen a change.
func (t Topology) lastChange(subject string) string {
	kind, name, _ := strings.Cut(subject, " ")
	about := func(c Change) bool {
		words := strings.Fields(c.Subject)
		switch {
		case kind == "node":
			return c.Node == name
		case kind == "peer":
			return c.Kind == status.ChangeSession && c.Subject == name
		case c.Kind != status.ChangeAnnouncement || len(words) == 0:
			return false
		case kind == "Service":
			return words[0] == name
		}
		return kind == "address" && slices.Contains(words[1:], name)
	}
	i := slices.IndexFunc(t.Changes, about)
	if i < 0 {
		return ""
	}
	last := t.Changes[i]
	var nodes []string
	for _, c := range t.Changes[i:] {
		if last.At.Sub(c.At) > together {
			break
		}
		if about(c) && c.Kind == last.Kind && c.Before == last.Before && c.After == last.After && !slices.Contains(nodes, c.Node) {
			nodes = append(nodes, c.Node)
		}
	}
	slices.Sort(nodes)
	ago := strings.TrimPrefix(t.lasting(last.At), " for ")
	if ago == "" { // the node's clock is ahead
		ago = "0s"
	}
	what := ""
	if kind == "node" {
		what = strings.TrimPrefix(last.Words(), last.Node+" ")
	} else {
		what = last.turn()
	}
	return fmt.Sprintf("%s ago on %s: %s", ago, cluster.List(nodes, ", "), what)
}
