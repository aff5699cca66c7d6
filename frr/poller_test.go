// SPDX-License-Identifier: Apache-2.0

package frr_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/frr/frrtest"
	"github.com/heraldlb/herald/frr/vty"
)

const showSessions = "show bgp vrf all neighbors json"

// polled starts a bgpd with one session, which is up and has BFD.
func polled(t *testing.T) (f fakeFRR, p *frr.Poller) {
	t.Helper()
	f = startFRR(t)
	f.bgpd.Reply(showSessions, `{"default":{"vrfId":0,"10.0.0.1":{"bgpState":"Established"}}}`, byte(vty.Success))
	f.bfdd.Reply("show bfd peers json", `[{"peer":"10.0.0.1","vrf":"default","status":"up"}]`, byte(vty.Success))
	p = frr.NewPoller(f.dir)
	t.Cleanup(func() { p.Close() })
	return f, p
}

// questions returns how often a daemon was asked for the sessions since the last call.
func questions(d *frrtest.Daemon) (n int) {
	for _, c := range d.Sent() {
		if c == showSessions {
			n++
		}
	}
	return n
}

func TestPoller(t *testing.T) {
	f, p := polled(t)
	start := time.Now()
	for _, step := range []struct {
		name      string
		since     func() time.Time
		questions int
	}{
		{"the first", time.Now, 1},
		{"the last answer is new enough", func() time.Time { return start }, 0},
		{"it is not", time.Now, 1},
	} {
		sessions, err := p.Sessions(t.Context(), step.since())
		if err != nil || len(sessions) != 1 || !sessions[0].Up || sessions[0].Peer != at("10.0.0.1") {
			t.Errorf("%s: %v, %v", step.name, sessions, err)
		}
		if got := questions(f.bgpd); got != step.questions {
			t.Errorf("%s: %d questions, want %d", step.name, got, step.questions)
		}
	}
}

// Callers that wait while bgpd is busy with an earlier question share the next one.
func TestPollerShares(t *testing.T) {
	f, p := polled(t)
	f.bgpd.Hang(true)
	var callers, ready sync.WaitGroup
	ready.Add(10)
	for range 10 {
		callers.Go(func() {
			since := time.Now()
			ready.Done()
			if sessions, err := p.Sessions(t.Context(), since); err != nil || len(sessions) != 1 {
				t.Errorf("%v, %v", sessions, err)
			}
		})
	}
	ready.Wait()
	f.bgpd.Hang(false)
	callers.Wait()
	if got := questions(f.bgpd); got > 2 {
		t.Errorf("%d questions of ten callers at once, want two", got)
	}
}

// A caller that gives up leaves the last answer in place. An error is an answer, too.
func TestPollerErrors(t *testing.T) {
	f, p := polled(t)
	start := time.Now()
	if _, err := p.Sessions(t.Context(), start); err != nil {
		t.Fatal(err)
	}
	f.bgpd.Hang(true)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := p.Sessions(ctx, time.Now()); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, vty.ErrUnavailable) {
		t.Errorf("a bgpd that hangs: %v", err)
	}
	if sessions, err := p.Sessions(t.Context(), start); err != nil || len(sessions) != 1 {
		t.Errorf("the last answer: %v, %v", sessions, err)
	}
	f.bgpd.Stop()
	if _, err := p.Sessions(t.Context(), time.Now()); !errors.Is(err, vty.ErrUnavailable) {
		t.Errorf("without bgpd: %v", err)
	}
	f.bgpd.Start(t, f.dir)
	if _, err := p.Sessions(t.Context(), start); !errors.Is(err, vty.ErrUnavailable) {
		t.Errorf("the last answer: %v", err)
	}
	if sessions, err := p.Sessions(t.Context(), time.Now()); err != nil || len(sessions) != 1 {
		t.Errorf("with bgpd: %v, %v", sessions, err)
	}
}

// The Reader of a Poller adds BFD. A bfdd that hangs does not delay the Poller.
func TestPollerReader(t *testing.T) {
	f, p := polled(t)
	r := p.Reader()
	defer r.Close()
	guarded, err := r.Sessions(t.Context())
	if err != nil || len(guarded) != 1 || guarded[0].BFD == nil || !guarded[0].BFD.Up {
		t.Fatalf("%+v, %v", guarded, err)
	}
	plain, err := p.Sessions(t.Context(), time.Time{})
	if err != nil || len(plain) != 1 || plain[0].BFD != nil {
		t.Errorf("the Poller has %+v, %v", plain, err)
	}
	if got := questions(f.bgpd); got != 1 {
		t.Errorf("bgpd was asked %d times, want once", got)
	}
	f.bfdd.Hang(true)
	done := make(chan error, 1)
	go func() {
		_, err := r.Sessions(t.Context())
		done <- err
	}()
	for !slices.Contains(f.bgpd.Sent(), showSessions) {
		time.Sleep(time.Millisecond)
	}
	if _, err := p.Sessions(t.Context(), time.Now()); err != nil {
		t.Error(err)
	}
	select {
	case <-done:
		t.Error("the Poller waited for bfdd")
	default:
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
