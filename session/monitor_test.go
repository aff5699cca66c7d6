// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/status"
)

// A fakeSource answers with one list after the other.
type fakeSource struct {
	answers [][]frr.Session
	reset   []status.PeerID
}

func (f *fakeSource) Sessions(context.Context) ([]frr.Session, error) {
	answer := f.answers[0]
	f.answers = f.answers[1:]
	return answer, nil
}

func (f *fakeSource) Reset(_ context.Context, peer status.PeerID) error {
	f.reset = append(f.reset, peer)
	return nil
}

func (*fakeSource) Close() error { return nil }

func TestMonitor(t *testing.T) {
	peer := netip.MustParseAddr("10.0.0.1")
	up := frr.Session{Peer: status.PeerID{Address: peer}, State: "Established", Up: true, Uptime: time.Minute, PrefixesSent: 3, LastError: "Hold Timer Expired", BFD: &frr.BFD{Peer: "10.0.0.1", Status: "up"}}
	down := frr.Session{Peer: status.PeerID{Address: peer}, State: "Active", Dropped: 1, LastError: "Hold Timer Expired"}
	var log strings.Builder
	changes := 0
	var events, published []string
	s := New(Options{
		Source:  &fakeSource{answers: [][]frr.Session{nil, {down}, {up}, {up}, {down}, {up}, nil}},
		Reopen:  func(context.Context, status.PeerID) (bool, error) { return false, nil },
		Changed: func() { changes++ },
		Event:   func(e cluster.Event) { events = append(events, e.Reason) },
		see:     func(bool) sight { return sight{} },
		Publish: func(all []cluster.SessionState) {
			for _, a := range all {
				published = append(published, fmt.Sprintf("%s %v", a.Peer, a.Up))
			}
		},
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	peers := []status.Peer{
		{Name: "a", Address: peer, Wanted: true},
		{Name: "b", Address: peer},
		{Name: "c", Address: netip.MustParseAddr("10.0.0.2"), Wanted: true},
	}
	s.Want(peers)
	var states []status.SessionState
	for range 7 {
		s.look(t.Context())
		got := s.In(peers)
		states = append(states, got[0].Session.State)
		if last := got[0].Session.LastError; (last == "Hold Timer Expired") != (got[0].Session.State == "Active") {
			t.Errorf("the session is %s, its last error %q", got[0].Session.State, last)
		}
		if guard := got[0].Session.BFDPeer; (guard == "10.0.0.1") != got[0].Session.Up() {
			t.Errorf("the session is up: %v, and its BFD is with %q", got[0].Session.Up(), guard)
		}
		if got[1].Session != (status.Session{}) || got[2].Session != (status.Session{}) {
			t.Errorf("sessions of peers that FRR does not have: %+v", got)
		}
	}
	if diff := cmp.Diff([]status.SessionState{"", "Active", "Established", "Established", "Active", "Established", ""}, states); diff != "" {
		t.Errorf("states (-want +got):\n%s", diff)
	}
	var messages []string
	for line := range strings.Lines(log.String()) {
		_, message, _ := strings.Cut(strings.TrimSpace(line), "msg=")
		messages = append(messages, message)
	}
	want := []string{
		`"session up" peer=10.0.0.1`,
		`"session down" peer=10.0.0.1 reason="Hold Timer Expired"`,
		`"session up" peer=10.0.0.1`,
		`"session gone" peer=10.0.0.1`,
	}
	if diff := cmp.Diff(want, messages); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
	if peers[0].Session != (status.Session{}) {
		t.Error("the peers that were passed changed")
	}
	if diff := cmp.Diff([]string{eventUp, eventDown, eventUp, eventDown}, events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	want = []string{"a false", "c false", "a true", "c false", "a false", "c false", "a true", "c false", "a false", "c false"}
	if diff := cmp.Diff(want, published); diff != "" {
		t.Errorf("published (-want +got):\n%s", diff)
	}
	if changes != 4 {
		t.Errorf("%d changes, want 4", changes)
	}
}

// A counter is a Source without sessions that counts the questions.
type counter struct {
	fakeSource
	asked  atomic.Int32
	closed bool
}

func (c *counter) Sessions(context.Context) ([]frr.Session, error) {
	c.asked.Add(1)
	return nil, nil
}

func (c *counter) Close() error {
	c.closed = true
	return nil
}

// The sessions are asked for every two seconds, and more often while other nodes rely
// on them.
func TestMonitorPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &counter{}
		var hurry atomic.Bool
		m := New(Options{
			Source: source, Hurry: hurry.Load, Changed: func() {}, Event: func(cluster.Event) {}, Logger: slog.New(slog.DiscardHandler),
			see: func(bool) sight { return sight{} },
		})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- m.Run(ctx) }()
		for _, step := range []struct {
			hurry bool
			asked int32 // in ten seconds
		}{{false, 5}, {true, 20}, {false, 5}} {
			hurry.Store(step.hurry)
			before := source.asked.Load()
			time.Sleep(10 * time.Second)
			synctest.Wait()
			if n := source.asked.Load() - before; n < step.asked-1 || n > step.asked+1 {
				t.Errorf("hurry %v: asked %d times in 10 s, want %d", step.hurry, n, step.asked)
			}
		}
		stop()
		if err := <-done; err != nil || !source.closed {
			t.Errorf("%v, closed %v", err, source.closed)
		}
	})
}

