// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"testing"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/config"
)

// A record fails after so many failures in a row, and answers again after so many answers.
func TestThresholds(t *testing.T) {
	ok, bad, elsewhere := result{ok: true}, result{why: "refused"}, result{tries: 16, why: "silent"}
	tests := []struct {
		name    string
		share   float64
		results []result
		want    []state
	}{
		{"new and well", 1, []result{ok}, []state{passing}},
		{"new and ill", 1, []result{bad, bad, bad}, []state{unknown, unknown, failing}},
		{"new, and well in time", 1, []result{bad, bad, ok, bad, bad}, []state{unknown, unknown, passing, passing, passing}},
		{"failures that are not in a row", 1, []result{ok, bad, bad, ok, bad, bad}, []state{passing, passing, passing, passing, passing, passing}},
		{"failures in a row", 1, []result{ok, bad, bad, bad}, []state{passing, passing, passing, failing}},
		{"answers in a row", 1, []result{bad, bad, bad, ok, ok}, []state{unknown, unknown, failing, failing, passing}},
		{"answers that are not in a row", 1, []result{bad, bad, bad, ok, bad, ok, ok}, []state{unknown, unknown, failing, failing, failing, failing, passing}},
		// A third of the connections stays: 17 in vain are no chance.
		{"one of three endpoints", 1. / 3, []result{ok, elsewhere, elsewhere, elsewhere, elsewhere}, []state{passing, passing, passing, passing, failing}},
		{"one of three endpoints refuses", 1. / 3, []result{ok, bad, bad, bad}, []state{passing, passing, passing, failing}},
		// One of 20 stays: 135 in vain are no chance, so that the first 8 probes say nothing.
		{
			"one of many endpoints", 1. / 20,
			[]result{ok, elsewhere, elsewhere, elsewhere, elsewhere, elsewhere, elsewhere, elsewhere, elsewhere, elsewhere, elsewhere},
			[]state{passing, passing, passing, passing, passing, passing, passing, passing, passing, passing, passing},
		},
		{
			"a few connections elsewhere end no recovery", 1. / 20,
			[]result{bad, bad, bad, ok, elsewhere, elsewhere, ok}, []state{unknown, unknown, failing, failing, failing, failing, passing},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			now := time.Unix(1_700_000_000, 0)
			r := newRecord(announce.Target{
				ProbeID: announce.ProbeID{Probe: config.Probe{Interval: 5 * time.Second, Timeout: time.Second, Success: 2, Failure: 3}},
				Share:   tt.share,
			}, false, now)
			for i, a := range tt.results {
				r = r.next(a, now)
				if r.state != tt.want[i] {
					t.Fatalf("after result %d: state %d, want %d", i+1, r.state, tt.want[i])
				}
				if wait := r.due.Sub(now); wait <= 0 || wait > 5*time.Second || r.state == unknown && wait > early {
					t.Errorf("after result %d: the next probe is due in %v", i+1, wait)
				}
				now = r.due
			}
			if (r.state == failing) != (r.why != "") && tt.want[len(tt.want)-1] == failing {
				t.Errorf("why: %q", r.why)
			}
		})
	}
}
