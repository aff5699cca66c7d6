// SPDX-License-Identifier: Apache-2.0

package members

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"
)

// watches returns an agent on n1 that has n2 and n3 as members, watches both, and has heard
// a heartbeat of each.
func watches(t *testing.T) delegate {
	t.Helper()
	d := knows(1000)
	d.NotifyJoin(member("n3", 1000))
	d.Publish(State{Held: []netip.Addr{netip.MustParseAddr("192.0.2.1")}})
	d.beaten.Store(0)
	d.doubted.Store(false)
	d.look(time.Now(), 0)
	d.NotifyMsg(beat("n2", 1000, 1))
	d.NotifyMsg(beat("n3", 1000, 1))
	if len(d.watched) != 2 || d.watched["n2"].heard.IsZero() {
		t.Fatalf("watched: %v", d.watched)
	}
	return d
}

func beat(node string, epoch, seq uint64) []byte {
	return message{node: node, kind: beatMsg, epoch: epoch, seq: seq}.append(nil)
}

func lost(node string, epoch, seq uint64) []byte {
	return message{node: node, kind: lostMsg, epoch: epoch, seq: seq}.append(nil)
}

func missed(node string, epoch, seq uint64, watcher string) []byte {
	return message{node: node, kind: missedMsg, epoch: epoch, seq: seq, watcher: watcher}.append(nil)
}

// kinds returns what a round sends: kind and addressee.
func (r round) kinds(t *testing.T) (out []string) {
	t.Helper()
	for _, l := range r.letters {
		m, err := parseMessage(l.body)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%#x about %s", m.kind, m.node))
	}
	slices.Sort(out)
	return out
}

// A node is asked after two heartbeats, missed when its kernel does not answer, and lost
// when the other watcher agrees.
func TestJudge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := watches(t)
		time.Sleep(109 * time.Millisecond)
		d.NotifyMsg(beat("n3", 1000, 2))
		if r := d.look(time.Now(), 0); len(r.knocks) > 0 {
			t.Fatalf("asked too early: %+v", r)
		}
		time.Sleep(time.Millisecond)
		if r := d.look(time.Now(), 50*time.Millisecond); len(r.knocks) > 0 {
			t.Fatal("asked although the timer was late: what has arrived may not be read")
		}
		time.Sleep(50 * time.Millisecond)
		r := d.look(time.Now(), 0)
		if len(r.knocks) != 1 || r.knocks[0].Name != "n2" || len(d.look(time.Now(), 0).knocks) > 0 {
			t.Fatalf("the silent node is to be asked once: %+v", r)
		}
		d.knocked(r.knocks[0], unclear)
		if r = d.look(time.Now(), 0); r.news || slices.Contains(r.kinds(t), "0x18 about n2") {
			t.Fatalf("this node was not able to ask: %v", r.kinds(t))
		}
		time.Sleep(50 * time.Millisecond)
		d.NotifyMsg(beat("n3", 1000, 3))
		r = d.look(time.Now(), 0)
		d.knocked(r.knocks[0], silent)
		if r = d.look(time.Now(), 0); r.news || !slices.Contains(r.kinds(t), "0x18 about n2") {
			t.Fatalf("the other watcher is not told: %v", r.kinds(t))
		}
		d.NotifyMsg(missed("n2", 999, 1, "n3"))
		d.NotifyMsg(missed("n2", 1000, 1, "n2"))
		d.NotifyMsg(missed("n2", 1000, 1, "nobody"))
		if d.look(time.Now(), 0).news {
			t.Fatal("lost by itself, by a stranger, or about another process")
		}
		d.NotifyMsg(missed("n2", 1000, 1, "n3"))
		if r = d.look(time.Now(), 0); !r.news || slices.Contains(d.View().Alive(), "n2") {
			t.Fatalf("the other watcher agrees, and the node is not lost: %v", d.View().Alive())
		}
		d.NotifyMsg(beat("n2", 1000, 1))
		if slices.Contains(d.View().Alive(), "n2") {
			t.Error("an old heartbeat brings it back")
		}
		d.NotifyMsg(beat("n2", 1000, 2))
		if !slices.Contains(d.View().Alive(), "n2") {
			t.Error("a later heartbeat does not bring it back")
		}
		if d.losses != (Losses{Missed: 1, Returned: 1}) {
			t.Errorf("losses: %+v", d.losses)
		}
	})
}

