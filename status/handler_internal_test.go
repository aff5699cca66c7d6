// SPDX-License-Identifier: Apache-2.0

package status

import (
	"strings"
	"testing"
	"time"
)

// A Report is encoded once: again only when it has changed, whatever has.
func TestEncoder(t *testing.T) {
	e := &encoder{}
	report := func() Report {
		return Report{Synced: true, Decisions: []Decision{{Service: "a/b", Sent: []string{"r1"}}}, FRR: &FRR{Daemons: map[string]bool{"bgpd": true}}}
	}
	first := e.encode(report())
	same := report()
	same.Took = time.Second // no reader sees it
	if again := e.encode(same); &again[0] != &first[0] {
		t.Error("an equal Report is encoded again")
	}
	for _, change := range []func(*Report){
		func(r *Report) { r.Decisions[0].Sent[0] = "r2" },
		func(r *Report) { r.FRR.Daemons["bgpd"] = false },
		func(r *Report) { r.Passes++ },
	} {
		changed := report()
		change(&changed)
		before := e.encode(report())
		if after := e.encode(changed); string(after) == string(before) {
			t.Errorf("a change is not shown: %s", after)
		}
	}
	if !strings.HasPrefix(string(first), "{\n  \"schemaVersion\"") {
		t.Errorf("the page is %s", first)
	}
}
