// SPDX-License-Identifier: Apache-2.0

package hostile_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/l2"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
	"github.com/heraldlb/herald/status"
)

// told returns how many events there are about a Service of the test, by their reason.
func told(e *e2e.Test, service string) map[string]int {
	e.T.Helper()
	list, err := e.Cluster.Client().CoreV1().Events(e.Namespace).List(e.T.Context(),
		metav1.ListOptions{FieldSelector: "involvedObject.name=" + service})
	if err != nil {
		e.T.Fatal(err)
	}
	out := map[string]int{}
	for _, ev := range list.Items {
		out[ev.Reason]++
	}
	return out
}

// A Service whose endpoint moves between two nodes all the time changes its route a few
// times, and causes a few events. Another Service loses no request. Afterwards the first
// one is served.
func TestHostileEndpoints(t *testing.T) {
	const moves = 120
	e := e2e.New(t)
	e.Configure(e2e.BGPPools("- {name: web, protocol: bgp, addresses: [192.0.2.232/31]}"))
	calm := e.Expose(controlplane.ServiceOptions{Name: "calm"})[0]
	opts := controlplane.ServiceOptions{Name: "flappy", Namespace: e.Namespace, Local: true}
	flappy := e.Expose(opts, e.Nodes[0])[0]
	route := netip.PrefixFrom(flappy, 32)
	e.Announced(route, e.Nodes[0])
	routes, err := e.Router.WatchRoutes()
	if err != nil {
		t.Fatal(err)
	}
	defer routes.Close()

	stop := e.Load(calm)
	begin := time.Now()
	for i := range moves {
		if err := e.SetBackends(t.Context(), opts, e.Nodes[(i+1)%2]); err != nil {
			t.Fatal(err)
		}
	}
	took := time.Since(begin)
	changes := len(routes.History(route)) - 1
	e.Event("flappy", string(status.EndpointsFlap), "endpoints come and go")
	stop()
	events := told(e, "flappy")
	t.Logf("%d moves in %v: %d changes of the route, events %v", moves, took.Round(time.Millisecond), changes, events)
	// Each node withdraws it seven times at once, and four times in 15 s after that.
	withdrawals := 2 * (7 + 4*(1+int(took/(15*time.Second))))
	if limit := 2 * withdrawals; changes > limit {
		t.Errorf("%d moves of an endpoint are %d changes of the route, want %d at most", moves, changes, limit)
	}
	for reason, n := range events {
		if n > 12 { // ten that are alike, on two nodes
			t.Errorf("%d moves of an endpoint are %d events %s", moves, n, reason)
		}
	}
	e.Announced(route, e.Nodes[moves%2])
	e.Reached(flappy, e.Nodes[moves%2])
}

// Claims of many addresses, each of another hardware address, are one event for each
// Service, and one metric. Another Service loses no request.
func TestHostileClaims(t *testing.T) {
	const (
		services = 4
		claims   = 400 // of each address
	)
	e := e2e.New(t)
	e.Configure(e2e.Layer2Pool("[10.10.0.240/29]"))
	w := e.Neighbors()
	var attacked []netip.Addr
	for i := range services {
		a := e.Expose(controlplane.ServiceOptions{Name: fmt.Sprint("attacked", i)})[0]
		e.Owner(w, a)
		attacked = append(attacked, a)
	}
	calm := e.Expose(controlplane.ServiceOptions{Name: "calm"})[0]
	e.Owner(w, calm)
	time.Sleep(3 * time.Second) // claims of the owner before are no conflict for two seconds

	stop := e.LoadFrom(e.LANClient, calm)
	flood(t, e.Collector, attacked, claims)
	for i := range services {
		e.Event(fmt.Sprint("attacked", i), assign.EventConflict, "has the address")
	}
	stop()
	for i := range services {
		if n := told(e, fmt.Sprint("attacked", i))[assign.EventConflict]; n != 1 {
			t.Errorf("%d claims of an address are %d events", claims, n)
		}
	}
	var lines []string
	for _, n := range e.Nodes {
		page, err := e.Agent(n).Get(t.Context(), "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(page) {
			if strings.HasPrefix(line, "herald_layer2_conflict{") {
				lines = append(lines, strings.TrimSpace(line))
			}
		}
	}
	var want []string
	for _, a := range attacked {
		want = append(want, fmt.Sprintf("herald_layer2_conflict{ip=%q} 1", a))
	}
	slices.Sort(lines)
	slices.Sort(want)
	if !slices.Equal(lines, want) {
		t.Errorf("the metrics are %q, want %q", lines, want)
	}
	for _, n := range e.Nodes {
		e.Eventually("the agent of "+n.Name+" answers", func(ctx context.Context) error {
			_, err := e.AgentReport(ctx, n)
			return err
		})
	}
}

// flood has a machine claim addresses, 200 times a second together, each time with
// another hardware address.
func flood(t *testing.T, m *lab.Machine, addrs []netip.Addr, times int) {
	t.Helper()
	wire, err := m.WatchNeighbors()
	if err != nil {
		t.Fatal(err)
	}
	defer wire.Close()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for i := range times {
		for j, a := range addrs {
			<-tick.C
			mac := l2.MAC{2, 0xbb, byte(j), 0, byte(i >> 8), byte(i)}
			if err := wire.Forge(lab.Forgery{Addr: a, MAC: mac, Source: mac}); err != nil {
				t.Fatal(err)
			}
		}
	}
}
