// SPDX-License-Identifier: Apache-2.0

package session

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/status"
)

var (
	historyPeer  = status.PeerID{Address: netip.MustParseAddr("10.0.0.1")}
	historyStart = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
)

// upSince returns a session that came up at a number of seconds after the start.
func upSince(seconds int) *status.Session {
	return &status.Session{State: status.Established, Since: historyStart.Add(time.Duration(seconds) * time.Second)}
}

func downBy(reason string) *status.Session {
	return &status.Session{State: "Active", LastError: reason}
}

func guarded(s *status.Session, bfd, diagnostic string) *status.Session {
	s.BFD, s.BFDDiagnostic = bfd, diagnostic
	return s
}

func faulty(fault status.Reason, diagnosis string) *status.Session {
	return &status.Session{State: "Active", LastError: "Cease/Other Configuration Change", Fault: fault, Diagnosis: diagnosis}
}

// A historyStep is a look, and the events that it makes.
type historyStep struct {
	at       int             // seconds after the start
	session  *status.Session // nil: FRR does not have it
	silent   bool            // FRR does not answer
	unwanted bool            // the configuration has no such peer
	want     string          // empty: nothing
}

func TestHistory(t *testing.T) {
	tests := []struct {
		name  string
		steps []historyStep
	}{
		{"up before the agent started", []historyStep{
			{at: 1, session: upSince(-100)},
			{at: 3, session: upSince(-100)},
			{at: 5, session: upSince(-99)}, // rounded otherwise
		}},
		{"up while FRR was not there yet", []historyStep{
			{at: 1, silent: true},
			{at: 3, session: upSince(-50)},
			{at: 60, silent: true, want: "! BGPSessionDown is down after 1m50s: FRR does not answer"},
			{at: 62, silent: true},
			{at: 64},
			{at: 66, session: downBy("Waiting for peer OPEN")},
			{at: 70, session: upSince(69), want: "BGPSessionUp is up after 9s"},
		}},
		{"comes up after the agent", []historyStep{
			{at: 1, session: downBy("")},
			{at: 3, session: upSince(3), want: "BGPSessionUp is up after 2s"},
			{at: 5, session: upSince(3)},
		}},
		{"is up at the first look, and came up after the agent", []historyStep{
			{at: 4, session: upSince(3), want: "BGPSessionUp is up"},
		}},
		{"goes and returns", []historyStep{
			{at: 1, session: upSince(-3600)},
			{at: 60, session: downBy("Hold Timer Expired"), want: "! BGPSessionDown is down after 1h1m0s: Hold Timer Expired"},
			{at: 62, session: downBy("Hold Timer Expired")},
			{at: 79, session: downBy("Hold Timer Expired")},
			{at: 90, session: downBy("Hold Timer Expired"), want: "! BGPSessionNotUp is not up after 30s: Hold Timer Expired"},
			{at: 92, session: downBy("OPEN Message Error/Bad Peer AS"), want: "! BGPSessionNotUp is not up after 32s: OPEN Message Error/Bad Peer AS"},
			{at: 94, session: downBy("Hold Timer Expired")},
			{at: 96, session: upSince(96), want: "BGPSessionUp is up after 36s"},
		}},
		{"goes and returns between two looks", []historyStep{
			{at: 1, session: upSince(-60)},
			{at: 10, session: &status.Session{State: status.Established, Since: historyStart.Add(9 * time.Second), LastError: "Cease/Hard Reset", Dropped: 1},
				want: "! BGPSessionDown was down and is up again, after 1m9s: Cease/Hard Reset"},
		}},
		{"is up between two looks", []historyStep{
			{at: 1, session: &status.Session{State: "Active", Dropped: 4}},
			{at: 3, session: &status.Session{State: "Active", Dropped: 5, LastError: "Cease/Hard Reset"},
				want: "! BGPSessionDown was up for a moment, and is down: Cease/Hard Reset"},
			{at: 30, session: &status.Session{State: "Active", Dropped: 5, LastError: "Cease/Hard Reset"},
				want: "! BGPSessionNotUp is not up after 29s: Cease/Hard Reset"},
		}},
		{"never comes up", []historyStep{
			{at: 1, session: downBy("")},
			{at: 20, session: downBy("")},
			{at: 21, session: downBy(""), want: "! BGPSessionNotUp is not up after 20s: Active"},
			{at: 23, session: downBy("a"), want: "! BGPSessionNotUp is not up after 22s: a"},
			{at: 25, session: downBy("")},
			{at: 27, session: downBy("b"), want: "! BGPSessionNotUp is not up after 26s: b"},
			{at: 29, session: downBy("c")}, // enough
		}},
		{"has another password from some time on", []historyStep{
			{at: 1, session: upSince(-60)},
			{at: 3, session: downBy("Cease/Other Configuration Change"), want: "! BGPSessionDown is down after 1m3s: Cease/Other Configuration Change"},
			{at: 15, session: faulty(status.SessionPassword, "a wrong signature")},
			{at: 23, session: faulty(status.SessionPassword, "a wrong signature"), want: "! BGPSessionNotUp is not up after 20s: a wrong signature"},
			{at: 25, session: faulty(status.SessionPassword, "a wrong signature, and more")},
			{at: 27, session: faulty(status.SessionNoAnswer, "no answer"), want: "! BGPSessionNotUp is not up after 24s: no answer"},
			{at: 29, session: upSince(29), want: "BGPSessionUp is up after 26s"},
			{at: 31, session: downBy("Cease/Other Configuration Change"), want: "! BGPSessionDown is down after 2s: Cease/Other Configuration Change"},
			{at: 53, session: faulty(status.SessionPassword, "a wrong signature"), want: "! BGPSessionNotUp is not up after 22s: a wrong signature"},
		}},
		{"comes up without its BFD session", []historyStep{
			{at: 1, session: downBy("")},
			{at: 3, session: guarded(upSince(3), "down", "ok"), want: "BGPSessionUp is up after 2s"},
			{at: 5, session: guarded(upSince(3), "down", "ok")},
			{at: 24, session: guarded(upSince(3), "down", "ok")},
			{at: 25, session: guarded(upSince(3), "down", "ok"),
				want: "! BFDSessionDown is up, and its BFD session is down after 20s: enable BFD for this neighbor on the router, with single or multiple hops as here"},
			{at: 60, session: guarded(upSince(3), "down", "ok")},
			{at: 62, session: guarded(upSince(3), "up", "ok")},
			{at: 64, session: guarded(upSince(3), "down", "x"), want: "! BFDSessionDown is up, and its BFD session is down: x"},
			{at: 99, session: guarded(upSince(3), "down", "x")},
		}},
		{"comes up without its BFD session once more", []historyStep{
			{at: 1, session: guarded(upSince(0), "down", "ok"), want: "BGPSessionUp is up"},
			{at: 3, session: guarded(upSince(0), "down", "ok")},
			{at: 5, session: guarded(downBy("x"), "down", "ok"), want: "! BGPSessionDown is down after 5s: x"},
			{at: 15, session: guarded(upSince(15), "down", "ok"), want: "BGPSessionUp is up after 10s"},
			{at: 17, session: guarded(upSince(15), "down", "ok")},
			{at: 36, session: guarded(upSince(15), "down", "ok")}, // not yet 20 s of this session
			{at: 37, session: guarded(upSince(15), "down", "ok"),
				want: "! BFDSessionDown is up, and its BFD session is down after 20s: enable BFD for this neighbor on the router, with single or multiple hops as here"},
		}},
		{"comes up without its BFD session again", []historyStep{
			{at: 1, session: guarded(upSince(-60), "up", "ok")},
			{at: 3, session: guarded(upSince(-60), "down", "x"), want: "! BFDSessionDown is up, and its BFD session is down: x"},
			{at: 5, session: guarded(downBy("x"), "down", "x"), want: "! BGPSessionDown is down after 1m5s: x"},
			{at: 50, session: guarded(upSince(50), "down", "ok"), want: "BGPSessionUp is up after 45s"},
			{at: 52, session: guarded(upSince(50), "down", "ok")},
			{at: 72, session: guarded(upSince(50), "down", "ok"),
				want: "! BFDSessionDown is up, and its BFD session is down after 20s: enable BFD for this neighbor on the router, with single or multiple hops as here"},
		}},
		{"its BFD session goes first", []historyStep{
			{at: 1, session: guarded(upSince(-60), "up", "ok")},
			{at: 3, session: guarded(upSince(-60), "down", "control detection time expired"),
				want: "! BFDSessionDown is up, and its BFD session is down: control detection time expired"},
			{at: 5, session: guarded(upSince(-60), "down", "control detection time expired")},
			{at: 7, session: guarded(downBy("BFD down received"), "down", "control detection time expired"),
				want: "! BGPSessionDown is down after 1m7s: BFD down received"},
		}},
		{"is removed from the configuration", []historyStep{
			{at: 1, session: upSince(-60)},
			{at: 3, session: upSince(-60), unwanted: true},
			{at: 5, unwanted: true, want: "BGPSessionDown is down after 1m5s: it is not configured any more"},
			{at: 7, unwanted: true},
		}},
		{"FRR has restarted", []historyStep{
			{at: 1, session: upSince(-60)},
			{at: 3, want: "! BGPSessionDown is down after 1m3s: FRR has restarted"},
			{at: 5, session: upSince(4), want: "BGPSessionUp is up after 1s"},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHistory(historyStart)
			for _, s := range tt.steps {
				if diff := cmp.Diff(s.want, strings.Join(h.take(s), "; ")); diff != "" {
					t.Errorf("after %d s (-want +got):\n%s", s.at, diff)
				}
			}
		})
	}
}

