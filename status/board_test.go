// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"encoding/json"
	"errors"
	"flag"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/heraldlb/herald/status"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func controllerReport() status.Report {
	return status.Report{
		Synced:  true,
		Leading: true,
		Config: status.Config{
			Loaded: true, Source: "configmap metallb-system/config", Version: "7", Newest: "8",
			Accepted: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Error: "line 3: nonsense",
		},
		Pools: []status.Pool{
			{Name: "huge", TotalV4: new(big.Int), TotalV6: new(big.Int).Lsh(big.NewInt(1), 64), InUseV6: 1, Services: 1},
			{Name: "web", TotalV4: big.NewInt(11), TotalV6: big.NewInt(4), InUseV4: 11, InUseV6: 2, Services: 12,
				ReservedV6: 1, RetainedV6: 1, Quota: []status.Share{{Namespace: "team-a", InUseV4: 3, InUseV6: 1, Limit: 5}}},
		},
		Unassigned:  map[status.Reason]int{"PoolExhausted": 3, "InvalidRequest": 1},
		Unannounced: map[status.Reason]int{"NoEndpoints": 2, "NotAnnounced": 1},
		Clashes:     []status.Clash{{Addr: netip.MustParseAddr("192.0.2.1"), Service: "ns/a", Other: "ns/b"}},
		Contests:    []status.Contest{{Kind: "IPAddressPool", Name: "web", Writer: "controller", Undone: 5, Next: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}},
		Took:        2 * time.Millisecond,
	}
}

func agentReport() status.Report {
	addr, at := netip.MustParseAddr, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return status.Report{
		Synced: true,
		Config: status.Config{Loaded: true, Source: "/etc/herald/config", Version: "abc", Newest: "abc"},
		Decisions: []status.Decision{
			{Service: "ns/a", Addr: addr("192.0.2.1"), Pool: "web", Protocol: status.BGP, Announce: true, Reason: status.Announced},
			{Service: "ns/a", Addr: addr("2001:db8::1"), Pool: "web", Protocol: status.BGP, Announce: true, Reason: status.Announced},
			{Service: "ns/b", Addr: addr("192.0.2.2"), Pool: "web", Protocol: status.BGP, Reason: status.NoLocalEndpoints, Since: at},
		},
		Peers: []status.Peer{
			{
				Name: "peer1", Address: addr("10.0.0.1"), ASN: 64513, BFDProfile: "fast", Wanted: true, Reason: status.Configured,
				Session: status.Session{State: status.Established, PrefixesSent: 2, BFD: "up", Details: &status.SessionDetails{
					LocalASN: 64512, RemoteASN: 64513, LocalAddress: addr("10.0.0.9"), LocalRouterID: addr("10.0.0.9"), RemoteRouterID: addr("10.0.0.1"),
					MD5: true, HoldTime: 90, Keepalive: 30, GracefulRestart: true,
					Capabilities: map[string]status.Capability{"gracefulRestart": status.CapabilityAgreed, "extendedNexthop": status.CapabilitySent},
					Families:     []status.SessionFamily{{Name: "ipv4Unicast", Agreed: true, Sent: 2, Received: 1}},
					LastReset:    &status.SessionReset{At: at, Error: "Hold Timer Expired"},
				}},
			},
			{Name: "peer2", Address: addr("2001:db8::2"), Port: 1179, ASN: 64513, Wanted: true, Reason: status.Configured},
			{
				Name: "peer4", Interface: "eth1", BFDProfile: "fast", Wanted: true, Reason: status.Configured,
				Session: status.Session{State: status.Established, PrefixesSent: 1, BFD: "up", BFDPeer: "fe80::1%eth1"},
			},
			{
				Name: "peer5", Interface: "eth1", VRF: "red", Port: 1179, BFDProfile: "fast", Wanted: true, Reason: status.Configured,
				Session: status.Session{State: "Active", DownSince: at, Fault: status.SessionNoAnswer, Diagnosis: "the router does not answer"},
			},
			{Name: "peer3", Address: addr("10.0.0.3"), ASN: 64513, Reason: status.NodeNotSelected},
		},
		Took: 2 * time.Millisecond,
	}
}

