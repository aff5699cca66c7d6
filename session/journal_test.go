// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/status"
)

// Since when a session is down, and when it went down last: also while FRR restarts, and
// though FRR counts in whole seconds. All that becomes of it is in the journal, without limit
// by the events' budget.
func TestMonitorJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer := status.Peer{Name: "tor-a", Address: netip.MustParseAddr("10.0.0.1"), Wanted: true}
		session := func(state, why string, age time.Duration) []frr.Session {
			s := frr.Session{
				Peer: peer.ID(), State: state, Up: state == "Established", LastError: why,
				Details: &status.SessionDetails{LocalASN: 64512, HoldTime: 90},
			}
			if why != "" {
				s.LastReset, s.Dropped = &frr.Reset{Age: age, Error: why}, 1
			}
			return []frr.Session{s}
		}
		const hold = "Hold Timer Expired"
		source := &fakeSource{}
		journal := &status.Journal{}
		events := 0
		m := New(Options{
			Source: source, Changed: func() {}, Event: func(cluster.Event) { events++ }, Publish: func([]cluster.SessionState) {}, Journal: journal,
			Reopen: func(context.Context, status.PeerID) (bool, error) { return false, nil },
			Logger: slog.New(slog.DiscardHandler), see: func(bool) sight { return sight{} }, ping: func(status.Peer) bool { return false },
		})
		m.Want([]status.Peer{peer})
		start := time.Now()
		at := func(second int) time.Time { return start.Add(time.Duration(second) * time.Second) }
		for _, step := range []struct {
			name    string
			second  int
			seen    []frr.Session
			down    int // since when it is down; -1: it is not
			reset   int // when it went down last; -1: never
			details bool
		}{
			{"FRR has it, and it never was up", 0, session("Active", "", 0), 0, -1, true},
			{"likewise, later", 10, session("Connect", "", 0), 0, -1, true},
			{"up", 20, session("Established", "", 0), -1, -1, true},
			{"down", 100, session("Active", hold, 2*time.Second), 100, 98, true},
			{"FRR counts in seconds", 102, session("Active", hold, 3*time.Second), 100, 98, true},
			{"up again", 110, session("Established", hold, 12*time.Second), -1, 98, true},
			{"FRR restarts", 200, nil, -1, -1, false},
			{"FRR is back", 204, session("Active", "", 0), 200, -1, true},
			{"up once more", 210, session("Established", "", 0), -1, -1, true},
		} {
			time.Sleep(time.Until(at(step.second)))
			source.answers = [][]frr.Session{step.seen}
			m.look(t.Context())
			got := m.In([]status.Peer{peer})[0].Session
			if (step.down < 0) != got.DownSince.IsZero() || step.down >= 0 && !got.DownSince.Equal(at(step.down)) {
				t.Errorf("%s: down since %v, want second %d", step.name, got.DownSince.Sub(start), step.down)
			}
			if (got.Details != nil) != step.details {
				t.Fatalf("%s: details %+v", step.name, got.Details)
			}
			if step.details && (got.Details.HoldTime != 90 || (got.Details.LastReset != nil) != (step.reset >= 0)) {
				t.Errorf("%s: %+v", step.name, *got.Details)
			}
			if step.reset >= 0 && !got.Details.LastReset.At.Equal(at(step.reset)) {
				t.Errorf("%s: it went down last %v, want second %d", step.name, got.Details.LastReset.At.Sub(start), step.reset)
			}
		}
		var got []string
		for _, c := range journal.List() {
			got = append(got, fmt.Sprintf("%v %s %s: %s -> %s after %v: %s", c.At.Sub(start), c.Kind, c.Subject, c.Before, c.After, c.Lasted, c.Cause))
		}
		want := []string{
			"3m30s session tor-a (10.0.0.1): Active -> Established after 10: ", // for the second time
			"3m20s session tor-a (10.0.0.1): Established ->  after 90: FRR has restarted",
			"1m40s session tor-a (10.0.0.1): Established -> Active after 80: Hold Timer Expired",
			"20s session tor-a (10.0.0.1): Connect -> Established after 20: ",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("changes (-want +got):\n%s", diff)
		}
		if twice := journal.List()[0]; events != 5 || twice.Times != 2 || !twice.First.Equal(at(110)) {
			t.Errorf("%d events; the newest change is %+v", events, twice)
		}

		// The budget of events ends, and the journal goes on.
		for i := range 200 {
			time.Sleep(2 * time.Second)
			source.answers = [][]frr.Session{session([]string{"Active", "Established"}[i%2], hold, 0)}
			m.look(t.Context())
		}
		newest := journal.List()[0]
		if newest.Times < 99 || newest.After != "Established" || events > 100 {
			t.Errorf("%d events; the newest change is %+v", events, newest)
		}
	})
}
