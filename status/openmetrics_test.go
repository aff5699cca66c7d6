// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/heraldlb/herald/status"
)

// asked returns a page of metrics for who sends this Accept, its type and the names in it.
func asked(t *testing.T, g prometheus.Gatherer, accept string) (kind, page string, names map[string]bool) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	status.NewMetricsHandler(g).ServeHTTP(w, r)
	b, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	names = map[string]bool{}
	for line := range strings.Lines(string(b)) {
		if name, _, ok := strings.Cut(line, " "); ok && !strings.HasPrefix(line, "#") {
			name, _, _ = strings.Cut(name, "{")
			names[name] = true
		}
	}
	return w.Header().Get("Content-Type"), string(b), names
}

// A Prometheus that asks for OpenMetrics finds every metric under the name that the text has:
// MetalLB's counters do not end with _total.
func TestOpenMetrics(t *testing.T) {
	b, metrics := newBoard("n1", &status.FRR{Applied: true})
	r := agentReport()
	r.Layer2 = &status.Network{Addresses: []status.Address{{Addr: r.Decisions[0].Addr, Requests: 7, Replies: 6, Gratuitous: 5}}, Requests: map[string]uint64{"Answered": 6}}
	b.Set(r)
	kind, _, text := asked(t, metrics, "text/plain;version=0.0.4")
	if !strings.HasPrefix(kind, "text/plain") {
		t.Errorf("text is %s", kind)
	}
	kind, page, open := asked(t, metrics, "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1")
	if !strings.HasPrefix(kind, "application/openmetrics-text") || !strings.HasSuffix(page, "\n# EOF\n") {
		t.Errorf("OpenMetrics is %s, and ends with %q", kind, page[max(0, len(page)-20):])
	}
	if diff := cmp.Diff(text, open); diff != "" {
		t.Errorf("names (-text +OpenMetrics):\n%s", diff)
	}
	for _, line := range []string{
		`metallb_layer2_requests_received{ip="192.0.2.1"} 7.0`,
		"# TYPE metallb_layer2_requests_received unknown",
		`herald_layer2_packets_total{verdict="Answered"} 6.0`,
		"# TYPE herald_layer2_packets counter",
	} {
		if !strings.Contains(page, "\n"+line+"\n") {
			t.Errorf("no line %s in\n%s", line, page)
		}
	}
}
