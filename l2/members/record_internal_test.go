// SPDX-License-Identifier: Apache-2.0

package members

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var exported = cmp.AllowUnexported(message{}, record{}, item{}, change{})

var addrs = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

func TestMessage(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	tests := []struct {
		name string
		msg  message
	}{
		{"a record of everything", message{node: "n1", record: &record{epoch: 1 << 63, base: 7, items: map[item]change{
			{kind: leaving}:                             {seq: 7},
			{kind: held, addr: v4}:                      {seq: 1},
			{kind: held, addr: v6}:                      {seq: 300, gone: true},
			{kind: iface, name: "eth0"}:                 {seq: 2},
			{kind: station, mac: MAC{2, 0, 0, 0, 0, 1}}: {seq: 2},
		}}}},
		{"a record of faults", message{node: "n1", faults: true, record: &record{epoch: 1 << 63, base: 7, items: map[item]change{
			{kind: fault, addr: v4, digest: 1 << 31}: {seq: 7},
			{kind: fault, addr: v6, digest: 2}:       {seq: 1},
			{kind: open, addr: v4, digest: 3}:        {seq: 300, gone: true},
			{kind: open, addr: v6, digest: 4}:        {seq: 2},
			{kind: whole, digest: 3}:                 {seq: 2},
		}}}},
		{"an empty record", message{node: "n1", record: &record{epoch: 1, items: map[item]change{}}}},
		{"damping", message{node: "n1", damped: 1500 * time.Millisecond}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := tt.msg.append(nil)
			got, err := parseMessage(b)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.msg, got, exported, addrs); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
			for n := range b {
				if _, err := parseMessage(b[:n]); err == nil && tt.msg.record == nil {
					t.Errorf("the first %d of %d bytes are no error", n, len(b))
				}
			}
		})
	}
}

func TestBadMessages(t *testing.T) {
	tests := []struct {
		name string
		b    []byte
		want string
	}{
		{"nothing", nil, "truncated message"},
		{"of a later version", []byte{0x21, 2, 'n', '1'}, "message of kind 0x21"},
		{"without a node", []byte{recordMsg}, "truncated message"},
		{"with a name that is too long", []byte{recordMsg, 0xff, 0xff, 0x03}, "name of 65535 bytes"},
		{"with half an address", []byte{recordMsg, 1, 'n', 1, 1, wireHeld4, 1, 192, 0}, "truncated message"},
		{"with an item of a later version", []byte{recordMsg, 1, 'n', 1, 1, 0x7f, 1}, "item of kind 0x7f"},
		{"with too many faults", message{node: "n", faults: true, record: &record{items: faultItems(2*maxHeard + 1)}}.append(nil), "too many faults"},
		{"with a number of faults that no node has", []byte{faultsMsg, 1, 'n', 1, 1, wireWhole, 1, 0xff, 0xff, 0x03}, "number 65535 above 1024"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parseMessage(tt.b)
			if err == nil || err.Error() != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

// faultItems returns so many items of faults.
func faultItems(n int) map[item]change {
	out := map[item]change{}
	for i := range n {
		out[item{kind: fault, addr: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})}] = change{seq: 1}
	}
	return out
}

// FuzzMessage shows that what was read is written as what reads the same.
func FuzzMessage(f *testing.F) {
	f.Add(message{node: "n1", record: &record{epoch: 1, base: 1, items: map[item]change{{kind: leaving}: {seq: 1}}}}.append(nil))
	f.Add(message{node: "n1", damped: time.Second}.append(nil))
	f.Add(message{node: "n1", kind: askMsg, epoch: 7, seq: 3}.append(nil))
	f.Add(message{node: "n1", kind: sentMsg, epoch: 7, seq: 3, sent: []Sent{{Peers: []string{"r"}, Runs: single("10.0.0.1", "fd00::1")}}}.append(nil))
	f.Add(message{node: "n1", kind: watchMsg, epoch: 7, seq: 1}.append(nil))
	f.Add(message{node: "n1", kind: beatMsg, epoch: 7, seq: 3}.append(nil))
	f.Add(message{node: "n1", kind: missedMsg, epoch: 7, seq: 3, watcher: "n2"}.append(nil))
	f.Add(message{node: "n1", kind: lostMsg, epoch: 7, seq: 3}.append(nil))
	f.Add(message{node: "n1", kind: versionMsg, epoch: 7, version: "v1.2.3"}.append(nil))
	f.Add(message{node: "n1", kind: keysMsg, epoch: 7, seq: 3, prints: []fingerprint{{1}, {2}}}.append(nil))
	f.Add(message{node: "n1", faults: true, record: &record{epoch: 1, items: map[item]change{{kind: open, addr: netip.MustParseAddr("fd00::1"), digest: 7}: {seq: 1}, {kind: whole, digest: 1}: {seq: 1}}}}.append(nil))
	f.Add([]byte{recordMsg, 1, 'n', 1, 1, wireHeld4, 1, 192, 0, 2, 1, wireIface | wireGone, 2, 1, 'x'})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseMessage(b)
		if err != nil {
			return
		}
		again, err := parseMessage(m.append(nil))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(m, again, exported, addrs); diff != "" {
			t.Errorf("read again (-want +got):\n%s", diff)
		}
	})
}