// Two looks at a session are one of six transitions.
func TestTransition(t *testing.T) {
	dropped := func(s *status.Session) status.Session {
		s.Dropped = 7
		return *s
	}
	before := func(s *status.Session) status.Session {
		s.Dropped = 6
		return *s
	}
	tests := []struct {
		name     string
		was, now status.Session
		want     transition
	}{
		{"up", *upSince(1), *upSince(1), staysUp},
		{"up, rounded otherwise", *upSince(1), *upSince(4), staysUp},
		{"up, and younger", *upSince(1), *upSince(5), restarts},
		{"up, and dropped once", before(upSince(1)), dropped(upSince(1)), restarts},
		{"up, of a neighbor that was configured again", dropped(upSince(1)), *upSince(2), staysUp},
		{"down, then up", *downBy("x"), *upSince(1), comesUp},
		{"new and up", status.Session{}, *upSince(1), comesUp},
		{"up, then down", before(upSince(1)), dropped(downBy("x")), goesDown},
		{"up, then not there", *upSince(1), status.Session{}, goesDown},
		{"down", *downBy("x"), *downBy("y"), staysDown},
		{"down, and dropped once", before(downBy("x")), dropped(downBy("x")), flickers},
		{"new, and dropped long ago", status.Session{}, dropped(downBy("x")), staysDown},
		{"not there", status.Session{}, status.Session{}, staysDown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := transitionOf(tt.was, tt.now); got != tt.want {
				t.Errorf("transition %d, want %d", got, tt.want)
			}
		})
	}
}

