// SPDX-License-Identifier: Apache-2.0

package members

import (
	"encoding/binary"
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
)

// knows returns an agent on n1 that has n2 as a member and knows n3 as a Node.
func knows(epoch uint64) delegate {
	l := New(Options{Node: "n1", Keys: [][]byte{Key("secret")}})
	l.SetNodes([]Node{{Name: "n1"}, {Name: "n2"}, {Name: "n3"}})
	d := delegate{l}
	d.NotifyJoin(member("n2", epoch))
	return d
}

func member(name string, epoch uint64) *memberlist.Node {
	return &memberlist.Node{Name: name, Addr: net.IPv4(192, 0, 2, 2), Meta: binary.BigEndian.AppendUint64(nil, epoch)}
}

// about is a record of a node with an interface of that name.
func about(node string, epoch, base uint64, name string) []byte {
	return message{node: node, record: &record{epoch: epoch, base: base, items: map[item]change{{kind: iface, name: name}: {seq: base}}}}.append(nil)
}

// interfaces returns those of a member.
func interfaces(d delegate, node string) []string {
	for _, m := range d.View().Members {
		if m.Name == node {
			return m.Interfaces
		}
	}
	return []string{"no member"}
}

// What a node's process says of itself counts, whatever epoch another record has: one of
// 2^64-1 does not silence it.
func TestEpochs(t *testing.T) {
	now := uint64(time.Now().UnixNano())
	for _, ahead := range []uint64{now + 1, now + uint64(2*time.Minute), math.MaxInt64, math.MaxUint64} {
		t.Run(fmt.Sprint(ahead), func(t *testing.T) {
			d := knows(now)
			d.NotifyMsg(about("n2", now, 1, "eth0"))
			d.NotifyMsg(about("n2", ahead, 9, "forged"))
			if got := interfaces(d, "n2"); !slices.Equal(got, []string{"eth0"}) {
				t.Errorf("with another epoch the node has %v", got)
			}
			d.NotifyMsg(about("n2", now, 2, "eth1"))
			if got := interfaces(d, "n2"); !slices.Contains(got, "eth1") {
				t.Errorf("the node's next change is lost: it has %v", got)
			}
			// Its next process, even if its clock was set back.
			next := now - uint64(time.Hour)
			d.NotifyLeave(member("n2", now))
			d.NotifyMsg(about("n2", ahead, 9, "forged"))
			d.NotifyJoin(member("n2", next))
			d.NotifyMsg(about("n2", next, 1, "eth2"))
			if got := interfaces(d, "n2"); !slices.Equal(got, []string{"eth2"}) {
				t.Errorf("the next process has %v", got)
			}
		})
	}
}

// The record of a member's next process may arrive before the member's new epoch.
func TestRecordBeforeEpoch(t *testing.T) {
	d := knows(1000)
	d.NotifyMsg(about("n2", 1000, 1, "eth0"))
	d.NotifyMsg(about("n2", 2000, 1, "eth1"))
	if got := interfaces(d, "n2"); !slices.Equal(got, []string{"eth0"}) {
		t.Errorf("before its epoch the record counts: %v", got)
	}
	d.NotifyUpdate(member("n2", 2000))
	if got := interfaces(d, "n2"); !slices.Equal(got, []string{"eth1"}) {
		t.Errorf("with its epoch the record does not count: %v", got)
	}
	d.NotifyMsg(about("n2", 1000, 5, "late"))
	if got := interfaces(d, "n2"); !slices.Equal(got, []string{"eth1"}) {
		t.Errorf("a late record of the earlier process counts: %v", got)
	}
}