// A node whose kernel answers is given as long as memberlist's probes are.
func TestFrozenNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := watches(t)
		for i := range uint64(16) {
			time.Sleep(50 * time.Millisecond)
			d.NotifyMsg(beat("n3", 1000, 2+i))
			d.NotifyMsg(missed("n2", 1000, 1, "n3")) // it may have no connection
			r := d.look(time.Now(), 0)
			for _, n := range r.knocks {
				d.knocked(n, present)
			}
			if r.news != (i == 15) {
				t.Fatalf("after %d ms lost is %t", 50*(i+1), r.news)
			}
		}
	})
}

// A watcher that did not run for a while counts none of that as the node's silence.
func TestFrozenWatcher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := watches(t)
		time.Sleep(2 * time.Second)
		for i := range 10 {
			d.NotifyMsg(missed("n2", 1000, 1, "n3"))
			late := time.Duration(0)
			if i == 0 {
				late = 1900 * time.Millisecond
			}
			r := d.look(time.Now(), late)
			for _, n := range r.knocks {
				d.knocked(n, present)
			}
			if r.news {
				t.Fatalf("a node is lost %d ms after this process runs again", 50*i)
			}
			time.Sleep(50 * time.Millisecond)
		}
	})
}

// A watcher that hears the node says so to one that does not.
func TestDenial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := watches(t)
		time.Sleep(50 * time.Millisecond)
		d.NotifyMsg(beat("n2", 1000, 4))
		d.NotifyMsg(missed("n2", 1000, 1, "n3"))
		r := d.look(time.Now(), 0)
		if !slices.Contains(r.kinds(t), "0x17 about n2") {
			t.Errorf("it does not say so: %v", r.kinds(t))
		}
		if len(d.watched["n2"].votes) > 0 {
			t.Error("the vote counts")
		}
	})
}

// Whether a node is lost depends on the process and on the last heartbeat: a recorded
// message of before has no effect. A node that memberlist finds alive comes back.
func TestLostMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := watches(t)
		d.NotifyMsg(beat("n2", 1000, 9))
		for _, old := range [][]byte{lost("n2", 1000, 8), lost("n2", 999, 10), lost("n2", 1001, 10), lost("n4", 1000, 10)} {
			if d.NotifyMsg(old); len(d.View().Members) != 3 {
				t.Fatalf("%x has an effect", old)
			}
		}
		d.NotifyMsg(lost("n2", 1000, 9))
		if v := d.View(); len(v.Members) != 2 {
			t.Fatalf("not lost: %v", v.Alive())
		}
		time.Sleep(lostKept)
		d.NotifyMsg(beat("n3", 1000, 2))
		if r := d.look(time.Now(), 0); !r.news || len(d.View().Members) != 3 {
			t.Error("memberlist finds it alive, and it does not come back")
		}
		d.NotifyMsg(lost("n2", 1000, 9))
		d.NotifyUpdate(member("n2", 2000))
		if len(d.View().Members) != 3 {
			t.Error("its next process is lost")
		}
		d.NotifyMsg(lost("n3", 1000, math.MaxUint64))
		d.NotifyLeave(member("n3", 1000))
		d.NotifyJoin(member("n3", 1000))
		if len(d.View().Members) != 3 || d.losses.Probed != 0 {
			t.Errorf("a member that joins is lost: %v, %+v", d.View().Alive(), d.losses)
		}
	})
}

// A node that hears that it is lost sends its next heartbeat to all, once. If a later one
// is said to be its last than it has sent, it begins a new epoch.
func TestProtest(t *testing.T) {
	d := watches(t)
	epoch := d.records["n1"].epoch
	d.heartbeats.seq = 7
	d.outbox = nil
	for range 3 {
		d.NotifyMsg(lost("n1", epoch, 7))
		d.NotifyMsg(lost("n1", epoch-1, 9))
	}
	if len(d.outbox) != 1 || !slices.Equal(d.outbox[0], beat("n1", epoch, 8)) || !d.heartbeats.accused {
		t.Errorf("it answers with %x", d.outbox)
	}
	d.heartbeats.seq = 20
	d.doubt()
	if d.NotifyMsg(lost("n1", epoch, 20)); d.heartbeats.accused {
		t.Error("it doubts its view again, because of a silence that it has noticed")
	}
	d.NotifyMsg(lost("n1", epoch, math.MaxUint64))
	if d.records["n1"].epoch <= epoch {
		t.Error("it keeps an epoch in which nobody would hear it")
	}
}

