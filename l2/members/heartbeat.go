// SPDX-License-Identifier: Apache-2.0

package members

import (
	"maps"
	"time"

	"github.com/hashicorp/memberlist"
)

// While any node announces an address, each node is watched by a few others: it sends them
// heartbeats because they ask for them. That notices its death sooner than memberlist's
// probes do. A node whose agent is of an earlier version sends none: only memberlist
// decides about it.
const (
	// leaseTime is how long heartbeats are sent to a watcher that does not ask again.
	// renewEvery separates two times that it asks; before the first heartbeat the time
	// begins with askHeartbeat, and doubles.
	leaseTime    = 10 * time.Second
	renewEvery   = time.Second
	askHeartbeat = 50 * time.Millisecond
	// maxLeases bounds the watchers of a node: those of now, and of a moment ago.
	maxLeases = 4 * watchersEach
)

// heartbeats are what this node sends. The List's mutex guards them.
type heartbeats struct {
	seq      uint64           // of the last one
	leases   map[string]lease // by the watcher's name
	answered uint64           // the heartbeat by which this node last answered that it was lost
	doubted  uint64           // the last one before this node last doubted its view
	accused  bool             // this node was lost, and has reason to doubt it
}

// A lease is a watcher's claim to heartbeats. It stays if the watcher does not count as
// alive: the watcher may not know.
type lease struct {
	to    memberlist.Node
	until time.Time
}

// lend handles a watcher's message. The caller holds the mutex.
func (l *List) lend(m message, now time.Time) {
	h := &l.heartbeats
	p, alive := l.alive[m.node]
	_, known := h.leases[m.node]
	switch {
	case !l.timers.watches || !alive || m.epoch != l.records[l.opts.Node].epoch:
		return
	case m.seq == 0:
		delete(h.leases, m.node)
	case known || len(h.leases) < maxLeases:
		h.leases[m.node] = lease{p.node, now.Add(leaseTime)}
		if !known {
			h.seq++
			l.reply(m.node, l.ownHeartbeat())
		}
	}
}

// sendHeartbeats sends one to each watcher.
func (l *List) sendHeartbeats(network *memberlist.Memberlist, now time.Time) {
	body, nodes := l.heartbeat(now)
	for i := range nodes {
		// A lost one is no harm: the next follows.
		_ = network.SendBestEffort(&nodes[i], body)
	}
}

// heartbeat returns the next heartbeat, and the watchers to send it to.
func (l *List) heartbeat(now time.Time) (body []byte, nodes []memberlist.Node) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := &l.heartbeats
	maps.DeleteFunc(h.leases, func(_ string, one lease) bool { return !now.Before(one.until) })
	if len(h.leases) == 0 {
		return nil, nil
	}
	h.seq++
	for _, one := range h.leases {
		nodes = append(nodes, one.to)
	}
	return l.ownHeartbeat(), nodes
}

// ownHeartbeat returns the last one. The caller holds the mutex.
func (l *List) ownHeartbeat() []byte {
	return message{node: l.opts.Node, kind: beatMsg, epoch: l.records[l.opts.Node].epoch, seq: l.heartbeats.seq}.append(nil)
}

// protest answers that this node was lost, to all: a later heartbeat than the last one that
// was heard. Other nodes may own its addresses by now. The caller holds the mutex.
func (l *List) protest(m message) {
	h := &l.heartbeats
	switch {
	case m.epoch != l.records[l.opts.Node].epoch || m.seq < h.answered:
	case m.seq > h.seq: // others heard one that this process never sent
		l.renew()
	default:
		h.seq++
		h.answered = h.seq
		h.accused = h.accused || m.seq > h.doubted
		l.send(l.ownHeartbeat())
		l.watchWake.Set()
	}
}