// A node starts a new epoch if changes circulate that it never made. No other record
// changes its epoch.
func TestRefute(t *testing.T) {
	d := knows(1)
	d.Publish(State{Interfaces: []string{"eth0"}})
	own := func() uint64 { return d.records["n1"].epoch }
	was := own()
	for _, heard := range [][]byte{about("n1", was, 1, "eth0"), about("n1", was-1, 99, "x"), about("n1", was+1, 99, "x"), about("n1", math.MaxUint64, 1, "x")} {
		if d.NotifyMsg(heard); own() != was {
			t.Fatalf("%x changes the epoch from %d to %d", heard, was, own())
		}
	}
	d.NotifyMsg(about("n1", was, math.MaxUint64, "x"))
	if own() <= was {
		t.Errorf("the epoch is %d, was %d", own(), was)
	}
	if got := interfaces(d, "n1"); !slices.Equal(got, []string{"eth0"}) {
		t.Errorf("in the new epoch it has %v", got)
	}
}

// Nothing is kept about names that no Node has.
func TestUnknownNames(t *testing.T) {
	d := knows(1)
	for i := range 1000 {
		name := fmt.Sprintf("x%d", i)
		d.NotifyMsg(about(name, 1, 1, "eth0"))
		d.NotifyMsg(message{node: name, damped: time.Minute}.append(nil))
		d.NotifyMsg(message{node: name, kind: keysMsg, epoch: 1}.append(nil))
		d.NotifyMsg(message{node: name, kind: askMsg, epoch: 1}.append(nil))
		d.NotifyMsg(message{node: name, kind: watchMsg, epoch: d.records["n1"].epoch, seq: 1}.append(nil))
		for _, kind := range []byte{beatMsg, missedMsg, lostMsg} {
			d.NotifyMsg(message{node: name, kind: kind, epoch: 1, seq: 1, watcher: name}.append(nil))
			d.NotifyMsg(message{node: "n2", kind: kind, epoch: 1, seq: 1, watcher: name}.append(nil))
		}
		if d.NotifyAlive(member(name, 1)) == nil {
			t.Fatalf("%s may be a member", name)
		}
	}
	if err := d.NotifyAlive(member("n3", 1)); err != nil {
		t.Error(err)
	}
	if n := kept(d); n > 3 {
		t.Errorf("something is kept about %d nodes of 3", n)
	}
}

// kept returns about how many nodes something is kept.
func kept(d delegate) int {
	names := map[string]bool{}
	add := func(name string) { names[name] = true }
	for name := range d.records {
		add(name)
	}
	for name := range d.ahead {
		add(name)
	}
	for name := range d.mentioned {
		add(name)
	}
	for name := range d.damping.until {
		add(name)
	}
	for name := range d.keys.notices {
		add(name)
	}
	for name := range d.talk.askers {
		add(name)
	}
	for name := range d.lives {
		add(name)
	}
	for name := range d.heartbeats.leases {
		add(name)
	}
	for name, w := range d.watched {
		add(name)
		for watcher := range w.votes {
			add(watcher)
		}
	}
	return len(names)
}

