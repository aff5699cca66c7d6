// SPDX-License-Identifier: Apache-2.0

package reconcile_test

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/announce/announcetest"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/port"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/source"
	"github.com/heraldlb/herald/status"
)

// An agent that is restarted while its node leaves a route to another one goes on with it until
// that one has sent it, if FRR still has the route. It does not begin with one that FRR lacks.
func TestAgentResumes(t *testing.T) {
	probe := config.Probe{Protocol: config.ProbeTCP, Interval: 5 * time.Second, Timeout: time.Second, Success: 2, Failure: 3}
	addr := netip.MustParseAddr("198.51.100.1")
	for _, tt := range []struct {
		name   string
		ad     string
		labels map[string]string
		probes bool
		local  bool // its own endpoint terminates
		had    bool // FRR has the route
		reason status.Reason
	}{
		{name: "its probe fails", ad: `{"probe":{}}`, probes: true, had: true, reason: status.ProbeFailed},
		{name: "its probe fails, and the route has gone", ad: `{"probe":{}}`, probes: true, reason: status.ProbeFailed},
		{name: "it is not selected", ad: `{"nodeSelectors":[{"matchLabels":{"rack":"b"}}]}`, had: true, reason: status.NodeNotSelected},
		{name: "it is not selected, and the route has gone", ad: `{"nodeSelectors":[{"matchLabels":{"rack":"b"}}]}`, reason: status.NodeNotSelected},
		{name: "it is excluded", ad: `{}`, labels: map[string]string{announce.LabelExcludeNode: ""}, had: true, reason: status.NodeExcluded},
		{name: "its endpoints terminate", ad: `{}`, local: true, had: true, reason: status.EndpointsTerminating},
		{name: "its endpoints terminate, and the route has gone", ad: `{}`, local: true, reason: status.EndpointsTerminating},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &scene{synced: true}
				n := &network{scene: w, members: []announce.Member{{Node: "n1"}, {Node: "n2", Answered: true}}}
				w.network = n
				w.doc = &source.Document{Source: "resources", Resources: &config.Resources{Objects: []config.Object{
					{ID: config.ID{Kind: config.KindPool, Name: "p"}, Spec: []byte(`{"addresses":["198.51.100.0/24"]}`)},
					{ID: config.ID{Kind: config.KindPeer, Name: "peer1"}, Spec: []byte(`{"myASN":64512,"peerASN":64513,"peerAddress":"10.0.0.1"}`)},
					{ID: config.ID{Kind: config.KindBGPAdvertisement, Name: "ad"}, Spec: []byte(tt.ad)},
				}}}
				w.snapshot.Nodes = []*cluster.Node{{Name: "n1", Labels: tt.labels}, {Name: "n2", Labels: map[string]string{"rack": "b"}}}
				w.snapshot.Services = services("web=198.51.100.1")
				web := w.snapshot.Services[0]
				web.Ports = port.NewSet(port.Port{Protocol: "TCP", Number: 80})
				w.snapshot.Endpoints = map[cluster.Key][]cluster.Endpoint{web.Key: {{Node: "n2"}}}
				if tt.local {
					web.Local = true
					w.snapshot.Endpoints[web.Key] = []cluster.Endpoint{{Node: "n1", Terminating: true}, {Node: "n2"}}
				}
				if tt.probes {
					id := announce.ProbeID{ServiceAddr: announce.ServiceAddr{Service: web.String(), Addr: addr}, Probe: probe}
					w.probes = &prober{scene: w, readiness: announce.Readiness{Settled: true, Failing: map[announce.ProbeID]string{id: "refused"}}}
				}
				had := reconcile.FoundRoutes{netip.MustParsePrefix("198.51.100.9/32"): "herald-class-1"}
				if tt.had {
					had[netip.PrefixFrom(addr, 32)] = "herald-class-1"
				}
				known := false
				w.found = func() (reconcile.FoundRoutes, bool) {
					w.mu.Lock()
					defer w.mu.Unlock()
					return had, known
				}
				stop := runAgentOn(t, w)
				defer stop()
				synctest.Wait()
				if w.conf != nil {
					t.Errorf("FRR was given a configuration before it was known what it has:\n%s", w.conf)
				}
				w.change(func() { known = true })
				is := func(when string, want bool, reason status.Reason) {
					t.Helper()
					synctest.Wait()
					w.mu.Lock()
					defer w.mu.Unlock()
					if got := strings.Contains(string(w.conf), "network 198.51.100.1/32"); got != want || w.report.Decisions[0].Reason != reason {
						t.Errorf("%s: announced %t, want %t; %+v", when, got, want, w.report.Decisions)
					}
					if strings.Contains(string(w.conf), "198.51.100.9/32") {
						t.Errorf("%s: a route that no Service has", when)
					}
				}
				if !tt.had {
					is("first", false, tt.reason)
					return
				}
				is("first", true, status.HandingOver)
				time.Sleep(time.Minute)
				is("a minute later", true, status.HandingOver)
				w.change(func() { n.members[1] = announcetest.Sends("n2", "peer1", addr.String()) })
				time.Sleep(2 * time.Second)
				is("routers have followed", false, tt.reason)
			})
		})
	}
}

