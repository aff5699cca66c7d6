// SPDX-License-Identifier: Apache-2.0

package members

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
)

// single returns a run of each address.
func single(texts ...string) (runs [][2]netip.Addr) {
	for _, text := range texts {
		a := netip.MustParseAddr(text)
		runs = append(runs, [2]netip.Addr{a, a})
	}
	return runs
}

func TestSentOnTheWire(t *testing.T) {
	for _, list := range [][]Sent{
		nil,
		{{Peers: []string{"r1"}}},
		{{Peers: []string{"r1", "r2"}, Runs: single("0.0.0.0", "192.0.2.1", "192.0.2.3", "255.255.255.255")}},
		{
			{Peers: []string{"r1"}, Runs: single("10.0.0.1", "::1", "2001:db8::", "2001:db8::2", "2001:db8:0:1::ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")},
			{Peers: []string{"r2"}, Runs: [][2]netip.Addr{{netip.MustParseAddr("10.0.0.0"), netip.MustParseAddr("10.0.255.255")}}},
		},
	} {
		m := message{node: "n1", kind: sentMsg, epoch: 7, seq: 3, raw: string(appendSent(nil, list))}
		got, err := parseMessage(m.append(nil))
		if err != nil || got.node != "n1" || got.epoch != 7 || got.seq != 3 || !equalSent(got.sent, list) {
			t.Errorf("%v became %+v, %v", list, got, err)
		}
	}
	header := message{node: "n1", kind: sentMsg, epoch: 7, seq: 3}.append(nil)
	for name, bad := range map[string][]byte{
		"more peers than bytes":  {200},
		"no blocks":              {0},
		"an unknown family":      {0, 1, 5, 0},
		"half a prefix":          {0, 1, block6, 1, 2},
		"more runs than allowed": {0, 1, block4, 0xff, 0xff, 0xff, 0x7f},
		"beyond IPv4":            {0, 1, block4, 1, 0xff, 0xff, 0xff, 0xff, 0x0f, 1},
		"a run in another":       {0, 1, block4, 2, 1, 1, 0, 1},
		"a block before another": {0, 2, block4, 1, 1, 1, block4, 1, 1, 1},
		"around the end": append([]byte{0, 1, block6, 0, 0, 0, 0, 0, 0, 0, 0, 1},
			0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 1),
	} {
		if m, err := parseMessage(slices.Concat(header, bad)); err == nil {
			t.Errorf("%s: got %+v, want an error", name, m)
		}
	}
}

// TestSentSize measures the size of the answers if each of 1,000 nodes has sent each of
// 10,000 addresses to two peers. Without a node that asks, nothing is sent.
func TestSentSize(t *testing.T) {
	const nodes, services = 1000, 10_000
	peers := []string{"rack-router-a", "rack-router-b"}
	addr := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}) }
	gaps := func(total int, used func(i int) bool) []Sent {
		s := Sent{Peers: peers}
		for i := range total {
			switch n := len(s.Runs); {
			case !used(i):
			case n > 0 && s.Runs[n-1][1] == addr(i-1):
				s.Runs[n-1][1] = addr(i)
			default:
				s.Runs = append(s.Runs, [2]netip.Addr{addr(i), addr(i)})
			}
		}
		return []Sent{s}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for _, tt := range []struct {
		name string
		list []Sent
		most int // bytes of one answer
	}{
		{"one after the other", gaps(services, func(int) bool { return true }), 100},
		{"with holes", gaps(services*11/10, func(int) bool { return r.IntN(11) > 0 }), 2500},
		{"scattered over a /12", gaps(1<<20, func(int) bool { return r.IntN(1<<20) < services }), 25_000},
		{"30 of them here, as with externalTrafficPolicy Local", gaps(services, func(i int) bool { return i%(services/30) == 0 }), 200},
	} {
		size := len(message{node: "node-0999.example.org", kind: sentMsg, epoch: 1 << 60, seq: 9, raw: string(appendSent(nil, tt.list))}.append(nil))
		between := max(answerLeast, time.Duration(nodes*size)*time.Second/answerRate)
		t.Logf("%s: an answer of %d bytes, %d kB of all nodes, again at most every %v", tt.name, size, nodes*size/1000, between.Round(time.Millisecond))
		if size > tt.most {
			t.Errorf("%s: an answer has %d bytes, want at most %d", tt.name, size, tt.most)
		}
	}
	ask := len(message{node: "node-0999.example.org", kind: askMsg, epoch: 1 << 60, seq: 9}.append(nil))
	t.Logf("a question of %d bytes to each node every %v", ask, max(askAgain, nodes*askEach))
	if ask > 50 {
		t.Errorf("a question has %d bytes", ask)
	}
}

// What this node sends has bounds in time, however often what it has sent changes.
func TestAnswersAreSpaced(t *testing.T) {
	l := New(Options{Node: "n1"})
	for _, name := range []string{"n2", "n3"} {
		l.alive[name] = peer{node: memberlist.Node{Name: name}, epoch: 5}
	}
	bodies := func(now time.Time) (n int) {
		letters, _, _ := l.letters(now)
		return len(letters)
	}
	now := time.Now()
	set := func(i byte) {
		l.SetSent([]Sent{{Peers: []string{"r1"}, Runs: single(netip.AddrFrom4([4]byte{10, 0, 0, i}).String())}})
	}
	ask := func(seq uint64) { l.asked(message{node: "n2", kind: askMsg, seq: seq}) }
	steps := []struct {
		name string
		do   func()
		at   time.Duration
		want int
	}{
		{"nobody asks", func() { set(1) }, 0, 0},
		{"n2 asks", func() { ask(0); set(1) }, 0, 1},
		{"it has its answer", func() {}, time.Second, 0},
		{"there is another", func() { set(2) }, time.Second, 1},
		{"and another at once", func() { set(3) }, time.Second + answerLeast/2, 0},
		{"a moment later", func() {}, time.Second + answerLeast, 1},
		{"n2 has lost it", func() { ask(2) }, 2 * time.Second, 1},
		{"n2 knows it", func() { ask(3) }, 3 * time.Second, 0},
		{"n2 does not ask any more", func() { set(4) }, 3*time.Second + 2*askerAge, 0},
		{"what was answered may be old", func() { ask(0) }, 4 * time.Second, 0},
		{"now it is not", func() { set(4) }, 4 * time.Second, 1},
		{"a node that nobody knows asks", func() { l.asked(message{node: "n9", kind: askMsg}) }, 5 * time.Second, 0},
	}
	for _, s := range steps {
		s.do()
		if got := bodies(now.Add(s.at)); got != s.want {
			t.Errorf("%s: %d letters, want %d", s.name, got, s.want)
		}
	}
}