// FuzzDelegate hears messages and states. This node's epoch never falls, nothing is kept
// about strangers, what a member says afterwards counts, and the state can be read.
func FuzzDelegate(f *testing.F) {
	const epoch = 1 << 60
	f.Add(about("n2", epoch, 1, "eth0"), about("n1", math.MaxUint64, 1, "x"))
	f.Add(about("n3", math.MaxUint64, math.MaxUint64, "x"), message{node: "n2", damped: time.Hour}.append(nil))
	f.Add(message{node: "n2", kind: keysMsg, epoch: epoch, prints: []fingerprint{{1}}}.append(nil), message{node: "n2", kind: askMsg, epoch: 7, seq: 3}.append(nil))
	f.Add(beat("n2", epoch, 7), lost("n2", epoch, 7))
	f.Add(missed("n2", epoch, 7, "n3"), lost("n1", epoch, math.MaxUint64))
	f.Fuzz(func(t *testing.T, one, two []byte) {
		d := knows(epoch)
		d.Publish(State{Interfaces: []string{"eth0"}})
		was := d.records["n1"].epoch
		var list []byte
		for _, b := range [][]byte{one, two} {
			list = append(binary.AppendUvarint(list, uint64(len(b))), b...)
		}
		d.NotifyMsg(one)
		d.NotifyMsg(two)
		d.MergeRemoteState(list, true)
		d.MergeRemoteState(one, false)
		if is := d.records["n1"].epoch; is < was {
			t.Errorf("this node's epoch fell from %d to %d", was, is)
		}
		if got := interfaces(d, "n1"); !slices.Equal(got, []string{"eth0"}) {
			t.Errorf("this node has %v", got)
		}
		if n := kept(d); n > 3 {
			t.Errorf("something is kept about %d nodes of 3", n)
		}
		for name, until := range d.damping.until {
			if left := time.Until(until); left > dampingPenalty {
				t.Errorf("%s is damped for %v", name, left)
			}
		}
		d.NotifyUpdate(member("n2", 2*epoch))
		d.NotifyMsg(about("n2", 2*epoch, 1<<62, "last"))
		if got := interfaces(d, "n2"); !slices.Contains(got, "last") && d.records["n2"].base < 1<<62 {
			t.Errorf("after all that the member has %v", got)
		}
		if err := eachOf(d.LocalState(false), func(b []byte) {
			if _, err := parseMessage(b); err != nil {
				t.Errorf("in the state: %v", err)
			}
		}); err != nil {
			t.Errorf("state: %v", err)
		}
	})
}

// A notice about keys that is late does not replace a later one of the same process.
func TestLateNotice(t *testing.T) {
	d := knows(1000)
	say := func(seq uint64, keys ...byte) {
		m := message{node: "n2", kind: keysMsg, epoch: 1000, seq: seq}
		for _, k := range keys {
			m.prints = append(m.prints, fingerprint{k})
		}
		d.NotifyMsg(m.append(nil))
	}
	say(0, 1)
	say(1, 2, 1)
	say(0, 1)
	if got := d.keys.notices["n2"].prints; len(got) != 2 {
		t.Errorf("after a late notice the member accepts %v", got)
	}
	d.NotifyUpdate(member("n2", 2000))
	d.NotifyMsg(message{node: "n2", kind: keysMsg, epoch: 2000, prints: []fingerprint{{2}}}.append(nil))
	if got := d.keys.notices["n2"]; got.epoch != 2000 {
		t.Errorf("the notice of the next process is not taken: %+v", got)
	}
}

// Faults count with the epoch of the node's process, and only from messages of their kind.
func TestFaultsOfEpoch(t *testing.T) {
	faulty := func(epoch, seq uint64, faults bool) []byte {
		it := item{kind: fault, addr: netip.MustParseAddr("192.0.2.1"), digest: uint32(seq)}
		return message{node: "n2", faults: faults, record: &record{epoch: epoch, items: map[item]change{it: {seq: seq}}}}.append(nil)
	}
	d := knows(1000)
	digests := func() (out []uint32) {
		for _, m := range d.View().Members {
			for _, f := range m.Faults {
				out = append(out, f.Digest)
			}
		}
		return out
	}
	d.NotifyMsg(faulty(1000, 1, true))
	d.NotifyMsg(faulty(999, 2, true))
	d.NotifyMsg(faulty(2000, 3, true))
	d.NotifyMsg(faulty(1000, 4, false))
	if got := digests(); !slices.Equal(got, []uint32{1}) {
		t.Errorf("faults of the process: %v", got)
	}
	d.NotifyUpdate(member("n2", 2000))
	if got := digests(); !slices.Equal(got, []uint32{3}) {
		t.Errorf("faults of the next process: %v", got)
	}
	// A forged message about this node starts a new epoch, with the same faults.
	d.SetFaults([]Fault{{Addr: netip.MustParseAddr("192.0.2.9"), Digest: 9}})
	own := d.faults.records["n1"].epoch
	forged := message{node: "n1", faults: true, record: &record{epoch: own, base: 99, items: map[item]change{}}}
	d.NotifyMsg(forged.append(nil))
	if got := digests(); d.faults.records["n1"].epoch == own || !slices.Equal(got, []uint32{9, 3}) {
		t.Errorf("after a forged message: %v", got)
	}
}

