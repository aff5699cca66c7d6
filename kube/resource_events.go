// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"slices"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/excerpt"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/source"
)

// events returns the events about an object that had this status: one for each
// change that the next status makes.
func (s resourceStatus) events(is reconcile.ResourceStatus) []cluster.Event {
	var out []cluster.Event
	before := s.condition(conditionAccepted)
	switch {
	case is.Reason == config.VerdictDeleted: // that is intended
	case !is.Accepted && before.says("False", is.Message):
	case !is.Accepted:
		out = append(out, cluster.Event{Warning: true, Reason: source.EventConfigRejected, Message: is.Message})
	case before != nil && before.Status == "False":
		out = append(out, cluster.Event{Reason: source.EventConfigAccepted, Message: is.Message})
	}
	if is.Accepted && !before.says("True", is.Message) && slices.Contains(is.Notes, config.NoteUnadvertised) {
		out = append(out, cluster.Event{Warning: true, Reason: reconcile.EventUnadvertised, Message: config.NoteUnadvertised})
	}
	if is.Resolved == nil {
		return out
	}
	before = s.condition(conditionResolved)
	switch {
	case !is.Resolved.True && before.says("False", is.Resolved.Message):
	case !is.Resolved.True:
		out = append(out, cluster.Event{Warning: true, Reason: reconcile.EventRefsUnresolved, Message: is.Resolved.Message})
	case before != nil && before.Status == "False":
		out = append(out, cluster.Event{Reason: reconcile.EventRefsResolved, Message: is.Resolved.Message})
	}
	return out
}

// says reports whether there is a condition of that status and message.
func (c *metaCondition) says(status, message string) bool {
	return c != nil && c.Status == status && c.Message == excerpt.Message(message)
}
