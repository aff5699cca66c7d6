// SPDX-License-Identifier: Apache-2.0

package members

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/hashicorp/memberlist"
)

// A delegate is what memberlist calls. It holds locks of its own meanwhile, so
// that none of these methods may call it back.
type delegate struct{ *List }

var (
	_ memberlist.Delegate      = delegate{}
	_ memberlist.EventDelegate = delegate{}
)

// NodeMeta returns the epoch of this process, so that everybody knows which
// records are of it.
func (d delegate) NodeMeta(int) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return binary.BigEndian.AppendUint64(nil, d.records[d.opts.Node].epoch)
}

// NotifyJoin is called with a node that is alive: new, or back.
func (d delegate) NotifyJoin(n *memberlist.Node) {
	if n.Name == d.opts.Node || d.ended.Load() {
		return
	}
	d.mu.Lock()
	p := newPeer(n)
	d.alive[n.Name] = p
	d.greet = append(d.greet, p.node)
	nudge(d.hello)
	nudge(d.speak)
	node, damped := d.damping.joined(n.Name, p.epoch, time.Now())
	if damped {
		d.damp(node)
	}
	d.touch()
	d.mu.Unlock()
	d.opts.Logger.Info("agent joined", "node", n.Name, "addr", addrPort(*n))
	d.opts.Changed()
}

// damp tells all that a node has just been damped. The caller holds the mutex.
func (l *List) damp(node string) {
	l.opts.Logger.Warn("agent comes and goes; it is not to own addresses for a while", "node", node, "penalty", dampingPenalty)
	l.send(message{node: node, damped: dampingPenalty}.append(nil))
}

// NotifyUpdate is called with a node whose epoch is another.
func (d delegate) NotifyUpdate(n *memberlist.Node) {
	if n.Name == d.opts.Node || d.ended.Load() {
		return
	}
	d.mu.Lock()
	d.alive[n.Name] = newPeer(n)
	delete(d.talk.questions, n.Name)
	nudge(d.speak)
	d.touch()
	d.mu.Unlock()
	d.opts.Changed()
}

// NotifyLeave is called with a node that is dead, or said goodbye.
func (d delegate) NotifyLeave(n *memberlist.Node) {
	if n.Name == d.opts.Node || d.ended.Load() {
		return
	}
	d.mu.Lock()
	p, planned := d.alive[n.Name], false
	if r := d.records[n.Name]; r != nil && r.epoch == p.epoch {
		planned = r.state().Leaving
	}
	delete(d.alive, n.Name)
	if !planned {
		d.damping.died(n.Name, p.epoch, len(d.alive)+1, time.Now())
	}
	d.lost++
	d.touch()
	d.mu.Unlock()
	if planned {
		d.opts.Logger.Info("agent left", "node", n.Name)
	} else {
		d.opts.Logger.Warn("agent is dead", "node", n.Name)
	}
	d.opts.Changed()
}

func newPeer(n *memberlist.Node) peer {
	p := peer{node: *n}
	if len(n.Meta) == 8 {
		p.epoch = binary.BigEndian.Uint64(n.Meta)
	}
	return p
}

// NotifyMsg is called with a message that memberlist reuses afterwards.
func (d delegate) NotifyMsg(b []byte) {
	if len(b) > 0 && (b[0] == askMsg || b[0] == sentMsg) {
		d.talkedTo(b)
		return
	}
	news, err := d.hear(b)
	if err != nil {
		d.opts.Logger.Debug("message ignored", "err", err)
	}
	if news {
		// Whoever it is new for passes it on.
		d.queue.QueueBroadcast(broadcast(append([]byte(nil), b...)))
		d.opts.Changed()
	}
}

// talkedTo takes in a message that is for this node alone.
func (d delegate) talkedTo(b []byte) {
	m, err := parseMessage(b)
	if err != nil {
		d.opts.Logger.Debug("message ignored", "err", err)
		return
	}
	d.mu.Lock()
	news := false
	if m.kind == askMsg {
		news = d.asked(m)
	} else {
		news = d.answered(m)
	}
	d.mu.Unlock()
	if news {
		d.opts.Changed()
	}
}

// hear takes in one message that is for all, and reports whether it was news.
func (d delegate) hear(b []byte) (bool, error) {
	m, err := parseMessage(b)
	if err != nil {
		return false, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case m.kind != 0:
		return false, fmt.Errorf("message of kind %#x is not for all", m.kind)
	case m.record == nil:
		if !d.damping.learn(m.node, m.damped, time.Now()) {
			return false, nil
		}
	case m.node == d.opts.Node:
		d.deny(*m.record)
		return false, nil
	default:
		d.heard[m.node] = time.Now()
		r := d.records[m.node]
		if r == nil {
			r = &record{items: map[item]change{}}
			d.records[m.node] = r
		}
		if !r.merge(*m.record) {
			return false, nil
		}
	}
	d.touch()
	return true, nil
}

// deny makes sure that this node's own record counts, not what is still around
// of an earlier process. The caller holds the mutex.
func (d delegate) deny(heard record) {
	own := d.records[d.opts.Node]
	if heard.epoch <= own.epoch {
		return
	}
	*own = record{epoch: heard.epoch + 1, items: map[item]change{}}
	d.renewed = true
	nudge(d.hello)
	d.tell()
	d.touch()
}

// GetBroadcasts returns what fits into a packet of gossip.
func (d delegate) GetBroadcasts(overhead, limit int) [][]byte {
	return d.queue.GetBroadcasts(overhead, limit)
}

// LocalState returns what this agent knows of the living, for another that it
// meets.
func (d delegate) LocalState(bool) []byte {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.forget(now)
	b := appendList(nil, message{node: d.opts.Node, record: d.records[d.opts.Node]})
	for node := range d.alive {
		if r := d.records[node]; r != nil {
			b = appendList(b, message{node: node, record: r})
		}
	}
	for node, until := range d.damping.until {
		b = appendList(b, message{node: node, damped: until.Sub(now)})
	}
	return b
}

// MergeRemoteState takes in another's LocalState.
func (d delegate) MergeRemoteState(b []byte, _ bool) {
	news := false
	err := eachOf(b, func(m []byte) {
		n, err := d.hear(m)
		news = news || n
		if err != nil {
			d.opts.Logger.Debug("message ignored", "err", err)
		}
	})
	if err != nil {
		d.opts.Logger.Debug("state ignored", "err", err)
	}
	if news {
		d.opts.Changed()
	}
}

// A broadcast is a message to be gossiped.
type broadcast []byte

func (broadcast) Invalidates(memberlist.Broadcast) bool { return false }
func (b broadcast) Message() []byte                     { return b }
func (broadcast) Finished()                             {}
func (broadcast) UniqueBroadcast()                      {}
