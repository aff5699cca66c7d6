// SPDX-License-Identifier: Apache-2.0

package topology_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/topology"
)

// Why says when its subject has changed last: that of all nodes that changed in the same way at
// the same time.
func TestLastChange(t *testing.T) {
	in := inputOf(3, true)
	probe := topology.Build(in)
	if len(probe.Services) == 0 || len(probe.Peers) == 0 {
		t.Fatal("there is nothing to ask about")
	}
	service, peer := probe.Services[0].Name, probe.Peers[0].Name
	ago := func(d time.Duration, kind status.ChangeKind, subject, before, after, cause string) status.Change {
		return status.Change{At: probe.At.Add(-d), Kind: kind, Subject: subject, Before: before, After: after, Cause: cause}
	}
	of := service + " 192.0.2.1 bgp"
	for i, d := range []time.Duration{12 * time.Minute, 20 * time.Minute, 12*time.Minute + 3*time.Second} {
		in.Agents[i].Report.Changes = []status.Change{
			ago(time.Minute, status.ChangeMember, "n9", "alive", "", ""),
			ago(d, status.ChangeAnnouncement, of, "Announced", "NoEndpoints", "no usable endpoint"),
			ago(d+time.Hour, status.ChangeAnnouncement, of, "", "Announced", ""),
		}
	}
	in.Agents[1].Report.Changes = append(in.Agents[1].Report.Changes, ago(40*time.Second, status.ChangeSession, peer, "Established", "Idle", "Hold Timer Expired"),
		ago(time.Second, status.ChangeAnnouncement, service+"-other 192.0.2.2 bgp", "", "Announced", ""))
	built := topology.Build(in)
	for subject, want := range map[string]string{
		service:                       "12m ago on n1, n3: Announced -> NoEndpoints: no usable endpoint",
		"peer/" + peer:                "40s ago on n2: Established -> Idle: Hold Timer Expired",
		"node/n1":                     "1m ago on n1: member n9 no longer alive",
		"node/n2":                     "1s ago on n2: " + service + "-other 192.0.2.2 bgp now Announced",
		"pool/" + built.Pools[0].Name: "",
	} {
		c, err := built.Why(subject)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, c.LastChange); diff != "" {
			t.Errorf("why %s (-want +got):\n%s", subject, diff)
		}
	}
	var words []string
	for _, c := range built.Recent(time.Minute - 1) {
		words = append(words, c.Words())
	}
	if got, want := strings.Join(words, "\n"), "n2 "+service+"-other 192.0.2.2 bgp now Announced\nn2 "+peer+" Established -> Idle: Hold Timer Expired"; got != want {
		t.Errorf("recent changes:\n%s\nwant\n%s", got, want)
	}
	if all := built.Recent(24 * time.Hour); len(all) != len(built.Changes) {
		t.Errorf("%d of %d changes of a day", len(all), len(built.Changes))
	}
}
