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
