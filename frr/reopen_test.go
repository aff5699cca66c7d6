// SPDX-License-Identifier: Apache-2.0

package frr_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/frr/vty"
	"github.com/heraldlb/herald/status"
)

func TestReopen(t *testing.T) {
	const text = `router bgp 64512
 neighbor 192.0.2.1 remote-as 64513
 neighbor 192.0.2.1 ebgp-multihop 254
 neighbor 192.0.2.1 bfd
 neighbor 192.0.2.1 bfd profile fast
 neighbor 192.0.2.1 password s3cr3t
 neighbor 192.0.2.1 update-source 192.0.2.100
 neighbor 192.0.2.1 timers connect 10
 neighbor 192.0.2.2 remote-as 64512
 neighbor 192.0.2.2 update-source 192.0.2.100
 neighbor 192.0.2.2 bfd
 neighbor 192.0.2.2 bfd profile slow
 neighbor 192.0.2.2 timers connect 10
 neighbor 192.0.2.3 remote-as 64513
 neighbor 192.0.2.3 timers connect 10
exit
`
	tests := []struct {
		name string
		peer status.PeerID
		want []string
	}{
		{"the source after BFD", status.PeerID{Address: netip.MustParseAddr("192.0.2.1")}, []string{
			"configure terminal", "router bgp 64512",
			"no neighbor 192.0.2.1 bfd",
			"no neighbor 192.0.2.1 update-source 192.0.2.100",
			"neighbor 192.0.2.1 bfd",
			"neighbor 192.0.2.1 bfd profile fast",
			"neighbor 192.0.2.1 update-source 192.0.2.100",
			"neighbor 192.0.2.1 timers connect 10",
			"end",
		}},
		{"the source before BFD", status.PeerID{Address: netip.MustParseAddr("192.0.2.2")}, []string{
			"configure terminal", "router bgp 64512",
			"no neighbor 192.0.2.2 bfd",
			"neighbor 192.0.2.2 bfd",
			"neighbor 192.0.2.2 bfd profile slow",
			"neighbor 192.0.2.2 timers connect 10",
			"end",
		}},
		{"no BFD", status.PeerID{Address: netip.MustParseAddr("192.0.2.3")}, nil},
		{"not there", status.PeerID{Address: netip.MustParseAddr("192.0.2.4")}, nil},
		{"in another VRF", status.PeerID{Address: netip.MustParseAddr("192.0.2.1"), VRF: "red"}, nil},
	}
	f := startFRR(t)
	a := newApplier(t, f)
	if done, err := a.Reopen(t.Context(), tests[0].peer); done || err != nil {
		t.Errorf("before anything was applied: %v, %v", done, err)
	}
	if err := a.Apply(t.Context(), frr.PlainText([]byte(text))); err != nil {
		t.Fatal(err)
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f.bgpd.Sent()
			done, err := a.Reopen(t.Context(), test.peer)
			if err != nil || done != (test.want != nil) {
				t.Errorf("done is %v, %v", done, err)
			}
			if diff := cmp.Diff(test.want, f.bgpd.Sent(), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("commands (-want +got):\n%s", diff)
			}
			f.inForce(t, text)
		})
	}
	f.bgpd.Kill()
	if done, err := a.Reopen(t.Context(), tests[0].peer); done {
		t.Errorf("without bgpd: %v, %v", done, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f.bgpd.Start(t, f.dir)
	if err := a.Apply(t.Context(), frr.PlainText([]byte(text))); err != nil {
		t.Fatal(err)
	}
	if done, err := a.Reopen(ctx, tests[0].peer); done || !errors.Is(err, context.Canceled) {
		t.Errorf("without time: %v, %v", done, err)
	}
}

// A session that is down is retried at once when its neighbor changes. A session that
// is up is left alone.
func TestApplyTriesAgain(t *testing.T) {
	const before = `router bgp 64512
 neighbor 192.0.2.1 remote-as 64513
 neighbor 192.0.2.1 timers connect 10
 neighbor 192.0.2.2 remote-as 64513
 neighbor 192.0.2.2 timers connect 10
 neighbor 192.0.2.3 remote-as 64513
 neighbor 192.0.2.3 timers connect 10
exit
`
	after := strings.NewReplacer(
		"192.0.2.1 timers", "192.0.2.1 timers 3 9\n neighbor 192.0.2.1 timers",
		"192.0.2.2 timers", "192.0.2.2 timers 3 9\n neighbor 192.0.2.2 timers").Replace(before)
	const state = `{"default": {"vrfId": 0,
		"192.0.2.1": {"bgpState": "Established"}, "192.0.2.2": {"bgpState": "Active"}, "192.0.2.3": {"bgpState": "Idle"}}}`
	tests := []struct {
		name   string
		state  string
		status vty.Status
		want   []string
	}{
		{"one is down", state, vty.Success, []string{"clear bgp 192.0.2.2"}},
		{"it is not known", "% Unknown command", vty.NoMatch, nil},
		{"it is not understood", "{", vty.Success, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := startFRR(t)
			a := newApplier(t, f)
			if err := a.Apply(t.Context(), frr.PlainText([]byte(before))); err != nil {
				t.Fatal(err)
			}
			f.bgpd.Reply("show bgp vrf all neighbors json", test.state, byte(test.status))
			f.bgpd.Reply("clear bgp 192.0.2.2", "", byte(vty.Success))
			f.bgpd.Sent()
			if err := a.Apply(t.Context(), frr.PlainText([]byte(after))); err != nil {
				t.Fatal(err)
			}
			cleared := slices.DeleteFunc(f.bgpd.Sent(), func(c string) bool { return !strings.HasPrefix(c, "clear ") })
			if diff := cmp.Diff(test.want, cleared, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("cleared (-want +got):\n%s", diff)
			}
			f.inForce(t, after)
		})
	}
}

