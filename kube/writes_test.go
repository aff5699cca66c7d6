// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A new Service costs as many writes when it is one of many as it does alone: its address,
// who announces it, an event for each, and its status of the node.
func TestNewServiceWrites(t *testing.T) {
	t.Parallel()
	for _, many := range []int{1, 200} {
		t.Run(fmt.Sprint(many), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, config := newPatientAPI(append([]string{"services", "namespaces", "nodes", "endpointslices", l2Plural, bgpPlural}, allPlurals...)...)
				a.set("namespaces", "ns", "", 1)
				a.set("nodes", "n1", "", 1)
				a.set("ipaddresspools", "p", `{"addresses":["198.51.100.0/24"]}`, 1)
				a.set("bgppeers", "tor", `{"myASN":64512,"peerASN":64513,"peerAddress":"10.0.0.1"}`, 1)
				a.set("bgpadvertisements", "ad", `{}`, 1)
				defer runBoth(t, config)()
				time.Sleep(time.Minute)
				synctest.Wait()
				a.counts()
				for i := range many {
					name := fmt.Sprintf("web-%03d", i)
					a.slice(name)
					a.set("services", name, `{"type":"LoadBalancer","clusterIP":"10.96.0.1","ports":[{"port":80}]}`, 1)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				writes, _ := a.counts()
				got := map[string]int{}
				for _, w := range writes {
					method, path, _ := strings.Cut(w, " ")
					parts := strings.Split(path, "/")
					what := parts[len(parts)-1]
					if what == "status" {
						what = parts[len(parts)-3] + "/status"
					}
					if what != "ipaddresspools/status" { // the counters of the pool, once a second
						got[method+" "+what]++
					}
				}
				want := map[string]int{
					"PATCH services/status": 2 * many, "POST events": 2 * many,
					"POST " + bgpPlural: many,
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		})
	}
}

// A router that restarts costs its BGPPeer a few writes, whether 3 or 200 nodes lose their
// sessions, at different times; so does their return.
func TestPeerSessionWrites(t *testing.T) {
	t.Parallel()
	for _, nodes := range []int{3, 200} {
		t.Run(fmt.Sprint(nodes), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, config := newPatientAPI(append([]string{"services", "namespaces", "nodes", "endpointslices", l2Plural, bgpPlural}, allPlurals...)...)
				a.set("bgppeers", "tor", `{"myASN":64512,"peerASN":64513,"peerAddress":"10.0.0.1"}`, 1)
				all := func(over time.Duration, reason string) {
					for i := range nodes {
						a.holds(fmt.Sprintf("x%03d", i), "tor", reason)
						time.Sleep(over / time.Duration(nodes))
					}
				}
				all(0, "")
				defer runBoth(t, config)()
				time.Sleep(time.Minute)
				for _, step := range []struct {
					reason  string
					over    time.Duration
					summary string
				}{
					{"HoldTimerExpired", 10 * time.Second, fmt.Sprintf("0/%d", nodes)},
					{"", 5 * time.Second, fmt.Sprintf("%d/%d", nodes, nodes)},
				} {
					a.counts()
					all(step.over, step.reason)
					time.Sleep(30 * time.Second)
					synctest.Wait()
					writes, _ := a.counts()
					got := 0
					for _, w := range writes {
						if strings.HasSuffix(w, "/bgppeers/tor/status") {
							got++
						}
					}
					if got == 0 || got > 6 {
						t.Errorf("%q: %d writes, want a few", step.reason, got)
					}
					if is := a.peer("tor"); !strings.Contains(is, step.summary) {
						t.Errorf("%q: the status is %s, want %s", step.reason, is, step.summary)
					}
				}
			})
		})
	}
}
