// SPDX-License-Identifier: Apache-2.0

package members

import "maps"

// faults are the probes that fail on nodes. They are records of their own, in messages that
// an agent of an earlier version ignores. Gossip alone spreads them: when what all nodes
// probe fails, as many messages as there are nodes would be sent to each of them.
type faults struct {
	records map[string]*record // of all nodes with a message about them, and this one
	ahead   map[string]*record // of members, with a later epoch than the member's
	wanted  []Fault            // of this node, as last set
}

func newFaults(self string, epoch uint64) faults {
	return faults{
		records: map[string]*record{self: {epoch: epoch, items: map[item]change{}}},
		ahead:   map[string]*record{},
	}
}

// SetFaults replaces the probes that fail on this node. Calling it again with the same ones
// sends nothing.
func (l *List) SetFaults(list []Fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults.wanted = list
	l.updateFaults()
}

// updateFaults brings this node's record in line with them. The caller holds the mutex.
func (l *List) updateFaults() {
	want := make(map[item]bool, len(l.faults.wanted))
	for _, f := range l.faults.wanted {
		want[item{kind: fault, addr: f.Addr, digest: f.Digest}] = true
	}
	own := l.faults.records[l.opts.Node]
	changes := own.set(want)
	if len(changes) == 0 {
		return
	}
	l.rumors = append(l.rumors, packets(faultsMsg, l.opts.Node, own.epoch, changes)...)
	l.transmitWake.Set()
	l.invalidate()
}

// ownFaults returns the messages with all faults of this node. The caller holds the mutex.
func (l *List) ownFaults() [][]byte {
	own := l.faults.records[l.opts.Node]
	if len(own.items) == 0 {
		return nil
	}
	return packets(faultsMsg, l.opts.Node, own.epoch, own.items)
}

// of returns the faults of a node's process, in order.
func (f faults) of(node string, epoch uint64) []Fault {
	r := f.records[node]
	if r == nil || r.epoch != epoch || len(r.items) == 0 {
		return nil
	}
	return r.state().Faults
}

// appendTo adds a node's record to a list of messages, if it says anything.
func (f faults) appendTo(b []byte, node string) []byte {
	r := f.records[node]
	if r == nil || len(r.items) == 0 && r.base == 0 {
		return b
	}
	return appendList(b, message{node: node, record: r, faults: true})
}

// forget drops the records of all nodes that f is false of.
func (f faults) forget(known func(string) bool) {
	gone := func(name string, _ *record) bool { return !known(name) }
	maps.DeleteFunc(f.records, gone)
	maps.DeleteFunc(f.ahead, gone)
}