// A session that is still down when the configuration is verified after a change is
// retried once more, unless it is being opened.
func TestRunTriesOnceMore(t *testing.T) {
	const before = `router bgp 64512
 neighbor 192.0.2.1 remote-as 64513
 neighbor 192.0.2.2 remote-as 64513
 neighbor 192.0.2.3 remote-as 64513
exit
`
	f := startFRR(t)
	show := func(states ...string) {
		f.bgpd.Reply("show bgp vrf all neighbors json", fmt.Sprintf(`{"default": {
			"192.0.2.1": {"bgpState": %q}, "192.0.2.2": {"bgpState": %q}, "192.0.2.3": {"bgpState": %q}}}`, states[0], states[1], states[2]), 0)
	}
	for i := range 3 {
		f.bgpd.Reply(fmt.Sprint("clear bgp 192.0.2.", i+1), "", 0)
	}
	show("Idle", "Connect", "Active")
	a, until := run(t, frr.Options{RunDir: f.dir})
	a.Set(frr.PlainText([]byte(before)))
	until("first", applied)
	time.Sleep(2500 * time.Millisecond) // it is looked at after two seconds
	f.bgpd.Sent()
	a.Set(frr.PlainText([]byte(strings.ReplaceAll(before, "64513", "64514"))))
	until("second", applied)
	show("Active", "OpenSent", "Established")
	cleared := map[string]int{}
	eventually(t, "a second attempt", func() bool {
		for _, c := range f.bgpd.Sent() {
			if strings.HasPrefix(c, "clear ") {
				cleared[c]++
			}
		}
		return cleared["clear bgp 192.0.2.1"] > 1
	})
	if diff := cmp.Diff(map[string]int{"clear bgp 192.0.2.1": 2, "clear bgp 192.0.2.2": 1, "clear bgp 192.0.2.3": 1}, cleared); diff != "" {
		t.Errorf("cleared (-want +got):\n%s", diff)
	}
}
