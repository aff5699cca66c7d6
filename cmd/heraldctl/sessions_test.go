// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/status"
)

func TestSessions(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	r := status.Report{Identity: status.Identity{Node: "n1"}, Peers: []status.Peer{
		{Name: "r1", Address: netip.MustParseAddr("10.0.0.1"), ASN: 64513, Wanted: true, Reason: status.Configured,
			Session: status.Session{State: status.Established, Since: now.Add(-90 * time.Second), PrefixesSent: 12, LastError: "Hold Timer Expired", BFD: "up"}},
		{Name: "r2", Interface: "eth1", VRF: "red", DynamicASN: "external", Wanted: true, Reason: status.Configured,
			Session: status.Session{State: "Active", LastError: "OPEN Message Error/Bad Peer AS"}},
		{Name: "r3", Address: netip.MustParseAddr("10.0.0.3"), ASN: 64513, Wanted: true, Reason: status.Configured},
		{Name: "r4", Address: netip.MustParseAddr("10.0.0.1"), ASN: 64513, Reason: status.AddressConflict, Detail: "r1 has the same address"},
		{Name: "r5", Address: netip.MustParseAddr("10.0.0.5"), ASN: 64513, Reason: status.NodeNotSelected},
	}}
	f := &fakeNode{node: reconcile.Node{Name: "n1"}, reports: []status.Report{r}}
	all, err := sessionsOf(t.Context(), f, "ours", nil)
	if err == nil || err.Error() != "agent of n0: refused" {
		t.Errorf("an agent that does not answer: %v", err)
	}
	var out bytes.Buffer
	if err := printSessions(&out, all, now); err != nil {
		t.Fatal(err)
	}
	const want = `NODE  PEER  ADDRESS       AS        STATE            UPTIME  SENT  BFD  LAST ERROR
n1    r1    10.0.0.1      64513     Established      1m30s   12    up   Hold Timer Expired
n1    r2    eth1 vrf red  external  Active           -       0     -    OPEN Message Error/Bad Peer AS
n1    r3    10.0.0.3      64513     Unknown          -       0     -    -
n1    r4    10.0.0.1      64513     AddressConflict  -       0     -    r1 has the same address
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
	if one, err := sessionsOf(t.Context(), f, "ours", []string{"n1"}); err != nil || len(one) != 4 {
		t.Errorf("of n1 alone: %v, %d peers", err, len(one))
	}
	if _, err := sessionsOf(t.Context(), f, "ours", []string{"n9"}); err == nil || !strings.HasPrefix(err.Error(), "agent of n9: no pod") {
		t.Errorf("of a node without an agent: %v", err)
	}
}
