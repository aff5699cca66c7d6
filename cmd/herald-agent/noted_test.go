// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/status"
)

// The journal has when FRR stops to run what it should, and when it does again; not each new
// configuration on its way, and not what the agent finds when it starts.
func TestNoted(t *testing.T) {
	j := &status.Journal{}
	var n noted
	absent := frr.State{Err: errors.New("bgpd: connect: no such file\nzebra: connect: no such file")}
	for _, s := range []frr.State{
		{}, absent, absent, {}, {Applied: true}, {}, {Applied: true}, absent, {Err: errors.New("bgpd: line 3: refused")}, {Applied: true},
	} {
		n.inForce(j, s)
	}
	for _, d := range []*status.DataPlane{
		nil, {Answers: true, Healthy: true}, {Answers: true, Healthy: true, Waiting: 3}, {Detail: "connection refused"}, {Answers: true, Detail: "503"}, {Answers: true, Healthy: true},
	} {
		n.dataPlane(j, d)
	}
	var got []string
	for _, c := range j.List() {
		got = append([]string{fmt.Sprintf("%s: %s -> %s: %s", c.Kind, c.Before, c.After, c.Cause)}, got...)
	}
	want := []string{
		"frr: not applied -> applied: ",
		"frr: applied -> not applied: bgpd: connect: no such file; zebra: connect: no such file",
		"frr: not applied -> not applied: bgpd: line 3: refused",
		"dataPlane: healthy -> silent: connection refused",
		"dataPlane: silent -> unhealthy: 503",
		"dataPlane: unhealthy -> healthy: ",
	}
	// FRR was applied twice, for the same reason: that is one change.
	if diff := cmp.Diff(append(want[1:3:3], append([]string{want[0]}, want[3:]...)...), got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}
