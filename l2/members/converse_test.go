// SPDX-License-Identifier: Apache-2.0

package members_test

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/heraldlb/herald/l2/members"
)

// runs returns one run of each address, two apart.
func runs(n int) (out [][2]netip.Addr) {
	for i := range n {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 15), byte(i >> 7), byte(i << 1)})
		out = append(out, [2]netip.Addr{a, a})
	}
	return out
}

// says reports whether a member has answered so.
func says(node string, want []members.Sent) func(members.View) bool {
	return func(v members.View) bool {
		for _, m := range v.Members {
			if m.Name == node {
				return m.Answered && reflect.DeepEqual(m.Sent, want)
			}
		}
		return false
	}
}

func asked(want bool) func(members.View) bool {
	return func(v members.View) bool { return v.Asked == want }
}

// The routes that a node has sent are reported to nodes that ask, at once and after
// changes, and to no others.
func TestAskAndAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3)
		a := c.startAll()
		small := []members.Sent{{Peers: []string{"r1", "r2"}, Runs: runs(10)}}
		large := []members.Sent{{Peers: []string{"r1"}, Runs: runs(5000)}} // not in a packet
		a[1].SetSent(small)

		a[0].Ask(true)
		for _, s := range a[1:] {
			s.await("a question", asked(true))
		}
		if a[0].View().Asked {
			t.Error("the one that asks is asked")
		}
		a[1].SetSent(small)
		a[0].await("the answer", says("n02", small))
		for _, m := range a[0].View().Members {
			if m.Answered != (m.Name == "n02") {
				t.Errorf("%s has answered: %v", m.Name, m.Answered)
			}
		}
		a[2].SetSent(nil)
		a[0].await("that nothing is sent", says("n03", nil))
		a[1].SetSent(large)
		a[0].await("another answer", says("n02", large))
		a[1].SetSent(nil)
		a[0].await("the last answer", says("n02", nil))
		if v := a[2].View(); v.Members[1].Answered {
			t.Error("a node that does not ask gets an answer")
		}

		if err := a[1].stop(); err != nil {
			t.Fatal(err)
		}
		a[0].await("n02 gone", alive("n01", "n03"))
		a[1] = c.start(1)
		a[1].await("a question after its return", asked(true))
		a[0].await("n02 back, and silent", func(v members.View) bool { return len(v.Members) == 3 && !v.Members[1].Answered })
		a[1].SetSent(small)
		a[0].await("its answer", says("n02", small))
		a[0].Ask(false)
		if v := a[0].View(); v.Members[1].Answered || v.Members[2].Answered {
			t.Errorf("answers count of which nobody keeps track: %+v", v)
		}
	})
}

// An answer that is lost is asked for again.
func TestLostAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 2)
		a := c.startAll()
		want := []members.Sent{{Peers: []string{"r1"}, Runs: runs(1)}}
		a[0].Ask(true)
		a[1].await("a question", asked(true))
		c.wires.Part(1, c.addr(1))
		a[1].SetSent(want)
		time.Sleep(100 * time.Millisecond)
		c.wires.Part(0, c.addr(1))
		a[0].await("the answer", says("n02", want))
	})
}
