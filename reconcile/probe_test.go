// SPDX-License-Identifier: Apache-2.0

package reconcile_test

import (
	"net/netip"
	"slices"
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
)

// A prober finds what a test wants it to.
type prober struct {
	*scene
	readiness announce.Readiness
	wanted    announce.Targets
}

func (p *prober) Want(targets announce.Targets) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wanted = targets
}

func (p *prober) Readiness() announce.Readiness {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.readiness
}

// An agent probes what it announces. It waits for the first results, tells other agents what
// fails, sends an event, and withdraws once another node has the route.
func TestAgentProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &scene{synced: true}
		p := &prober{scene: w}
		n := &network{scene: w, members: []announce.Member{{Node: "n1"}, announcetest.Sends("n2", "peer1", "198.51.100.1")}}
		w.probes, w.network = p, n
		probe := config.Probe{Protocol: config.ProbeTCP, Interval: 5 * time.Second, Timeout: time.Second, Success: 2, Failure: 3}
		w.doc = &source.Document{Source: "resources", Resources: &config.Resources{Objects: []config.Object{
			{ID: config.ID{Kind: config.KindPool, Name: "p"}, Spec: []byte(`{"addresses":["198.51.100.0/24"]}`)},
			{ID: config.ID{Kind: config.KindPeer, Name: "peer1"}, Spec: []byte(`{"myASN":64512,"peerASN":64513,"peerAddress":"10.0.0.1"}`)},
			{ID: config.ID{Kind: config.KindBGPAdvertisement, Name: "ad"}, Spec: []byte(`{"probe":{}}`)},
		}}}
		w.snapshot.Nodes = []*cluster.Node{{Name: "n1"}, {Name: "n2"}}
		w.snapshot.Services = services("web=198.51.100.1")
		web := w.snapshot.Services[0]
		web.Ports = port.NewSet(port.Port{Protocol: "TCP", Number: 80})
		w.snapshot.Endpoints = map[cluster.Key][]cluster.Endpoint{web.Key: {{Node: "n1"}}}
		var events []string
		w.serviceEvents = func(_ *cluster.Service, e cluster.Event) {
			if e.Reason == reconcile.EventProbe {
				events = append(events, e.Message)
			}
		}
		stop := runAgentOn(t, w)
		defer stop()
		announced := func(when string, want bool) {
			t.Helper()
			synctest.Wait()
			w.mu.Lock()
			defer w.mu.Unlock()
			if got := strings.Contains(string(w.conf), "network 198.51.100.1/32"); got != want {
				t.Errorf("%s: announced %t, %+v", when, got, w.report.Decisions)
			}
		}
		id := announce.ProbeID{ServiceAddr: announce.ServiceAddr{Service: web.String(), Addr: netip.MustParseAddr("198.51.100.1")}, Probe: probe}
		synctest.Wait()
		if of, _ := p.wanted.Get(web.Key); w.conf != nil || len(of) != 1 || of[0] != (announce.Target{ProbeID: id, Port: 80, Share: 1}) {
			t.Errorf("before a result FRR was given %q, and %+v is probed", w.conf, of)
		}
		w.change(func() { p.readiness.Settled = true })
		announced("settled", true)
		w.change(func() {
			p.readiness = announce.Readiness{Settled: true, Failing: map[announce.ProbeID]string{id: "refused"}}
		})
		synctest.Wait()
		if want := []string{`198.51.100.1: the probe fails on node "n1": refused`}; !slices.Equal(events, want) || !slices.Equal(n.faults, []announce.Fault{id.Fault()}) {
			t.Errorf("events %q, faults %v", events, n.faults)
		}
		time.Sleep(time.Second)
		announced("it fails here", false)
		w.change(func() { n.members[1].Faults = []announce.Fault{id.Fault()} })
		announced("it fails everywhere", true)
		w.change(func() { p.readiness = announce.Readiness{Settled: true} })
		if announced("it is answered", true); len(n.faults) > 0 || len(events) != 1 {
			t.Errorf("events %q, faults %v", events, n.faults)
		}
	})
}
