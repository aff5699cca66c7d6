// SPDX-License-Identifier: Apache-2.0

package session

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/status"
)

// summarize takes a step. It returns the states to publish, and whether they are news.
func (s *summary) summarize(step historyStep) (string, bool) {
	l := look{at: historyStart.Add(time.Duration(step.at) * time.Second), answered: !step.silent, sessions: map[status.PeerID]status.Session{}}
	if step.session != nil {
		l.sessions[historyPeer] = *step.session
	}
	wanted := map[status.PeerID]status.Peer{historyPeer: {Name: "r1"}}
	if step.unwanted {
		wanted = map[status.PeerID]status.Peer{}
	}
	all, news := s.next(l, wanted)
	var out []string
	for _, a := range all {
		out = append(out, fmt.Sprintf("%s %v since %v %s %s", a.Peer, a.Up, a.Since.Sub(historyStart), a.Reason, a.Message))
	}
	return strings.Join(out, "; "), news
}

func TestSummary(t *testing.T) {
	tests := []struct {
		name  string
		steps []historyStep // want: the states, if they are news
	}{
		{"comes up, goes, has one fault after the other, and comes back", []historyStep{
			{at: 1, session: downBy(""), want: "r1 false since 1s Connecting FRR has not opened it yet"},
			{at: 3, session: downBy("x")},
			{at: 5, session: upSince(4), want: "r1 true since 4s  "},
			{at: 7, session: upSince(5)}, // rounded otherwise
			{at: 9, session: downBy("Hold Timer Expired"), want: "r1 false since 9s Connecting Hold Timer Expired"},
			{at: 20, session: faulty(status.SessionNoAnswer, "no answer"), want: "r1 false since 9s NoAnswer no answer"},
			{at: 22, session: faulty(status.SessionNoAnswer, "no answer, in other words")},
			{at: 24, session: downBy("Hold Timer Expired")}, // bgpd connects again
			{at: 26, session: faulty(status.SessionRefused, "refused"), want: "r1 false since 9s ConnectionRefused refused"},
			{at: 28, session: upSince(27), want: "r1 true since 27s  "},
		}},
		{"FRR starts again", []historyStep{
			{at: 1, session: upSince(-50), want: "r1 true since -50s  "},
			{at: 3, silent: true},
			{at: 5, silent: true},
			{at: 9, session: upSince(8), want: "r1 true since 8s  "},
		}},
		{"FRR does not come back", []historyStep{
			{at: 1, session: upSince(-50), want: "r1 true since -50s  "},
			{at: 20, silent: true},
			{at: 21, silent: true, want: "r1 false since 21s NoFRR FRR does not answer"},
			{at: 60, silent: true},
		}},
		{"is removed from the configuration", []historyStep{
			{at: 1, session: upSince(-50), want: "r1 true since -50s  "},
			{at: 3, session: upSince(-50), unwanted: true, want: "nothing"},
			{at: 5, unwanted: true},
		}},
		{"there is nothing to say from the start", []historyStep{
			{at: 1, unwanted: true, want: "nothing"},
			{at: 3, unwanted: true},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := new(summary)
			for _, step := range tt.steps {
				text, news := s.summarize(step)
				if text == "" {
					text = "nothing"
				}
				if !news {
					text = ""
				}
				if diff := cmp.Diff(step.want, text); diff != "" {
					t.Errorf("after %d s (-want +got):\n%s", step.at, diff)
				}
			}
		})
	}
}

// A session that goes up and down all the time is written as seldom as its
// events are sent, and what is true is written in the end.
func TestSummaryFlaps(t *testing.T) {
	s := new(summary)
	writes, last := 0, ""
	note := func(step historyStep) {
		if text, news := s.summarize(step); news {
			writes++
			last = text
		}
	}
	for at := 2; at < 3600; at += 4 {
		note(historyStep{at: at, session: upSince(at)})
		note(historyStep{at: at + 2, session: faulty(status.SessionRefused, "refused")})
	}
	if most := changesAtOnce + int(time.Hour/changeEvery) + 1; writes > most || writes < most-3 {
		t.Errorf("%d writes in an hour, want %d", writes, most)
	}
	for at := 3602; at < 3900; at += 2 {
		note(historyStep{at: at, session: upSince(3601)})
	}
	if want := "r1 true since 1h0m1s  "; last != want {
		t.Errorf("what is said last is %q, want %q", last, want)
	}
}
