// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/status"
)

// --watch prints all sessions, then those whose state changes, and once what cannot be asked.
func TestSessionsWatch(t *testing.T) {
	report := func(state status.SessionState, sent int, diagnosis string) status.Report {
		s := status.Session{State: state, PrefixesSent: sent, Diagnosis: diagnosis}
		if state == status.Established {
			s.Since = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
		}
		return status.Report{Identity: status.Identity{Node: "n1"}, Synced: true, Config: status.Config{Loaded: true}, Peers: []status.Peer{
			{Name: "tor", Address: netip.MustParseAddr("10.0.0.1"), ASN: 64513, Wanted: true, Session: s},
			{Name: "spine", Address: netip.MustParseAddr("10.0.0.2"), ASN: 64513, Reason: status.ASNConflict, Detail: "as tor has it", BFDProfile: "quick"},
		}}
	}
	silent := status.Report{}
	reports := []status.Report{
		report(status.Established, 1, ""), report(status.Established, 2, ""), silent, silent,
		report("Active", 0, "no answer"), report("Connect", 0, "no answer"), report(status.Established, 2, ""),
	}
	watch := func(format viewFormat, noHeaders bool) (out, errs string) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 13*time.Second)
			defer cancel()
			var stdout, stderr bytes.Buffer
			cmd := &cobra.Command{}
			cmd.SetContext(ctx)
			cmd.SetOut(&stdout)
			cmd.SetErr(&stderr)
			job := sessionsJob{namespace: "ours", interval: 2 * time.Second, output: output{format: format, noHeaders: noHeaders}}
			if err := job.follow(cmd, only{&fakeNode{node: cluster.Node{Name: "n1"}, reports: reports}}, nil); err != nil {
				t.Error(err)
			}
			out, errs = stdout.String(), stderr.String()
		})
		return out, errs
	}
	out, errs := watch(viewTable, false)
	want := `TIME      NODE  PEER   ADDRESS   AS     STATE        UPTIME  SENT  BFD  LAST ERROR
00:00:00  n1    tor    10.0.0.1  64513  Established  0s      1     -    -
00:00:00  n1    spine  10.0.0.2  64513  ASNConflict  -       0     -    as tor has it
00:00:08  n1  tor  10.0.0.1  64513  Active  -  0  -  no answer
00:00:10  n1  tor  10.0.0.1  64513  Connect  -  0  -  no answer
00:00:12  n1  tor  10.0.0.1  64513  Established  12s  2  -  -
`
	if diff := cmp.Diff(want, out); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
	if want := "00:00:04 agent of n1: refused\n"; errs != want {
		t.Errorf("errors: %q, want %q", errs, want)
	}
	if out, _ := watch(viewWide, true); strings.Contains(out, "TIME") || !strings.Contains(out, "quick") {
		t.Errorf("wide, without headers:\n%s", out)
	}
	if out, _ := watch(viewYAML, false); strings.Count(out, "---\n") != 5 || strings.Count(out, "node: n1\n") != 5 {
		t.Errorf("as YAML:\n%s", out)
	}
	if out, _ := watch(viewJSON, false); strings.Count(out, `"node": "n1"`) != 5 {
		t.Errorf("as JSON:\n%s", out)
	}
	for _, short := range []string{"0s", "499ms", "-1s"} {
		if code, _, stderr := runHere(t, "", "top", "--interval="+short); code != exitMisuse || !strings.HasPrefix(stderr, "heraldctl: interval ") {
			t.Errorf("--interval=%s: %q", short, stderr)
		}
	}
}