func newBoard(node string, frr *status.FRR) (*status.Board, *prometheus.Registry) {
	metrics := prometheus.NewPedanticRegistry()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	identity := status.Identity{Component: "herald-controller", Version: "v1.2.3", Pod: "controller-1", Started: at}
	journal := &status.Journal{}
	journal.Add(status.Change{At: at, Kind: status.ChangeAddress, Subject: "ns/a", Before: "", After: "192.0.2.1", Cause: "192.0.2.1 from pool web"})
	if node != "" {
		identity = status.Identity{Component: "herald-agent", Version: "v1.2.3", Node: node, Pod: "speaker-1", Started: at}
		journal = &status.Journal{}
		for range 2 {
			journal.Add(status.Change{At: at, Kind: status.ChangeSession, Subject: "peer1 (10.0.0.1)", Before: "Established", After: "Active", Cause: "Hold Timer Expired", Lasted: 90})
		}
	}
	return status.NewBoard(status.BoardOptions{
		Identity: identity, Registerer: metrics, Journal: journal,
		FRR: func() *status.FRR { return frr },
		Watches: func() []status.Watch {
			return []status.Watch{{Kind: "services", State: "Listed", Heard: at, Listed: at}}
		},
		LogLevel: func() string { return "info" },
	}), metrics
}

func get(t *testing.T, b *status.Board, g prometheus.Gatherer, path string) (code int, body string) {
	t.Helper()
	server := httptest.NewServer(status.NewHandler(b, g))
	defer server.Close()
	resp, err := http.Get(server.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(page)
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// still returns a page with a fixed time of its making, which must be a moment ago.
func still(t *testing.T, page string) string {
	t.Helper()
	var r status.Report
	if err := json.Unmarshal([]byte(page), &r); err != nil {
		t.Fatalf("%v in %s", err, page)
	}
	if age := time.Since(r.Now); age < 0 || age > time.Minute {
		t.Errorf("the page was made %v ago", age)
	}
	stamp := strings.SplitN(page, "\n", 3)[1]
	if !strings.HasPrefix(stamp, `  "now": `) {
		t.Errorf("the page begins with %s", stamp)
	}
	return strings.Replace(page, stamp, `  "now": "2026-01-02T03:04:05Z",`, 1)
}

func TestPages(t *testing.T) {
	applied := &status.FRR{Generation: 4, Applied: true, Version: "10.3",
		Processes: map[string]status.Process{"bgpd": {Started: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Restarts: 1}},
		Daemons:   map[string]bool{"bgpd": true, "bfdd": false},
		Extras:    &status.Extras{Error: "line 1: % Unknown command", At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}}
	tests := []struct {
		name   string
		node   string
		frr    *status.FRR
		report status.Report
	}{
		{"controller", "", nil, controllerReport()},
		{"agent", "n1", applied, agentReport()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, metrics := newBoard(tt.node, tt.frr)
			b.Set(tt.report)
			b.Written(nil)
			b.Written(errors.New("refused"))
			_, page := get(t, b, metrics, "/metrics")
			golden(t, tt.name+".metrics", page)
			_, page = get(t, b, metrics, "/status")
			golden(t, tt.name+".json", still(t, page))
			var r status.Report
			if err := json.Unmarshal([]byte(page), &r); err != nil {
				t.Errorf("read the report back: %v", err)
			}

			problems, err := testutil.GatherAndLint(metrics)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range problems {
				// MetalLB's names are what they are.
				if !strings.HasPrefix(p.Metric, "metallb_") {
					t.Errorf("%s: %s", p.Metric, p.Text)
				}
			}
		})
	}
}

// Herald-frr has the metrics of sessions: from the agent too, each would count
// twice.
func TestMetricsOfSessions(t *testing.T) {
	for _, served := range []bool{false, true} {
		b, metrics := newBoard("n1", &status.FRR{Applied: true, Metrics: served})
		b.Set(agentReport())
		_, page := get(t, b, metrics, "/metrics")
		for _, name := range []string{"metallb_bgp_session_up", "metallb_bgp_announced_prefixes_total", "metallb_bfd_session_up"} {
			if strings.Contains(page, "\n"+name+"{") == served {
				t.Errorf("herald-frr has %s: %v; the agent has it: %v", name, served, !served)
			}
		}
		if !strings.Contains(page, "\nmetallb_speaker_announced{") {
			t.Errorf("herald-frr has metrics: %v; nothing is announced in\n%s", served, page)
		}
	}
}

// What is made for /status alone is not in the metrics: pools of a controller that follows
// would count twice in sums.
func TestSurvey(t *testing.T) {
	b, metrics := newBoard("", nil)
	surveys := 0
	b.Set(status.Report{Synced: true, Survey: func(r *status.Report) {
		surveys++
		r.Pools = []status.Pool{{Name: "web", TotalV4: big.NewInt(11), TotalV6: new(big.Int), InUseV4: 3}}
	}})
	if _, page := get(t, b, metrics, "/metrics"); strings.Contains(page, "metallb_allocator") || surveys > 0 {
		t.Errorf("metrics of a follower, after %d surveys, have pools:\n%s", surveys, page)
	}
	for range 2 {
		if _, page := get(t, b, metrics, "/status"); !strings.Contains(page, `"inUseIPv4": 3`) {
			t.Errorf("the status of a follower has no pools:\n%s", page)
		}
	}
}

func TestReady(t *testing.T) {
	tests := []struct {
		name   string
		node   string
		synced bool
		frr    *status.FRR
		code   int
		body   string
	}{
		{"controller that reads", "", false, nil, 503, "not synced"},
		{"controller", "", true, nil, 200, "ok"},
		{"agent that reads", "n1", false, &status.FRR{Applied: true}, 503, "not synced"},
		{"agent without FRR", "n1", true, &status.FRR{Error: "bgpd: no such file"}, 503, "bgpd: no such file"},
		{"agent", "n1", true, &status.FRR{Applied: true}, 200, "ok"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, metrics := newBoard(tt.node, tt.frr)
			if tt.synced {
				b.Set(status.Report{Synced: true})
			}
			code, body := get(t, b, metrics, "/readyz")
			if code != tt.code || !strings.Contains(body, tt.body) {
				t.Errorf("/readyz is %d %q, want %d %q", code, body, tt.code, tt.body)
			}
			if code, _ := get(t, b, metrics, "/healthz"); code != http.StatusOK {
				t.Errorf("/healthz is %d", code)
			}
		})
	}
}