// What members say of their probes is kept while they are members, also of those that say
// nothing else, and a while longer. What one node says stays bounded.
func TestFaultsKept(t *testing.T) {
	d := knows(1000)
	say := func(items map[item]change) {
		d.NotifyMsg(message{node: "n2", faults: true, record: &record{epoch: 1000, items: items}}.append(nil))
	}
	faults := func() int {
		for _, m := range d.View().Members {
			if m.Name == "n2" {
				return len(m.Faults)
			}
		}
		return -1
	}
	say(faultItems(3))
	d.forget(time.Now().Add(time.Hour))
	if n := faults(); n != 3 {
		t.Errorf("after an hour %d faults of a member without a record", n)
	}
	for i := range 20 {
		items := map[item]change{}
		for n := range maxFaults {
			items[item{kind: fault, addr: netip.AddrFrom4([4]byte{11, byte(i), byte(n >> 8), byte(n)})}] = change{seq: uint64(i + 2)}
		}
		say(items)
	}
	if n := faults(); n > maxHeard {
		t.Errorf("%d faults of one node", n)
	}
	other := knows(1000) // hears of them from this agent alone
	other.MergeRemoteState(d.LocalState(false), false)
	other.mu.Lock()
	heard := other.faults.records["n2"]
	other.mu.Unlock()
	if heard == nil || len(heard.items) != len(d.faults.records["n2"].items) {
		t.Errorf("an exchange of states passes %v of %d items on", heard, len(d.faults.records["n2"].items))
	}
	d.NotifyMsg(message{node: "n2", faults: true, record: &record{epoch: 1000, base: 99, items: map[item]change{}}}.append(nil))
	if n := faults(); n != 0 {
		t.Errorf("%d faults after an exchange of states", n)
	}
	d.NotifyLeave(member("n2", 1000))
	d.mu.Lock()
	d.drop("n2")
	d.forget(time.Now().Add(memory / 2))
	kept := d.faults.records["n2"] != nil
	d.forget(time.Now().Add(2 * memory))
	gone := d.faults.records["n2"] == nil && len(d.mentioned) == 0
	d.mu.Unlock()
	if !kept || !gone {
		t.Errorf("of a node that has left: kept %t, forgotten in the end %t", kept, gone)
	}
}

// A process that takes the place of one that was declared dead a moment ago is another one:
// its predecessor has crashed.
func TestJoinAfterDoom(t *testing.T) {
	d := knows(1000)
	d.NotifyJoin(member("n3", 1))
	d.mu.Lock()
	lost := d.lost
	d.doom("n2")
	d.mu.Unlock()
	d.NotifyJoin(member("n2", 2000))
	if v := d.View(); len(v.Members) != 3 {
		t.Errorf("members %v", v.Alive())
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lost != lost+1 || d.losses.Probed != 1 || len(d.damping.revivals["n2"]) != 1 || d.isLost("n2") {
		t.Errorf("lost %d times, %+v, revivals %v", d.lost-lost, d.losses, d.damping.revivals)
	}

	// The same process denies that it is dead.
	d.doom("n2")
	d.mu.Unlock()
	d.NotifyJoin(member("n2", 2000))
	d.mu.Lock()
	if d.lost != lost+1 || d.losses.Probed != 1 {
		t.Errorf("a process that is alive: lost %d times, %+v", d.lost-lost, d.losses)
	}
}

// The watchers' verdict about a process does not count for the next one.
func TestJoinAfterLoss(t *testing.T) {
	d := knows(1000)
	d.mu.Lock()
	d.lose("n2", 1, time.Now())
	d.doom("n2")
	d.mu.Unlock()
	d.NotifyJoin(member("n2", 2000))
	if v := d.View(); len(v.Members) != 2 {
		t.Errorf("members %v", v.Alive())
	}
}
