// SPDX-License-Identifier: Apache-2.0

package members

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/memberlist"
)

// A delegate has the methods that memberlist calls. memberlist holds locks during a call,
// so that none of these methods may call memberlist.
type delegate struct{ *List }

var (
	_ memberlist.Delegate      = delegate{}
	_ memberlist.EventDelegate = delegate{}
	_ memberlist.AliveDelegate = delegate{}
)

// NodeMeta returns the epoch of this process. It tells other nodes which records are from
// this process.
func (d delegate) NodeMeta(int) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return binary.BigEndian.AppendUint64(nil, d.records[d.opts.Node].epoch)
}

// NotifyAlive refuses members that are no nodes of the cluster.
func (d delegate) NotifyAlive(n *memberlist.Node) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.check(n.Name)
}

// check returns an error if no node of the cluster has a name. The caller holds the mutex.
func (l *List) check(name string) error {
	if name != l.opts.Node && !l.nodes.names[name] {
		return fmt.Errorf("%q is no Node", name)
	}
	return nil
}

// NotifyJoin is called with a node that is alive: new, or back.
func (d delegate) NotifyJoin(n *memberlist.Node) {
	if n.Name == d.opts.Node || d.ended.Load() {
		return
	}
	d.mu.Lock()
	p := newPeer(n)
	if was, doomed := d.alive[n.Name]; doomed && was.epoch != p.epoch {
		d.drop(n.Name) // that process has ended, and did not deny it
	}
	d.reprieve(n.Name)
	d.alive[n.Name] = p
	d.keys.stale = true
	d.adopt(n.Name)
	d.rationFaults()
	addr := addrPort(*n).Addr()
	if d.nodes.moved[n.Name] = addr; !d.gate.admits(addr) {
		d.admit()
	}
	d.newcomers = append(d.newcomers, p.node)
	d.introduceWake.Set()
	d.converseWake.Set()
	d.watchWake.Set()
	d.returns(n.Name, p.epoch, time.Now())
	d.invalidate()
	d.mu.Unlock()
	d.opts.Logger.Info("agent joined", "node", n.Name, "addr", addrPort(*n))
	d.opts.Changed()
}

// damp informs all nodes that a node has just been damped. The caller holds the mutex.
func (l *List) damp(node string) {
	l.opts.Logger.Warn("agent comes and goes: its node owns no addresses for a while", "node", node, "penalty", dampingPenalty)
	l.send(message{node: node, damped: dampingPenalty}.append(nil))
}

// NotifyUpdate is called with a node that has a new epoch.
func (d delegate) NotifyUpdate(n *memberlist.Node) {
	if n.Name == d.opts.Node || d.ended.Load() {
		return
	}
	d.mu.Lock()
	d.alive[n.Name] = newPeer(n)
	d.keys.stale = true
	d.adopt(n.Name)
	if d.isLost(n.Name) {
		d.returns(n.Name, d.alive[n.Name].epoch, time.Now())
	}
	delete(d.lives, n.Name)
	d.watchWake.Set()
	delete(d.talk.questions, n.Name)
	d.converseWake.Set()
	d.invalidate()
	d.mu.Unlock()
	d.opts.Changed()
}

// NotifyLeave is called with a node that is dead or has left.
func (d delegate) NotifyLeave(n *memberlist.Node) {
	if n.Name == d.opts.Node || d.ended.Load() {
		return
	}
	d.mu.Lock()
	now := d.stops(n.Name) || d.isLost(n.Name)
	if now {
		d.drop(n.Name)
	} else {
		d.doom(n.Name)
	}
	d.mu.Unlock()
	if now {
		d.opts.Changed()
	}
}

func newPeer(n *memberlist.Node) peer {
	p := peer{node: *n, joined: time.Now()}
	if len(n.Meta) == 8 {
		p.epoch = binary.BigEndian.Uint64(n.Meta)
	}
	return p
}

// direct are the kinds of messages that are for this node alone.
var direct = []byte{askMsg, sentMsg, watchMsg, missedMsg}

// NotifyMsg is called with a message. memberlist reuses its memory afterwards.
func (d delegate) NotifyMsg(b []byte) {
	if len(b) > 0 && slices.Contains(direct, b[0]) {
		d.receiveDirect(b)
		return
	}
	news, err := d.receive(b)
	if err != nil {
		d.opts.Logger.Debug("message ignored", "err", err)
	}
	if news {
		// Every node passes news on.
		d.queue.QueueBroadcast(broadcast(append([]byte(nil), b...)))
		d.opts.Changed()
	}
}

// receiveDirect handles a message that is only for this node.
func (d delegate) receiveDirect(b []byte) {
	m, err := parseMessage(b)
	if err != nil {
		d.opts.Logger.Debug("message ignored", "err", err)
		return
	}
	d.mu.Lock()
	news := false
	switch m.kind {
	case askMsg:
		news = d.asked(m)
	case sentMsg:
		news = d.answered(m)
	case watchMsg:
		d.lend(m, time.Now())
	case missedMsg:
		d.voted(m, time.Now())
	}
	d.mu.Unlock()
	if news {
		d.opts.Changed()
	}
}