func TestFailuresAreCountedOnce(t *testing.T) {
	b, metrics := newBoard("n1", nil)
	for _, r := range []status.Report{
		{Config: status.Config{Error: "bad"}},
		{Config: status.Config{Error: "bad"}},
		{Config: status.Config{Error: "worse"}},
		{},
		{Config: status.Config{Error: "bad"}},
		{Error: "frr.conf: bad"},
		{Error: "frr.conf: bad"},
	} {
		b.Set(r)
	}
	const want = `
# HELP metallb_k8s_client_update_errors_total Number of configurations refused, passes that came to nothing, and writes that the API server refused.
# TYPE metallb_k8s_client_update_errors_total counter
metallb_k8s_client_update_errors_total 4
# HELP metallb_k8s_client_updates_total Number of times that the state of the cluster was looked at.
# TYPE metallb_k8s_client_updates_total counter
metallb_k8s_client_updates_total 7
`
	err := testutil.GatherAndCompare(metrics, strings.NewReader(want),
		"metallb_k8s_client_update_errors_total", "metallb_k8s_client_updates_total")
	if err != nil {
		t.Error(err)
	}
}

func TestMetricsOfGossip(t *testing.T) {
	metrics := prometheus.NewPedanticRegistry()
	status.NewBoard(status.BoardOptions{
		Identity: status.Identity{Component: "herald-agent", Node: "n1"}, Registerer: metrics,
		Live: func(r *status.Report) {
			r.Layer2 = &status.Network{Gossip: &status.Gossip{LostByHeartbeats: 3, LostByProbes: 2, Returned: 1, UntoldProbes: 7}}
		},
	})
	const want = `
# HELP herald_members_lost_total Number of agents declared dead that had not said goodbye: because watchers got no heartbeats, or because probes had no answer.
# TYPE herald_members_lost_total counter
herald_members_lost_total{by="heartbeats"} 3
herald_members_lost_total{by="probes"} 2
# HELP herald_members_returned_total Number of agents declared dead that were heard again without a restart: they were cut off, did not run, or were too slow.
# TYPE herald_members_returned_total counter
herald_members_returned_total 1
# HELP herald_probes_untold Number of probes that are not answered on this node and that other agents are not told of, as there are too many.
# TYPE herald_probes_untold gauge
herald_probes_untold 7
`
	if err := testutil.GatherAndCompare(metrics, strings.NewReader(want), "herald_members_lost_total", "herald_members_returned_total", "herald_probes_untold"); err != nil {
		t.Error(err)
	}
}
