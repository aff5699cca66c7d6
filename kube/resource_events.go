// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"slices"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/source"
)

// events returns what is told about an object whose status has been written: what
// that status did not say before.
func (s said) events() []cluster.Event {
	var out []cluster.Event
	before := s.have.condition(conditionAccepted)
	switch {
	case s.Reason == config.VerdictDeleted: // that is meant
	case !s.Accepted && before.says("False", s.Message):
	case !s.Accepted:
		out = append(out, cluster.Event{Warning: true, Reason: source.EventConfigRejected, Message: s.Message})
	case before != nil && before.Status == "False":
		out = append(out, cluster.Event{Reason: source.EventConfigAccepted, Message: s.Message})
	}
	if s.Accepted && !before.says("True", s.Message) && slices.Contains(s.Notes, config.NoteUnadvertised) {
		out = append(out, cluster.Event{Warning: true, Reason: reconcile.EventUnadvertised, Message: config.NoteUnadvertised})
	}
	if s.refs == nil {
		return out
	}
	before = s.have.condition(conditionResolved)
	switch {
	case !s.refs.True && before.says("False", s.refs.Message):
	case !s.refs.True:
		out = append(out, cluster.Event{Warning: true, Reason: reconcile.EventRefsUnresolved, Message: s.refs.Message})
	case before != nil && before.Status == "False":
		out = append(out, cluster.Event{Reason: reconcile.EventRefsResolved, Message: s.refs.Message})
	}
	return out
}

// says reports whether there is a condition of that status and message.
func (c *condition) says(status, message string) bool {
	return c != nil && c.Status == status && c.Message == clipMessage(message)
}
