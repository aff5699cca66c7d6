// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heraldlb/herald/lab"
)

func TestDistribution(t *testing.T) {
	var all []time.Duration
	for i := range 100 {
		all = append(all, time.Duration(100-i)*time.Millisecond)
	}
	all = append(all, missing, missing)
	want := Distribution{Count: 100, Missing: 2, P50: millis(50), P90: millis(90), P99: millis(99), Max: millis(100)}
	if got := distribution(all); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, want := distribution([]time.Duration{0, missing}), (Distribution{Count: 1, Missing: 1}); got != want {
		t.Errorf("at once: got %+v, want %+v", got, want)
	}
	if got, want := distribution(nil), (Distribution{}); got != want {
		t.Errorf("nothing: got %+v, want %+v", got, want)
	}
}

func millis(n int) Millis { return Millis(time.Duration(n) * time.Millisecond) }

func TestMissed(t *testing.T) {
	n1, n2 := netip.MustParseAddr("10.10.0.1"), netip.MustParseAddr("10.10.0.2")
	start := time.Unix(1000, 0)
	at := func(seconds int, hops ...netip.Addr) lab.RouteChange {
		return lab.RouteChange{Time: start.Add(time.Duration(seconds) * time.Second), Present: len(hops) > 0, NextHops: hops}
	}
	for _, tt := range []struct {
		name          string
		history       []lab.RouteChange
		gone, without bool
		longest       time.Duration
	}{
		{"nothing", []lab.RouteChange{at(-9, n1, n2)}, false, false, 0},
		{"before", []lab.RouteChange{at(-9, n1, n2), at(-8), at(-7, n1, n2)}, false, false, 0},
		{"another node", []lab.RouteChange{at(-9, n1, n2), at(1, n1), at(2, n1, n2)}, false, false, 0},
		{"the node", []lab.RouteChange{at(-9, n1, n2), at(1, n2), at(4, n1, n2)}, false, true, 3 * time.Second},
		{"all", []lab.RouteChange{at(-9, n1, n2), at(1, n2), at(2), at(4, n2), at(6, n1, n2)}, true, true, 5 * time.Second},
	} {
		gone, without, longest := missed(tt.history, start, n1)
		if gone != tt.gone || without != tt.without || longest != tt.longest {
			t.Errorf("%s: %t, %t, %s; want %t, %t, %s", tt.name, gone, without, longest, tt.gone, tt.without, tt.longest)
		}
	}
}

// A rate is kept in the mean, also when a call takes longer than it may.
func TestPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Second-time.Millisecond)
		defer stop()
		calls := 0
		err := paced(ctx, 20, func(context.Context) error {
			if calls++; calls == 5 {
				time.Sleep(time.Second)
			}
			return nil
		})
		if err != nil || calls != 200 {
			t.Errorf("%d calls, %v; want 200", calls, err)
		}
		bad := errors.New("bad")
		if err := paced(t.Context(), 20, func(context.Context) error { return bad }); !errors.Is(err, bad) {
			t.Errorf("a call fails: %v", err)
		}
	})
}

func TestReportText(t *testing.T) {
	r := &Report{
		Services: 7, Nodes: 3, Series: []Series{{Name: "idle", Route: Distribution{Count: 50, Missing: 1, P50: millis(135)}}},
		Rounds:   []Load{{Name: "round 1", Full: map[string]Memory{"agent-n1": {RSS: 42_500_000}}}},
		Restarts: []Restart{{What: "agent killed", Memory: &Memory{Peak: 50_000_000}}, {What: "FRR's container restarted"}},
		Phases:   []Phase{{Name: "idle", CPU: map[string]Seconds{"etcd": Seconds(time.Second), "bgpd-n1": Seconds(2 * time.Second), "zebra-n1": 0}}},
	}
	var out strings.Builder
	if err := r.WriteText(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"7 Services, 3 nodes", "135", "42.5", "agent killed", "50.0", "bgpd-n1 2.0, etcd 1.0\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, &out)
		}
	}
	b, err := json.Marshal(r)
	if err != nil || !strings.Contains(string(b), `"p50":135,`) || !strings.Contains(string(b), `"rss_mb":42.5,`) {
		t.Errorf("%v: %s", err, b)
	}
}
