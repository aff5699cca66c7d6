// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/kube"
	"github.com/heraldlb/herald/status"
)

func TestSessions(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	r := status.Report{Identity: status.Identity{Node: "n1"}, Peers: []status.Peer{
		{Name: "r1", Address: netip.MustParseAddr("10.0.0.1"), ASN: 64513, Wanted: true, Reason: status.Configured,
			Session: status.Session{State: status.Established, Since: now.Add(-90 * time.Second), PrefixesSent: 12, LastError: "Hold Timer Expired", BFD: "up"}},
		{Name: "r2", Interface: "eth1", VRF: "red", DynamicASN: "external", Wanted: true, Reason: status.Configured,
			Session: status.Session{State: "Active", LastError: "OPEN Message Error/Bad Peer AS"}},
		{Name: "r2b", Address: netip.MustParseAddr("10.0.0.2"), ASN: 64513, Wanted: true, Reason: status.Configured,
			Session: status.Session{State: "Connect", LastError: "Cease/Other Configuration Change", Fault: status.SessionPassword, Diagnosis: "check the password"}},
		{Name: "r3", Address: netip.MustParseAddr("10.0.0.3"), ASN: 64513, Wanted: true, Reason: status.Configured},
		{Name: "r4", Address: netip.MustParseAddr("10.0.0.1"), ASN: 64513, Reason: status.AddressConflict, Detail: "r1 has the same address"},
		{Name: "r5", Address: netip.MustParseAddr("10.0.0.5"), ASN: 64513, Reason: status.NodeNotSelected},
	}}
	f := &fakeNode{node: cluster.Node{Name: "n1"}, reports: []status.Report{r}}
	all, err := sessionsOf(t.Context(), f, "ours", nil)
	if err == nil || err.Error() != "agent of n0: refused" {
		t.Errorf("an agent that does not answer: %v", err)
	}
	var out bytes.Buffer
	if err := (sessionsJob{output: output{format: viewTable}}).print(&out, all, now); err != nil {
		t.Fatal(err)
	}
	const want = `NODE  PEER  ADDRESS       AS        STATE            UPTIME  SENT  BFD  LAST ERROR
n1    r1    10.0.0.1      64513     Established      1m30s   12    up   -
n1    r2    eth1 vrf red  external  Active           -       0     -    OPEN Message Error/Bad Peer AS
n1    r2b   10.0.0.2      64513     Connect          -       0     -    check the password
n1    r3    10.0.0.3      64513     Unknown          -       0     -    -
n1    r4    10.0.0.1      64513     AddressConflict  -       0     -    r1 has the same address
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
	if one, err := sessionsOf(t.Context(), f, "ours", []string{"n1"}); err != nil || len(one) != 5 {
		t.Errorf("of n1 alone: %v, %d peers", err, len(one))
	}
	if _, err := sessionsOf(t.Context(), f, "ours", []string{"n9"}); err == nil || !strings.HasPrefix(err.Error(), "agent of n9: no pod") {
		t.Errorf("of a node without an agent: %v", err)
	}
}

// Without sessions the command fails with the reason.
func TestNoSessions(t *testing.T) {
	report := func(change func(*status.Report)) status.Report {
		r := status.Report{Identity: status.Identity{Node: "n1"}, Synced: true, Config: status.Config{Loaded: true}}
		change(&r)
		return r
	}
	tests := []struct {
		name      string
		namespace string
		absent    []string
		report    status.Report
		want      string
	}{
		{"no agent pod at all", "theirs", nil, status.Report{}, "there is no agent pod in namespace theirs: is Herald installed in another one (--namespace)?"},
		{"none that runs", "theirs", []string{"n1: ErrImagePull of container agent: not found", "n2: Pending"}, status.Report{},
			"no agent pod runs in namespace theirs: n1: ErrImagePull of container agent: not found; n2: Pending"},
		{"many", "theirs", []string{"1", "2", "3", "4", "5", "6", "7"}, status.Report{}, "no agent pod runs in namespace theirs: 1; 2; 3; 4; 5 and 2 more"},
		{"it does not answer", "ours", nil, status.Report{}, "agent of n1: refused"},
		{"not read yet", "ours", nil, report(func(r *status.Report) { r.Synced = false }), "agent of n1: it has not read the cluster yet"},
		{"no configuration", "ours", nil, report(func(r *status.Report) { r.Config = status.Config{Error: "line 3: what?"} }), "agent of n1: no configuration is in force: line 3: what?"},
		{"no configuration, and no mistake", "ours", nil, report(func(r *status.Report) { r.Config = status.Config{} }), "agent of n1: no configuration is in force: there is none"},
		{"no peers", "ours", nil, report(func(*status.Report) {}), "no BGP peers are configured: there is no BGPPeer in force, and no peers in the ConfigMap"},
		{"no peer for the node", "ours", nil, report(func(r *status.Report) {
			r.Peers = []status.Peer{{Name: "tor", Reason: status.NodeNotSelected}, {Name: "spine", Reason: status.NodeNotSelected}}
		}), "no peer selects a node (NodeNotSelected): the nodeSelectors of tor, spine match none of n1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := &fakeNode{node: cluster.Node{Name: "n1"}, reports: []status.Report{tt.report}, absent: tt.absent}
			all, err := sessionsOf(t.Context(), only{f}, tt.namespace, nil)
			if len(all) > 0 || err == nil || err.Error() != tt.want {
				t.Errorf("%v, %d peers, want %s", err, len(all), tt.want)
			}
		})
	}
}

// Only has of the agents of a fakeNode the last one.
type only struct{ *fakeNode }

func (o only) Agents(ctx context.Context, namespace string) ([]kube.Agent, error) {
	agents, err := o.fakeNode.Agents(ctx, namespace)
	return agents[max(len(agents)-1, 0):], err
}

// Without a kubeconfig all that needs the cluster says how to name one, in words of
// its own.
func TestNoKubeconfig(t *testing.T) {
	t.Setenv("KUBECONFIG", "nowhere/config")
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	for _, args := range [][]string{{"sessions"}, {"drain", "n1"}, {"undrain", "n1"}} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), ownName, args, strings.NewReader(""), &stdout, &stderr)
		if want := "heraldctl: no kubeconfig at nowhere/config: name one with --kubeconfig or KUBECONFIG\n"; code != exitMisuse || stderr.String() != want || stdout.Len() > 0 {
			t.Errorf("%v: exit code %d, %q, %q, want %q", args, code, stdout.String(), stderr.String(), want)
		}
	}
}