// Other agents are told which probes are not answered here once some advertisement has a probe,
// and of those without a verdict if the node announces the address all the same.
func TestAgentTellsFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &scene{synced: true}
		p := &prober{scene: w, readiness: announce.Readiness{Settled: true}}
		n := &network{scene: w, members: []announce.Member{{Node: "n1"}}}
		w.probes, w.network = p, n
		with := func(ad string) *source.Document {
			return &source.Document{Source: "resources", Resources: &config.Resources{Objects: []config.Object{
				{ID: config.ID{Kind: config.KindPool, Name: "p"}, Spec: []byte(`{"addresses":["198.51.100.0/24"]}`)},
				{ID: config.ID{Kind: config.KindPeer, Name: "peer1"}, Spec: []byte(`{"myASN":64512,"peerASN":64513,"peerAddress":"10.0.0.1"}`)},
				{ID: config.ID{Kind: config.KindBGPAdvertisement, Name: "ad"}, Spec: []byte(ad)},
			}}}
		}
		w.doc = with(`{}`)
		w.snapshot.Nodes = []*cluster.Node{{Name: "n1"}}
		w.snapshot.Services = services("web=198.51.100.1", "new=198.51.100.2")
		w.snapshot.Endpoints = map[cluster.Key][]cluster.Endpoint{w.snapshot.Services[0].Key: {{Node: "n1"}}, w.snapshot.Services[1].Key: {{Node: "n1"}}}
		stop := runAgentOn(t, w)
		defer stop()
		told := func(when string, times int, faults ...announce.Fault) {
			t.Helper()
			synctest.Wait()
			w.mu.Lock()
			defer w.mu.Unlock()
			if n.toldFaults != times || len(n.faults) != len(faults) || len(faults) > 0 && n.faults[0] != faults[0] {
				t.Errorf("%s: told %d times, last %v; want %d times, %v", when, n.toldFaults, n.faults, times, faults)
			}
		}
		told("no probe", 0)
		w.change(func() { w.doc = with(`{"probe":{}}`) })
		told("the first probe", 1)
		id := func(i int) announce.ProbeID {
			svc := w.snapshot.Services[i]
			return announce.ProbeID{ServiceAddr: announce.ServiceAddr{Service: svc.String(), Addr: netip.MustParseAddr(svc.Ingress[0])}}
		}
		open := id(0).Fault()
		open.Unknown = true
		w.change(func() {
			w.snapshot.Services = services("web=198.51.100.1", "new=198.51.100.2", "next=198.51.100.3")
			w.snapshot.Endpoints[w.snapshot.Services[2].Key] = []cluster.Endpoint{{Node: "n1"}}
			p.readiness = announce.Readiness{Settled: true, Unknown: map[announce.ProbeID]string{}, Waits: map[announce.ServiceAddr]string{}}
			for i, svc := range w.snapshot.Services {
				if svc.Ingress[0] == "198.51.100.1" {
					open = id(i).Fault()
					open.Unknown = true
				}
				if svc.Ingress[0] != "198.51.100.2" { // the last one is not announced yet
					p.readiness.Unknown[id(i)] = "silent"
					p.readiness.Waits[id(i).ServiceAddr] = "silent"
				}
			}
		})
		told("no verdict", 2, open)
		w.change(func() { p.readiness = announce.Readiness{Settled: true} })
		told("answered", 3)
		w.change(func() {})
		told("nothing is new", 3)
	})
}