// receive handles one message for all nodes, and reports whether it is news.
func (d delegate) receive(b []byte) (bool, error) {
	m, err := parseMessage(b)
	if err != nil {
		return false, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.check(m.node); err != nil {
		return false, err
	}
	switch {
	case m.kind == keysMsg:
		return d.noticed(m), nil
	case m.kind == beatMsg:
		return d.hears(m, time.Now()), nil
	case m.kind == lostMsg:
		return d.misses(m, time.Now()), nil
	case m.kind == versionMsg:
		d.learnVersion(m)
		return false, nil // each agent says it to each other one
	case m.kind != 0:
		return false, fmt.Errorf("message of kind %#x is not for all", m.kind)
	case m.record == nil:
		if !d.damping.learn(m.node, m.damped, time.Now()) {
			return false, nil
		}
	case m.node == d.opts.Node:
		d.refute(*m.record, m.faults)
		return false, nil
	case m.faults:
		if !d.learnFaults(m.node, *m.record) {
			return false, nil
		}
	case !d.learn(m.node, *m.record):
		return false, nil
	}
	d.watchWake.Set()
	d.invalidate()
	return true, nil
}

// learn adds to the record of another node, and reports whether that is news. Of a member
// the record of its present process counts, whatever other epochs are heard of: a clock
// may have been set back, and an epoch may be a lie. The record of its next process may
// arrive before the member's new epoch does. The caller holds the mutex.
func (l *List) learn(node string, heard record) bool {
	l.mentioned[node] = time.Now()
	return l.learnIn(l.records, l.ahead, node, heard)
}

// learnFaults does the same with a record of faults.
func (l *List) learnFaults(node string, heard record) bool {
	l.mentioned[node] = time.Now()
	return !l.faults.full(node, heard) && l.learnIn(l.faults.records, l.faults.ahead, node, heard)
}

func (l *List) learnIn(records, ahead map[string]*record, node string, heard record) bool {
	p, alive := l.alive[node]
	if alive && heard.epoch > p.epoch {
		return merge(ahead, node, heard)
	}
	if alive && heard.epoch < p.epoch {
		return false
	}
	if r := records[node]; alive && r != nil && r.epoch != p.epoch {
		delete(records, node)
	}
	return merge(records, node, heard)
}

// merge adds to a node's record in a map, and reports whether that is news.
func merge(to map[string]*record, node string, heard record) bool {
	r := to[node]
	if r == nil {
		r = &record{items: map[item]change{}}
		to[node] = r
	}
	return r.merge(heard)
}

// adopt uses what was heard of a member's process before the member's epoch. The caller
// holds the mutex.
func (l *List) adopt(node string) {
	epoch := l.alive[node].epoch
	adoptIn(l.records, l.ahead, node, epoch)
	adoptIn(l.faults.records, l.faults.ahead, node, epoch)
}

func adoptIn(records, ahead map[string]*record, node string, epoch uint64) {
	r := ahead[node]
	if r != nil && r.epoch == epoch {
		records[node] = r
	}
	if r != nil && r.epoch <= epoch {
		delete(ahead, node)
	}
}

// refute starts a new epoch if a record of this process circulates that has changes which
// this process never made: the others ignore further ones up to these. The caller holds
// the mutex.
func (d delegate) refute(heard record, faults bool) {
	own := d.records[d.opts.Node]
	if faults {
		own = d.faults.records[d.opts.Node]
	}
	if heard.epoch == own.epoch && heard.latest() > own.base {
		d.renew()
	}
}

// renew starts a new epoch. The caller holds the mutex.
func (l *List) renew() {
	own := l.records[l.opts.Node]
	*own = record{epoch: max(own.epoch+1, uint64(time.Now().UnixNano())), items: map[item]change{}}
	l.renewed = true
	l.sendNotice()
	l.introduceWake.Set()
	l.updateOwn()
	*l.faults.records[l.opts.Node] = record{epoch: own.epoch, items: map[item]change{}}
	l.updateFaults()
	l.invalidate()
}

// GetBroadcasts returns the messages for one packet of gossip.
func (d delegate) GetBroadcasts(overhead, limit int) [][]byte {
	return d.queue.GetBroadcasts(overhead, limit)
}

// LocalState returns what this agent knows about the members, for an exchange with another
// agent. That may be megabytes: the mutex is held for one node at a time.
func (d delegate) LocalState(bool) []byte {
	now := time.Now()
	d.mu.Lock()
	d.forget(now)
	nodes := slices.AppendSeq([]string{d.opts.Node}, maps.Keys(d.alive))
	d.mu.Unlock()
	var b []byte
	for _, node := range nodes {
		b = d.appendNode(b, node)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.keys.list) > 0 {
		b = appendList(b, d.ownNotice())
	}
	for node, until := range d.damping.until {
		b = appendList(b, message{node: node, damped: until.Sub(now)})
	}
	return b
}

// appendNode adds what is known of a node to a list of messages.
func (d delegate) appendNode(b []byte, node string) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, alive := d.alive[node]; !alive && node != d.opts.Node {
		return b
	}
	b = d.faults.appendTo(b, node)
	if v := d.ownVersion(); v != nil && node == d.opts.Node {
		b = append(binary.AppendUvarint(b, uint64(len(v))), v...)
	}
	if r := d.records[node]; r != nil {
		b = appendList(b, message{node: node, record: r})
	}
	if n, ok := d.keys.notices[node]; ok && node != d.opts.Node {
		b = appendList(b, message{node: node, kind: keysMsg, epoch: n.epoch, seq: n.seq, prints: n.prints})
	}
	return b
}

// MergeRemoteState handles the LocalState of another agent.
func (d delegate) MergeRemoteState(b []byte, _ bool) {
	news := false
	err := eachOf(b, func(m []byte) {
		n, err := d.receive(m)
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