func TestPacketsAreShort(t *testing.T) {
	changes := map[item]change{}
	for i := range 1000 {
		changes[item{kind: held, addr: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})}] = change{seq: 3}
	}
	got := map[item]change{}
	ps := packets(recordMsg, "n1", 5, changes)
	for _, p := range ps {
		if len(p) > packetSize {
			t.Errorf("a packet of %d bytes", len(p))
		}
		m, err := parseMessage(p)
		if err != nil || m.node != "n1" || m.record.epoch != 5 || m.record.base != 0 {
			t.Fatalf("packet %+v: %v", m, err)
		}
		maps.Copy(got, m.record.items)
	}
	if diff := cmp.Diff(changes, got, exported, addrs); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	if len(ps) > 8 {
		t.Errorf("%d packets for 1000 addresses", len(ps))
	}
}

func TestList(t *testing.T) {
	var b []byte
	b = appendList(b, message{node: "n1", damped: time.Second})
	b = appendList(b, message{node: "n2", damped: time.Second})
	var got [][]byte
	if err := eachOf(b, func(m []byte) { got = append(got, bytes.Clone(m)) }); err != nil || len(got) != 2 {
		t.Errorf("%d messages, %v", len(got), err)
	}
	if err := eachOf(b[:len(b)-1], func([]byte) {}); err == nil {
		t.Error("half a list is no error")
	}
}

// TestRecordsConverge sends the changes of a random life of one node in random
// order, some twice and some never, and sometimes the whole record. With the final record
// every receiver has the node's State.
func TestRecordsConverge(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 0))
		own := record{epoch: 1, items: map[item]change{}}
		var sent [][]byte
		for range 30 {
			if r.IntN(15) == 0 { // the process starts again
				own = record{epoch: own.epoch + 1, items: map[item]change{}}
			}
			var s State
			s.Leaving = r.IntN(2) == 0
			for i := range 6 {
				if r.IntN(2) == 0 {
					s.Held = append(s.Held, netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}))
				}
			}
			if changes := own.setState(s); changes != nil {
				sent = append(sent, packets(recordMsg, "n", own.epoch, changes)...)
			}
			if r.IntN(4) == 0 {
				sent = append(sent, message{node: "n", record: &own}.append(nil))
			}
		}
		want := own.state()
		sent = append(sent, sent...)
		r.Shuffle(len(sent), func(i, j int) { sent[i], sent[j] = sent[j], sent[i] })
		got := record{items: map[item]change{}}
		hear := func(b []byte) {
			m, err := parseMessage(b)
			if err != nil {
				t.Fatal(err)
			}
			got.merge(*m.record)
			if r.IntN(2) == 0 {
				if diff := cmp.Diff(got.statement(), got.state(), addrs); diff != "" {
					t.Fatalf("seed %d: state after a message (-from scratch +remembered):\n%s", seed, diff)
				}
			}
		}
		for _, b := range sent[:r.IntN(len(sent))] {
			hear(b)
		}
		hear(message{node: "n", record: &own}.append(nil))
		if diff := cmp.Diff(want, got.state(), addrs); diff != "" {
			t.Fatalf("seed %d: state (-want +got):\n%s", seed, diff)
		}
		for _, b := range sent { // what is late changes nothing
			hear(b)
		}
		if diff := cmp.Diff(want, got.state(), addrs); diff != "" {
			t.Fatalf("seed %d: state after late messages (-want +got):\n%s", seed, diff)
		}
		if seed == 0 && len(want.Held)+len(slices.Collect(maps.Keys(got.items))) == 0 {
			t.Fatal("the life ended with nothing to say; choose another seed")
		}
	}
}

// BenchmarkExchange measures what an agent does with the state of another one that knows
// the same, and View after it.
func BenchmarkExchange(b *testing.B) {
	for _, nodes := range []int{100, 1000, 5000} {
		b.Run(fmt.Sprint(nodes), func(b *testing.B) {
			state := LargeState(nodes, nodes)
			l := New(Options{Node: "n", Keys: [][]byte{Key("one"), Key("two")}})
			var all []Node
			if err := eachOf(state, func(m []byte) {
				if msg, err := parseMessage(m); err == nil && msg.record != nil {
					all = append(all, Node{Name: msg.node})
					l.alive[msg.node] = peer{epoch: msg.record.epoch}
				}
			}); err != nil {
				b.Fatal(err)
			}
			l.SetNodes(all)
			d := delegate{l}
			d.MergeRemoteState(state, false)
			if v := l.View(); len(v.Members) != nodes+1 || len(v.Members[nodes/2].Held) == 0 {
				b.Fatalf("%d members, one of them %+v", len(v.Members), v.Members[nodes/2])
			}
			b.Run("merge", func(b *testing.B) {
				for b.Loop() {
					d.MergeRemoteState(state, false)
				}
			})
			b.Run("view", func(b *testing.B) {
				for b.Loop() {
					l.mu.Lock()
					l.invalidate()
					l.mu.Unlock()
					l.View()
				}
			})
		})
	}
}
