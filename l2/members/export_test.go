// SPDX-License-Identifier: Apache-2.0

package members

import (
	"bytes"
	"fmt"
	"net/netip"
	"time"
)

// SetEpoch makes the process of l seem to have started at another time.
func SetEpoch(l *List, epoch uint64) {
	l.records[l.opts.Node].epoch, l.faults.records[l.opts.Node].epoch = epoch, epoch
}

// StreamSize is what one connection may carry.
const StreamSize = streamSize

// LargeState is what an agent exchanges that knows so many nodes, which announce so many
// IPv6 addresses, each on two nodes.
func LargeState(nodes, addrs int) []byte {
	name := func(i int) string { return fmt.Sprintf("node-%04d.rack-17.region.example.internal", i) }
	l := New(Options{Node: name(0), Keys: [][]byte{Key("one"), Key("two")}})
	for i := range nodes {
		s := State{Interfaces: []string{"eth0", "bond0.100"}, MACs: []MAC{{2, 0, 0, 0, byte(i >> 8), byte(i)}, {2, 0, 0, 1, byte(i >> 8), byte(i)}}}
		for n := range 2 * addrs / nodes {
			s.Held = append(s.Held, netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(i >> 8), byte(i), 15: byte(n)}))
		}
		epoch := uint64(time.Now().UnixNano())
		r := &record{epoch: epoch, base: 1 << 20, items: map[item]change{}}
		r.set(s.items())
		l.records[name(i)] = r
		l.keys.notices[name(i)] = notice{epoch: epoch, seq: 1, prints: []fingerprint{{1}, {2}}, heard: time.Now()}
		if i > 0 {
			l.alive[name(i)] = peer{epoch: epoch}
		}
		l.mentioned[name(i)] = time.Now()
	}
	return delegate{l}.LocalState(false)
}

// Join has so many other agents be members.
func Join(l *List, others int) {
	for i := range others {
		delegate{l}.NotifyJoin(member(fmt.Sprintf("other-%04d", i), 1))
	}
}

// SendsWith reports whether an agent sends with a key.
func SendsWith(l *List, key []byte) bool { return bytes.Equal(l.keys.ring.GetPrimaryKey(), key) }
