// SPDX-License-Identifier: Apache-2.0

package status

import "time"

// changesOf returns what has changed between the Reports of two passes, apart from what is
// decided about Services.
func changesOf(was, is Report, now time.Time) []Change {
	var out []Change
	add := func(kind ChangeKind, subject, before, after string) {
		if before != after {
			out = append(out, Change{At: now, Kind: kind, Subject: subject, Before: before, After: after})
		}
	}
	// Another error is a change, too.
	failing := func(kind ChangeKind, subject, before, after, good, bad string) {
		if before != after {
			word := map[bool]string{true: good, false: bad}
			out = append(out, Change{At: now, Kind: kind, Subject: subject, Before: word[before == ""], After: word[after == ""], Cause: after})
		}
	}
	leading := map[bool]string{true: "leading", false: "following"}
	add(ChangeLeading, is.Component, leading[was.Leading], leading[is.Leading])
	add(ChangeConfiguration, "in force", inForce(was.Config), inForce(is.Config))
	failing(ChangeConfiguration, "newest", was.Config.Error, is.Config.Error, "accepted", "refused")
	add(ChangeConfiguration, "notice", was.Config.Notice, is.Config.Notice)
	failing(ChangeFailure, "pass", was.Error, is.Error, "working", "failing")
	add(ChangeDrain, is.Node, stateOf(was.Drain), stateOf(is.Drain))
	return out
}

// inForce returns which configuration is in force; empty: none.
func inForce(c Config) string {
	if !c.Loaded {
		return ""
	}
	return c.Source + ", version " + c.Version
}

// stateOf returns how a node drains.
func stateOf(d *Drain) string {
	switch {
	case d == nil:
		return "not draining"
	case d.Error != "":
		return "not draining: " + d.Error
	case d.Over:
		return "drained"
	}
	return "draining"
}
