// SPDX-License-Identifier: Apache-2.0

package reconcile_test

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/source"
	"github.com/heraldlb/herald/status"
)

// A dataPlane says what a test wants it to.
type dataPlane struct {
	*scene
	readiness announce.Readiness
	wanted    []announce.Question
	hosts     []netip.Addr
}

func (p *dataPlane) Want(questions announce.QuestionTable, hosts []netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wanted, p.hosts = nil, hosts
	for _, of := range questions.All() {
		p.wanted = append(p.wanted, of...)
	}
}

func (p *dataPlane) Readiness() announce.Readiness {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.readiness
}

// An agent that starts gives FRR nothing before it knows what the data plane serves, so
// that FRR goes on with what an agent before it has announced. Later a Service waits alone.
func TestAgentWaitsForDataPlane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &scene{synced: true}
		p := &dataPlane{scene: w}
		w.dataPlane = p
		w.doc = &source.Document{Source: "configmap x", Text: []byte(goodConfig)}
		host := netip.MustParseAddr("10.0.0.1")
		w.snapshot.Nodes = []*cluster.Node{{Name: "n1", Addrs: []netip.Addr{host}}}
		w.snapshot.Services = services("web=198.51.100.1")
		web := w.snapshot.Services[0]
		web.Local, web.HealthPort = true, 30000
		w.snapshot.Endpoints = map[cluster.Key][]cluster.Endpoint{web.Key: {{Node: "n1"}}}
		var events []string
		w.serviceEvents = func(svc *cluster.Service, e cluster.Event) {
			if e.Reason == reconcile.EventDataPlane {
				events = append(events, svc.String()+" "+e.Message)
			}
		}
		stop := runAgentOn(t, w)
		defer stop()
		id := announce.ServiceAddr{Service: web.String(), Addr: netip.MustParseAddr("198.51.100.1")}
		is := func(when string, announced bool, reason status.Reason) {
			t.Helper()
			synctest.Wait()
			w.mu.Lock()
			defer w.mu.Unlock()
			if got := strings.Contains(string(w.conf), "network 198.51.100.1/32"); got != announced || w.report.Decisions[0].Reason != reason {
				t.Errorf("%s: announced %t, %+v", when, got, w.report.Decisions)
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if w.conf != nil || len(w.report.Decisions) > 0 {
			t.Errorf("nothing is known: FRR was given %q, and the report has %+v", w.conf, w.report.Decisions)
		}
		if len(p.wanted) != 1 || p.wanted[0].ServiceAddr != id || !p.wanted[0].Here || len(p.hosts) != 1 || p.hosts[0] != host {
			t.Errorf("asked about %+v on %v", p.wanted, p.hosts)
		}
		w.change(func() { p.readiness.Settled = true })
		is("settled", true, status.Announced)

		// Its endpoints go, and come back.
		w.change(func() { w.snapshot.Endpoints = nil })
		is("no endpoints", false, status.NoLocalEndpoints)
		w.change(func() {
			w.snapshot.Endpoints = map[cluster.Key][]cluster.Endpoint{web.Key: {{Node: "n1"}}}
			p.readiness = announce.Readiness{Settled: true, Waits: map[announce.ServiceAddr]string{id: "503"}}
		})
		is("it waits", false, status.DataPlaneNotReady)
		w.change(func() { p.readiness.Waits = nil })
		is("it is served", true, status.Announced)
		w.change(func() { p.readiness.Waits = map[announce.ServiceAddr]string{id: "503"} })
		is("kube-proxy changes its mind", true, status.Announced)
		for range 2 {
			w.change(func() {
				p.readiness = announce.Readiness{Settled: true, Waived: map[announce.ServiceAddr]string{id: "503"}}
			})
		}
		is("it has waited long enough", true, status.Announced)
		want := []string{web.String() + ` 198.51.100.1: node "n1" announces the address, though its data plane was not seen to serve it: 503`}
		if diff := cmp.Diff(want, events); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}
