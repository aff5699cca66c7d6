// SPDX-License-Identifier: Apache-2.0

package members

import (
	"maps"
	"math/bits"
)

// Bounds of what agents tell each other of probes that are not answered. When something that
// all nodes need fails, all probes of all nodes may.
const (
	maxFaults = 1 << 10 // of one node
	allFaults = 1 << 16 // of all nodes together: with many nodes each tells of fewer
	minFaults = 1 << 4  // of one node among any number

	// maxHeard bounds what is remembered of another node, faults that are over included,
	// until the next exchange of states.
	maxHeard = 4 * maxFaults
)

// mostFaults returns how many faults each of some nodes tells the others of. It changes only
// where their number is twice as large.
func mostFaults(nodes int) int {
	return max(minFaults, min(maxFaults, allFaults>>bits.Len(uint(max(nodes, 1)-1))))
}

// faults are the probes that are not answered on nodes. They are records of their own, in
// messages that an agent of an earlier version ignores. Gossip alone spreads them: when what
// all nodes probe fails, as many messages as there are nodes would be sent to each of them.
//
// A record with the item whole, and as many others as that says, has all of its node. Else the
// node has just started, has more than it may tell of, or some are still on their way: what
// the record lacks says nothing.
type faults struct {
	records map[string]*record // of all nodes with a message about them, and this one
	ahead   map[string]*record // of members, with a later epoch than the member's
	wanted  []Fault            // of this node, as last set
	judged  bool               // they were set
	most    int                // how many of them are told, at most
	untold  int                // how many are not
}

func newFaults(self string, epoch uint64) faults {
	return faults{
		records: map[string]*record{self: {epoch: epoch, items: map[item]change{}}},
		ahead:   map[string]*record{},
		most:    mostFaults(1),
	}
}

// SetFaults replaces the probes that are not answered on this node, in order. All others are
// answered, or are not made: until the first call other nodes know nothing of them. Calling it
// again with the same ones sends nothing. With many nodes or many faults, others are told of
// some, and that these are not all.
func (l *List) SetFaults(list []Fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults.wanted, l.faults.judged = list, true
	l.updateFaults()
}

// Untold returns how many probes that are not answered on this node others are not told of.
func (l *List) Untold() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.faults.untold
}

// updateFaults brings this node's record in line with them. The caller holds the mutex.
func (l *List) updateFaults() {
	want, untold := l.faults.told()
	if (untold > 0) != (l.faults.untold > 0) {
		if untold > 0 {
			l.opts.Logger.Warn("too many probes fail: other agents are told of some", "fail", len(l.faults.wanted), "told", l.faults.most)
		} else {
			l.opts.Logger.Info("other agents are told of all probes that fail")
		}
	}
	l.faults.untold = untold
	own := l.faults.records[l.opts.Node]
	changes := own.set(want)
	if len(changes) == 0 {
		return
	}
	l.rumors = append(l.rumors, packets(faultsMsg, l.opts.Node, own.epoch, changes)...)
	l.transmitWake.Set()
	l.invalidate()
}

// told returns the items to tell of, and how many faults are left out: of those that have no
// verdict first, then the last ones.
func (f *faults) told() (want map[item]bool, untold int) {
	want = make(map[item]bool, min(len(f.wanted), f.most)+1)
	for _, unknown := range []bool{false, true} {
		kind := fault
		if unknown {
			kind = open
		}
		for _, w := range f.wanted {
			switch {
			case w.Unknown != unknown:
			case len(want) >= f.most:
				untold++
			default:
				want[item{kind: kind, addr: w.Addr, digest: w.Digest}] = true
			}
		}
	}
	if f.judged && untold == 0 {
		want[item{kind: whole, digest: uint32(len(want))}] = true
	}
	return want, untold
}

// rationFaults takes in how many members there are. The caller holds the mutex.
func (l *List) rationFaults() {
	if most := mostFaults(len(l.alive) + 1); most != l.faults.most {
		l.faults.most = most
		l.updateFaults()
	}
}

// ownFaults returns the messages with all faults of this node. The caller holds the mutex.
func (l *List) ownFaults() [][]byte {
	own := l.faults.records[l.opts.Node]
	if len(own.items) == 0 {
		return nil
	}
	return packets(faultsMsg, l.opts.Node, own.epoch, own.items)
}

// of returns the faults of a node's process, in order, and whether they are all.
func (f faults) of(node string, epoch uint64) (list []Fault, judged bool) {
	r := f.records[node]
	if r == nil || r.epoch != epoch || len(r.items) == 0 {
		return nil, false
	}
	s := r.state()
	return s.Faults, s.Judged
}

// full reports whether no more is taken in of a node before the next exchange of states.
func (f faults) full(node string, heard record) bool {
	for _, of := range []map[string]*record{f.records, f.ahead} {
		if r := of[node]; r != nil && r.epoch == heard.epoch && heard.base <= r.base && len(r.items)+len(heard.items) > maxHeard {
			return true
		}
	}
	return false
}

// appendTo adds a node's record to a list of messages, if it says anything.
func (f faults) appendTo(b []byte, node string) []byte {
	r := f.records[node]
	if r == nil || len(r.items) == 0 && r.base == 0 {
		return b
	}
	return appendList(b, message{node: node, record: r, faults: true})
}

// forget drops the records of nodes that f is true of, and what is ahead of nodes that are no
// members.
func (f faults) forget(forgotten, member func(string) bool) {
	maps.DeleteFunc(f.records, func(name string, _ *record) bool { return forgotten(name) })
	maps.DeleteFunc(f.ahead, func(name string, _ *record) bool { return !member(name) })
}