// A session whose next hop is lost is reset once its address is there, and again
// at longer and longer intervals unless it had one in between.
func TestMonitorWithoutNextHop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer := status.PeerID{Address: netip.MustParseAddr("fd00::fe")}
		local := netip.MustParseAddr("fd00::1")
		fine := frr.Session{Peer: peer, State: "Established", Up: true, Local: local}
		lost, down := fine, frr.Session{Peer: peer, State: "Active"}
		lost.NextHopLost = true
		steps := []struct {
			session frr.Session
			there   bool // the address
			after   time.Duration
			resets  int // so far
		}{
			{fine, true, 0, 0},
			{lost, false, 0, 0},
			{lost, true, 0, 1},
			{down, true, 0, 1},
			{lost, true, 9 * time.Second, 1}, // it did not help, or was lost again
			{lost, true, time.Second, 2},
			{lost, true, 19 * time.Second, 2},
			{lost, true, time.Second, 3},
			{fine, true, 0, 3},
			{lost, true, 0, 4},
		}
		reader := &fakeSource{}
		there := false
		s := New(Options{
			Source: reader, Reopen: func(context.Context, status.PeerID) (bool, error) { return false, nil },
			Changed: func() {}, Event: func(cluster.Event) {}, Logger: slog.New(slog.DiscardHandler),
			Present: func(a netip.Addr) bool { return there && a == local },
			see:     func(bool) sight { return sight{} },
		})
		for i, step := range steps {
			time.Sleep(step.after)
			reader.answers, there = [][]frr.Session{{step.session}}, step.there
			s.look(t.Context())
			if len(reader.reset) != step.resets {
				t.Fatalf("step %d: %d resets, want %d", i, len(reader.reset), step.resets)
			}
		}
		if reader.reset[0] != peer {
			t.Errorf("the session with %v was reset, want %v", reader.reset[0], peer)
		}
	})
}

// A session is reset whose router leaves the OPEN without an answer, later each time until
// the session has been up.
func TestMonitorWithoutAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer := status.PeerID{Address: netip.MustParseAddr("10.0.0.1")}
		in := func(state string, opens int) frr.Session {
			return frr.Session{Peer: peer, State: state, Up: state == "Established", OpensSent: opens}
		}
		steps := []struct {
			session frr.Session
			after   time.Duration
			resets  int // so far
		}{
			{in("Active", 0), time.Hour, 0},
			{in("OpenSent", 1), time.Hour, 0},
			{in("OpenSent", 1), 14 * time.Second, 0},
			{in("OpenSent", 2), 10 * time.Second, 0}, // another connection
			{in("OpenSent", 2), 15 * time.Second, 1},
			{in("Connect", 2), 2 * time.Second, 1},
			{in("OpenSent", 3), 2 * time.Second, 1},
			{in("OpenSent", 3), 29 * time.Second, 1},
			{in("OpenSent", 3), time.Second, 2},
			{in("OpenSent", 4), 2 * time.Second, 2},
			{in("Active", 4), 70 * time.Second, 2},
			{in("OpenSent", 5), 2 * time.Second, 2},
			{in("OpenSent", 5), 59 * time.Second, 2},
			{in("OpenConfirm", 5), 2 * time.Second, 2},
			{in("Established", 5), 2 * time.Second, 2},
			{in("OpenSent", 6), 2 * time.Second, 2},
			{in("OpenSent", 6), 15 * time.Second, 3},
		}
		source := &fakeSource{}
		s := New(Options{
			Source: source, Reopen: func(context.Context, status.PeerID) (bool, error) { return false, nil },
			Changed: func() {}, Event: func(cluster.Event) {}, Logger: slog.New(slog.DiscardHandler),
			Present: func(netip.Addr) bool { return true },
			see:     func(bool) sight { return sight{} },
		})
		for i, step := range steps {
			time.Sleep(step.after)
			source.answers = [][]frr.Session{{step.session}}
			s.look(t.Context())
			if len(source.reset) != step.resets {
				t.Fatalf("step %d: %d resets, want %d", i, len(source.reset), step.resets)
			}
		}
		if source.reset[0] != peer {
			t.Errorf("the session with %v was reset, want %v", source.reset[0], peer)
		}
	})
}

// BFD is restarted for a session that neither comes up nor has BFD, and the log says so
// if there was BFD to begin.
func TestMonitorWithoutBFD(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		guarded := status.PeerID{Address: netip.MustParseAddr("10.0.0.1")}
		plain := status.PeerID{Address: netip.MustParseAddr("10.0.0.2")}
		broken := status.PeerID{Interface: "eth1"}
		down := []frr.Session{{Peer: guarded, State: "Idle"}, {Peer: plain, State: "Active"}, {Peer: broken, State: "Active"}}
		var log strings.Builder
		var reopened []string
		s := New(Options{
			see:    func(bool) sight { return sight{} },
			Source: &fakeSource{answers: slices.Repeat([][]frr.Session{down}, 8)}, Changed: func() {}, Event: func(cluster.Event) {},
			Logger: slog.New(slog.NewTextHandler(&log, nil)), Present: func(netip.Addr) bool { return true },
			Reopen: func(_ context.Context, p status.PeerID) (bool, error) {
				reopened = append(reopened, p.String())
				if p == broken {
					return false, errors.New("no reply")
				}
				return p == guarded, nil
			},
		})
		for range 4 {
			s.look(t.Context())
			time.Sleep(2 * time.Second)
		}
		if diff := cmp.Diff([]string{"10.0.0.1", "10.0.0.2", "eth1"}, reopened); diff != "" {
			t.Errorf("restarted (-want +got):\n%s", diff)
		}
		for text, want := range map[string]bool{
			`msg="BFD restarted" peer=10.0.0.1`: true,
			`10.0.0.2`:                          false,
			`msg="BFD not restarted" peer=eth1 err="no reply"`: true,
		} {
			if strings.Contains(log.String(), text) != want {
				t.Errorf("the log has %q: want %v:\n%s", text, want, log.String())
			}
		}
	})
}
