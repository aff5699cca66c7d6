// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/status"
)

// A Journal has the newest changes first, and as many as it is large.
func TestJournal(t *testing.T) {
	var j status.Journal
	for i := range 300 {
		j.Add(status.Change{At: time.Unix(int64(i), 0), Kind: status.ChangeSession, Subject: fmt.Sprint(i), After: "Established"})
	}
	all := j.List()
	if len(all) != 256 || all[0].Subject != "299" || all[255].Subject != "44" {
		t.Errorf("%d changes, from %s to %s", len(all), all[0].Subject, all[len(all)-1].Subject)
	}
	all[0].Subject = "changed by a reader"
	if again := j.List(); again[0].Subject != "299" {
		t.Error("a reader changes the journal")
	}
	var none *status.Journal
	if none.Add(all...); none.List() != nil {
		t.Error("a nil journal has changes")
	}
}

// A session that flaps leaves the others their place: the same change again counts, and is
// the newest.
func TestJournalFlapping(t *testing.T) {
	var j status.Journal
	at := func(second int) time.Time { return time.Unix(int64(second), 0).UTC() }
	down := status.Change{Kind: status.ChangeSession, Subject: "tor-a", Before: "Established", After: "Active", Cause: "Hold Timer Expired"}
	up := status.Change{Kind: status.ChangeSession, Subject: "tor-a", Before: "Active", After: "Established"}
	j.Add(status.Change{At: at(0), Kind: status.ChangeMember, Subject: "n2", Before: "alive"})
	for i := range 500 {
		down.At, up.At = at(2*i+1), at(2*i+2)
		j.Add(down, up)
	}
	down.Times, down.First, up.Times, up.First = 500, at(1), 500, at(2)
	want := []status.Change{up, down, {At: at(0), Kind: status.ChangeMember, Subject: "n2", Before: "alive"}}
	if diff := cmp.Diff(want, j.List()); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	down.Times, down.First, down.At, down.Cause = 0, time.Time{}, at(2000), "Admin. Shutdown"
	j.Add(down)
	if all := j.List(); all[0] != down || len(all) != 4 {
		t.Errorf("another cause is not another change: %+v", all[0])
	}
}

// What others wrote is cut, and has no control characters.
func TestJournalTexts(t *testing.T) {
	var j status.Journal
	long := "\x1b[31m" + strings.Repeat("ä", 5000)
	j.Add(status.Change{Kind: status.ChangeCondition, Subject: long, Before: long, After: long, Cause: long})
	c := j.List()[0]
	for _, s := range []string{c.Subject, c.Before, c.After, c.Cause} {
		if len(s) > 1024 || !utf8.ValidString(s) || strings.Contains(s, "\x1b") {
			t.Errorf("%d bytes: %.20q", len(s), s)
		}
	}
}
