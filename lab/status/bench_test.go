// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/lab/bench"
	"github.com/heraldlb/herald/lab/e2e"
)

// The benchmark measures everything that it promises, whatever the figures are.
func TestBench(t *testing.T) {
	const services, samples, burst, rounds = 20, 3, 5, 2
	e := e2e.New(t)
	e.Configure(bench.Config)
	r, err := bench.Run(t.Context(), e.Stack, bench.Options{
		Namespace: e.Namespace, Services: services, Samples: samples, Burst: burst, Rounds: rounds,
		Churn: 5, Changes: 20, Restarts: true, Quiet: 300 * time.Millisecond, Progress: t.Logf,
	})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range r.Series {
		names = append(names, s.Name)
		for what, d := range map[string]bench.Distribution{
			"request": s.Request, "address": s.Address, "route": s.Route, "routes": s.Routes, "gone": s.Gone,
		} {
			if d.Count != samples || d.Missing != 0 || d.P50 <= 0 || d.P50 > d.P90 || d.P90 > d.P99 || d.P99 > d.Max {
				t.Errorf("series %s: %s: %+v", s.Name, what, d)
			}
		}
	}
	if got, want := strings.Join(names, " "), "idle full churn"; got != want {
		t.Errorf("series %s, want %s", got, want)
	}
	if r.Churn == nil || r.Churn.Created == 0 || r.Churn.Changed == 0 {
		t.Errorf("churn: %+v", r.Churn)
	}
	if len(r.Rounds) != rounds {
		t.Errorf("%d rounds, want %d", len(r.Rounds), rounds)
	}
	for _, x := range append(r.Rounds, r.Held) {
		if x.Services == 0 || x.Address.Count != x.Services || x.Address.Missing != 0 || x.Settled == nil || x.Creation <= 0 || x.Deletion <= 0 {
			t.Errorf("%s: %+v", x.Name, x)
		}
		if n := x.Services; x.Writes["patch services/status"] < n {
			t.Errorf("%s: %d Services took %v", x.Name, n, x.Writes)
		}
		for _, d := range append(e.Controllers, e.Agents...) {
			for when, m := range map[string]bench.Memory{"full": x.Full[d.Name], "empty": x.Empty[d.Name]} {
				if m.Heap <= 0 || m.PSS <= 0 || m.RSS < m.PSS || m.RSS <= m.Own || m.Own <= 0 || m.Peak <= 0 {
					t.Errorf("%s, %s: memory of %s: %+v", x.Name, when, d.Name, m)
				}
			}
		}
	}
	if len(r.Restarts) != 2 { // there is no container of FRR
		t.Errorf("restarts: %+v", r.Restarts)
	}
	for _, x := range r.Restarts {
		if x.Settled <= 0 || x.Withdrawn != 0 || x.Memory == nil {
			t.Errorf("restart: %+v", x)
		}
	}
	if len(r.Phases) != 7+2*rounds {
		t.Errorf("phases: %+v", r.Phases)
	}
	for _, p := range r.Phases {
		for _, name := range []string{"agent-n1", "agent-n2", "agent-n3", "kube-apiserver", "etcd", "bgpd-n1", "zebra-n3", "bgpd-r1", "kube-proxy-n2"} {
			if _, ok := p.CPU[name]; !ok {
				t.Errorf("%s: no CPU time of %s", p.Name, name)
			}
		}
	}
}
