// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"slices"
	"time"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/excerpt"
	"github.com/heraldlb/herald/status"
)

const (
	// maxSessions is how many sessions a ConfigurationState lists; those that are
	// down come first.
	maxSessions = 100
	// maxSessionReason and maxSessionMessage are how many bytes of each it has.
	maxSessionReason  = 80
	maxSessionMessage = 512
)

// States of a sessionStatus.
const (
	sessionUp   = "Up"
	sessionDown = "Down"
)

// A sessionStatus is a BGP session in a ConfigurationState.
type sessionStatus struct {
	Peer    string `json:"peer"`
	State   string `json:"state"`
	Since   string `json:"since,omitempty"`
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
}

// sessionStatuses returns sessions as they are written; nil if they are not known.
func sessionStatuses(sessions []cluster.SessionState) []sessionStatus {
	if sessions == nil {
		return nil
	}
	if len(sessions) > maxSessions {
		sessions = slices.Clone(sessions)
		slices.SortStableFunc(sessions, func(a, b cluster.SessionState) int {
			switch {
			case a.Up == b.Up:
				return 0
			case a.Up:
				return 1
			}
			return -1
		})
		sessions = sessions[:maxSessions]
	}
	out := make([]sessionStatus, 0, len(sessions))
	for _, s := range sessions {
		out = append(out, sessionStatusOf(s))
	}
	return out
}

// sessionStatusOf returns a session as it is written.
func sessionStatusOf(s cluster.SessionState) sessionStatus {
	w := sessionStatus{
		Peer: s.Peer, State: sessionDown,
		Reason: excerpt.Within(string(s.Reason), maxSessionReason), Message: excerpt.Within(s.Message, maxSessionMessage),
	}
	if s.Up {
		w.State = sessionUp
	}
	if !s.Since.IsZero() {
		w.Since = s.Since.UTC().Format(time.RFC3339)
	}
	return w
}

// sessionStates returns sessions as they were before they were written.
func sessionStates(all []sessionStatus) []cluster.SessionState {
	if all == nil {
		return nil
	}
	out := make([]cluster.SessionState, 0, len(all))
	for _, w := range all {
		since, _ := time.Parse(time.RFC3339, w.Since) // without, it is not known
		out = append(out, cluster.SessionState{
			Peer: w.Peer, Up: w.State == sessionUp, Since: since, Reason: status.Reason(w.Reason), Message: w.Message,
		})
	}
	return out
}