// Heartbeats are sent to few, who are members and ask the present process, and as long as
// they ask.
func TestLeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := knows(1000)
		epoch := d.records["n1"].epoch
		var all []Node
		for i := range 30 {
			all = append(all, Node{Name: "m" + strconv.Itoa(i)})
		}
		d.SetNodes(append(all, Node{Name: "n2"}))
		ask := func(node string, epoch, seq uint64) {
			d.NotifyMsg(message{node: node, kind: watchMsg, epoch: epoch, seq: seq}.append(nil))
		}
		sent := func() int {
			_, to := d.heartbeat(time.Now())
			return len(to)
		}
		ask("n2", epoch-1, 1)
		ask("m0", epoch, 1)
		if n := sent(); n != 0 {
			t.Errorf("%d get heartbeats: for an earlier process, or without being a member", n)
		}
		ask("n2", epoch, 1)
		if n := sent(); n != 1 {
			t.Errorf("%d get heartbeats, want 1", n)
		}
		ask("n2", epoch, 0)
		if n := sent(); n != 0 {
			t.Errorf("%d get heartbeats that they do not want any more", n)
		}
		for _, n := range all {
			d.NotifyJoin(member(n.Name, 1))
			ask(n.Name, epoch, 1)
		}
		if n := sent(); n != maxLeases {
			t.Errorf("%d get heartbeats, want %d", n, maxLeases)
		}
		d.NotifyLeave(member("m0", 1))
		time.Sleep(leaseTime - time.Second)
		ask("m1", epoch, 1)
		if n := sent(); n != maxLeases {
			t.Errorf("before the leases end %d get heartbeats", n)
		}
		time.Sleep(time.Second)
		if n := sent(); n != 1 {
			t.Errorf("after the leases have ended %d get heartbeats, want 1", n)
		}
	})
}

// Each agent is watched by three others, and watches three, whatever their names are.
func TestRing(t *testing.T) {
	for _, size := range []int{1, 2, 3, 4, 5, 1000} {
		var names []string
		for i := range size {
			names = append(names, fmt.Sprintf("node-%04d.rack-%d", i, i%7))
		}
		r := newRing(names)
		want := min(watchersEach, size-1)
		for _, name := range names {
			watchers := r.watchersOf(name)
			if len(watchers) != want || slices.Contains(watchers, name) || len(slices.Compact(slices.Sorted(slices.Values(watchers)))) != want {
				t.Fatalf("of %d, %s is watched by %v", size, name, watchers)
			}
			for _, w := range watchers {
				if !slices.Contains(r.watchedBy(w), name) {
					t.Errorf("of %d, %s watches %s, and does not know", size, w, name)
				}
			}
		}
		if got := r.watchersOf("stranger"); got != nil {
			t.Errorf("a stranger is watched by %v", got)
		}
	}
}

// dials is a dialer with one result.
type dials struct {
	err   error
	after time.Duration
}

func (d dials) DialTimeout(string, time.Duration) (net.Conn, error) {
	time.Sleep(d.after)
	if d.err != nil {
		return nil, d.err
	}
	c, _ := net.Pipe()
	return c, nil
}

func TestKnock(t *testing.T) {
	op := func(err error) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", err)}
	}
	tests := []struct {
		name  string
		err   error
		after time.Duration
		want  reply
	}{
		{"an agent accepts", nil, 0, present},
		{"an agent accepts, and this process is late", nil, time.Second, present},
		{"no agent", op(syscall.ECONNREFUSED), 0, absent},
		{"no answer", &net.OpError{Op: "dial", Net: "tcp", Err: os.ErrDeadlineExceeded}, knockTime, silent},
		{"no answer, and this process is late", &net.OpError{Op: "dial", Net: "tcp", Err: os.ErrDeadlineExceeded}, time.Second, unclear},
		{"no neighbor", op(syscall.EHOSTUNREACH), time.Millisecond, silent},
		{"no network here", op(syscall.ENETUNREACH), 0, unclear},
		{"no descriptors here", op(syscall.EMFILE), 0, unclear},
		{"not a Node's address", errors.New("10.0.0.1:7946 is not the address of a Node"), 0, unclear},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if got := knock(dials{tt.err, tt.after}, memberlist.Node{Addr: net.IPv4(192, 0, 2, 1), Port: 7946}); got != tt.want {
					t.Errorf("got %d, want %d", got, tt.want)
				}
			})
		})
	}
}

// A kernel's answers are what knock takes them for.
func TestKnockAtKernel(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().(*net.TCPAddr)
	n := memberlist.Node{Addr: at.IP, Port: uint16(at.Port)}
	dialer := real{}
	if got := knock(dialer, n); got != present { // though nobody accepts
		t.Errorf("with a listener: %d", got)
	}
	l.Close()
	if got := knock(dialer, n); got != absent {
		t.Errorf("without one: %d", got)
	}
}

type real struct{}

func (real) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return net.DialTimeout("tcp", addr, max(timeout, 5*time.Second))
}