// take takes a step, and returns the events without what all have.
func (h *history) take(s historyStep) []string {
	l := look{at: historyStart.Add(time.Duration(s.at) * time.Second), answered: !s.silent, sessions: map[status.PeerID]status.Session{}}
	if s.session != nil {
		l.sessions[historyPeer] = *s.session
	}
	wanted := map[status.PeerID]status.Peer{historyPeer: {Name: "r1"}}
	if s.unwanted {
		wanted = nil
	}
	var out []string
	events, _ := h.next(l, wanted)
	for _, e := range events {
		text := e.Reason + " " + strings.TrimPrefix(e.Message, "BGP session with r1 (10.0.0.1) ")
		if e.Warning {
			text = "! " + text
		}
		out = append(out, text)
	}
	return out
}

// How long a session was down is measured when it is up again, unless it was up before the
// agent looked.
func TestHistoryTook(t *testing.T) {
	tests := []struct {
		name  string
		steps []historyStep
		want  string
	}{
		{"found up", []historyStep{{at: 1, session: upSince(-60)}, {at: 3, session: upSince(-60)}}, ""},
		{"found down", []historyStep{{at: 1, session: downBy("x")}, {at: 3, session: downBy("x")}, {at: 9, session: upSince(8)}}, "7s"},
		{"goes down", []historyStep{{at: 1, session: upSince(-60)}, {at: 3, session: downBy("x")}, {at: 23, session: upSince(22)}}, "19s"},
		{"between two looks", []historyStep{{at: 1, session: upSince(-60)}, {at: 9, session: upSince(7)}}, "6s"},
		{"FRR was away", []historyStep{{at: 1, session: upSince(-60)}, {at: 3, silent: true}, {at: 9, session: upSince(8)}}, "5s"},
		{"FRR was away at first", []historyStep{{at: 1, silent: true}, {at: 3, session: upSince(-60)}}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHistory(historyStart)
			var took []string
			h.took = func(peer string, d time.Duration) {
				if peer != "r1 (10.0.0.1)" {
					t.Errorf("peer %q", peer)
				}
				took = append(took, d.String())
			}
			for _, s := range tt.steps {
				h.take(s)
			}
			if got := strings.Join(took, " "); got != tt.want {
				t.Errorf("measured %q, want %q", got, tt.want)
			}
		})
	}
}

// A session that goes up and down all the time makes few events, and the last one
// is true.
func TestHistoryFlaps(t *testing.T) {
	h := newHistory(historyStart)
	count, last := 0, ""
	note := func(events []string) {
		count += len(events)
		for _, e := range events {
			last = e
		}
	}
	note(h.take(historyStep{at: 0, session: downBy("x")}))
	for at := 2; at < 3600; at += 4 {
		note(h.take(historyStep{at: at, session: upSince(at)}))
		note(h.take(historyStep{at: at + 2, session: downBy("x")}))
	}
	if most := changesAtOnce + int(time.Hour/changeEvery); count > most || count < most-2 {
		t.Errorf("%d events in an hour, want %d", count, most)
	}
	for at := 3600; at < 3800; at += 2 {
		note(h.take(historyStep{at: at, session: upSince(3600)}))
	}
	if want := "BGPSessionUp is up"; !strings.HasPrefix(last, want) || !strings.Contains(last, "times since the last event") {
		t.Errorf("the last event is %q, want %q and how often it has changed", last, want)
	}
	// After a while of quiet all is as before.
	for i := range changesAtOnce {
		at := 3600 + 3600 + 4*i
		s := downBy("x")
		if i%2 == 1 {
			s = upSince(at)
		}
		if got := h.take(historyStep{at: at, session: s}); len(got) != 1 {
			t.Errorf("change %d after an hour of quiet: events %q", i, fmt.Sprint(got))
		}
	}
}
