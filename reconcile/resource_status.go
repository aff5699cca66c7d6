// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"context"
	"time"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/wake"
)

// sessionSettle is how long no node must have had a session with a peer before its status
// reports that: agents take a moment to follow an edit.
const sessionSettle = 5 * time.Second

// The sessions that the status of a peer has change sessionBurst times at once, and then once
// in sessionEvery: a router that restarts costs a few writes, however many nodes it has.
const (
	sessionBurst = 4
	sessionEvery = 5 * time.Second
)

// A ResourceStatus is the content of the status of one of MetalLB's resources.
type ResourceStatus struct {
	config.Verdict
	Programmed *Programmed           // nil: not known, and the published one stays
	Resolved   *ResolvedRefs         // nil: likewise, or it refers to nothing
	Sessions   *cluster.PeerSessions // nil: likewise, or it is no peer
	Pool       *status.Pool          // nil: there are no counters
	Protect    bool                  // a pool that is deleted stays until no Service has an address of it
}

// A PublishedStatus is the status of a resource as it was published. A controller that
// begins to lead continues from it.
type PublishedStatus struct {
	Programmed *Programmed // about that version; nil: nothing
	Sessions   bool        // it has the sessions with a peer
}

// A ResourceWriter publishes the status of resources.
type ResourceWriter interface {
	// Set replaces the statuses, in the order of the IDs. It must not block.
	Set(all []ResourceStatus)
	// Published returns the published status of a version of a resource. It must not
	// block.
	Published(v config.Verdict) PublishedStatus
	// Run writes until the context is canceled, and nothing after that.
	Run(ctx context.Context) error
}

// A ResourceInput is what the status of resources follows from.
type ResourceInput struct {
	Verdicts  []config.Verdict // in the order of their IDs
	Pools     []status.Pool
	Refs      map[config.ID]Refs // of resources that refer to something; nil: not known yet
	Protect   bool
	Published func(config.Verdict) PublishedStatus

	Heard    bool // the reports of agents are known, which are:
	Rollout  Rollout
	Sessions map[string]cluster.PeerSessions // see NodeSessions.ByPeer
}

// A ResourceJudge decides the status of resources, and remembers its decisions from pass
// to pass. It is not safe for concurrent use.
type ResourceJudge struct {
	judged map[config.ID]judged
}

// A judged is the decision about a version of a resource.
type judged struct {
	uid        string
	generation int64
	programmed *Programmed // nil: nothing
	sessions   bool        // its status has the sessions with a peer
	absent     time.Time   // since when no node holds a session with the peer; zero: one does

	told  *cluster.PeerSessions // the sessions that its status has; nil: not known
	spent time.Time             // when all changes of a burst are possible again
}

// Next decides, and returns when time alone may change something; zero: never.
func (j *ResourceJudge) Next(in ResourceInput, now time.Time) (all []ResourceStatus, next time.Time) {
	before := j.judged
	j.judged = make(map[config.ID]judged, len(in.Verdicts))
	pools := make(map[string]*status.Pool, len(in.Pools))
	for i := range in.Pools {
		pools[in.Pools[i].Name] = &in.Pools[i]
	}
	all = make([]ResourceStatus, len(in.Verdicts))
	for i, v := range in.Verdicts {
		m, known := before[v.ID]
		if !known || m.uid != v.UID || m.generation != v.Generation {
			published := in.Published(v)
			m = judged{
				uid: v.UID, generation: v.Generation, programmed: published.Programmed,
				sessions: published.Sessions || m.uid == v.UID && m.sessions, absent: m.absent,
				told: m.told, spent: m.spent,
			}
		}
		s := &all[i]
		s.Verdict, s.Protect = v, in.Protect
		if in.Heard {
			p := in.Rollout.Programmed(v, m.programmed)
			s.Programmed, m.programmed = &p, &p
		}
		if refs, ok := in.Refs[v.ID]; ok && (in.Heard || len(refs.Interfaces) == 0) {
			resolved := refs.Resolve(in.Rollout.Nowhere)
			s.Resolved = &resolved
		}
		switch v.Kind {
		case config.KindPool:
			s.Pool = pools[v.Name]
		case config.KindPeer:
			var due time.Time
			s.Sessions, due = m.judgeSessions(v.Name, in, now)
			next = wake.Earlier(next, due)
		}
		j.judged[v.ID] = m
	}
	return all, next
}

// judgeSessions decides which sessions with a peer the status has, and when time alone may
// change that; zero: never.
func (m *judged) judgeSessions(peer string, in ResourceInput, now time.Time) (*cluster.PeerSessions, time.Time) {
	of, held := in.Sessions[peer]
	if !held {
		of = cluster.NoSessions
	}
	switch {
	case !in.Heard || in.Sessions == nil:
		return nil, time.Time{}
	case of.Wanted > 0:
		m.absent = time.Time{}
		if !of.Settled() && !m.sessions {
			return nil, time.Time{} // at first all sessions are being opened
		}
	case m.absent.IsZero():
		m.absent = now
		fallthrough
	default:
		if due := m.absent.Add(sessionSettle); now.Before(due) {
			return nil, due
		}
	}
	m.sessions = true
	return m.pace(of, now)
}

// pace returns the sessions that the status of a peer has now, and when it has those that are
// held back; zero: none are.
func (m *judged) pace(of cluster.PeerSessions, now time.Time) (*cluster.PeerSessions, time.Time) {
	if m.told != nil && m.told.Equal(of) {
		return m.told, time.Time{}
	}
	if due := m.spent.Add(-(sessionBurst - 1) * sessionEvery); m.told != nil && now.Before(due) {
		return m.told, due
	}
	if m.spent.Before(now) {
		m.spent = now
	}
	m.told, m.spent = &of, m.spent.Add(sessionEvery)
	return m.told, time.Time{}
}
