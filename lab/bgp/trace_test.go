// SPDX-License-Identifier: Apache-2.0

package bgp_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
	"github.com/heraldlb/herald/lab/journey"
	"github.com/heraldlb/herald/trace"
)

// bgpd's queue starts when a Service appears, on each version of FRR, and nobody hears of it:
// no router gets an UPDATE about the route that is processed once more, no kernel and no
// session changes, and FRR's configuration is as it was. Of Services that get an address each
// step to the router's kernel is known.
func TestBGPTrace(t *testing.T) {
	e := e2e.New(t)
	e.Configure(e2e.BGPPools("- {name: p, protocol: bgp, addresses: [198.51.101.0/28]}"))
	restart(e, journey.Args)
	t.Cleanup(func() { restart(e, nil) })
	keep := e2e.Route(e.Expose(controlplane.ServiceOptions{Name: "keep"})[0])
	e.Announced(keep)
	updates, err := e.Router.WatchUpdates()
	if err != nil {
		t.Fatal(err)
	}
	defer updates.Close()
	tracer, err := journey.NewTracer(e.Stack)
	if err != nil {
		t.Fatal(err)
	}
	defer tracer.Close()
	connections, config, since := e.Connections(), running(e), time.Now()

	// It stays without an address, so that every agent sees it so.
	before := queueStarts(t, e)
	none := controlplane.ServiceOptions{
		Namespace: e.Namespace, Name: "none", Backends: "keep", Annotations: map[string]string{"metallb.io/address-pool": "none"},
	}
	if _, err := e.Cluster.CreateService(t.Context(), none); err != nil {
		t.Fatal(err)
	}
	e.Eventually("queues started", func(context.Context) error {
		for name, n := range queueStarts(t, e) {
			if n <= before[name] {
				return fmt.Errorf("%s has not started bgpd's queue", name)
			}
		}
		return nil
	})
	for i := range 2 {
		svc := controlplane.ServiceOptions{Namespace: e.Namespace, Name: fmt.Sprintf("traced-%d", i), Backends: "keep"}
		seen, err := tracer.Create(t.Context(), svc, i == 0)
		if err == nil {
			err = tracer.Delete(t.Context(), svc, seen)
		}
		if err != nil {
			t.Fatal(err)
		}
	}

	for _, withdrawn := range []bool{false, true} {
		if at := updates.First(keep, since, withdrawn); !at.IsZero() {
			t.Errorf("an UPDATE about %s reached r1 after %v (withdrawn: %t)", keep, at.Sub(since), withdrawn)
		}
	}
	if updates.First(e2e.Route(keep.Addr().Next()), since, false).IsZero() {
		t.Error("no UPDATE was seen at all")
	}
	if i := slices.IndexFunc(e.Routes.History(keep), func(c lab.RouteChange) bool { return c.Time.After(since) }); i >= 0 {
		t.Errorf("r1's route to %s changed: %v", keep, e.Routes.History(keep)[i:])
	}
	if diff := cmp.Diff(connections, e.Connections()); diff != "" {
		t.Errorf("sessions (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(config, running(e)); diff != "" {
		t.Errorf("FRR's configuration (-before +after):\n%s", diff)
	}
	created, deleted, err := tracer.Ways()
	if err != nil {
		t.Fatal(err)
	}
	for i, way := range created {
		want := []string{
			journey.Answered, journey.ControllerRead, journey.ControllerPass, journey.PatchSent, journey.PatchAnswered, journey.StatusSeen, journey.AgentRead,
			journey.AgentPass, journey.Rendered, journey.CommandsSent, journey.CommandsDone, journey.Wire, journey.Kernel, journey.All,
		}
		if i == 0 {
			want = append(want, journey.Confirmed, journey.Reported)
		}
		has(t, way, want...)
		ordered(t, way, journey.PatchSent, journey.AgentRead, journey.CommandsSent, journey.Wire, journey.Kernel)
	}
	for _, way := range deleted {
		has(t, way, journey.Answered, journey.AgentRead, journey.AgentPass, journey.Rendered, journey.CommandsSent, journey.CommandsDone, journey.Wire, journey.Gone)
		ordered(t, way, journey.AgentRead, journey.CommandsSent, journey.Wire, journey.Gone)
	}
	e.OnVersions(func(e *e2e.Test, n *lab.Node) {
		for command, want := range map[string]string{
			"clear bgp prefix " + keep.String():                  "",
			"clear bgp ipv6 unicast prefix fd00::1/128":          "",
			"clear bgp vrf none prefix 192.0.2.1/32":             "Can't find BGP instance none",
			"clear bgp vrf none ipv6 unicast prefix fd00::1/128": "Can't find BGP instance none",
		} {
			out, err := n.FRR.Vtysh(e.T.Context(), command)
			if err != nil || !strings.Contains(out, want) || strings.Contains(out, "Unknown command") || want == "" && strings.TrimSpace(out) != "" {
				e.T.Errorf("%s: %q, %v; want %q", command, out, err, want)
			}
		}
	})
}

// restart starts controllers and agents again with arguments.
func restart(e *e2e.Test, args []string) {
	e.T.Helper()
	var g errgroup.Group
	for _, d := range slices.Concat(e.Controllers, e.Agents) {
		g.Go(func() error {
			d.Args = args
			return d.Restart()
		})
	}
	if err := g.Wait(); err != nil {
		e.T.Fatal(err)
	}
}

// running returns what bgpd runs on each node.
func running(e *e2e.Test) map[string]string {
	e.T.Helper()
	out := map[string]string{}
	for _, n := range e.Nodes {
		text, err := n.FRR.Vtysh(e.T.Context(), "show running-config bgpd")
		if err != nil {
			e.T.Fatal(err)
		}
		out[n.Name] = text
	}
	return out
}

// queueStarts returns how often each agent has started bgpd's queue.
func queueStarts(t *testing.T, e *e2e.Test) map[string]int {
	t.Helper()
	out := map[string]int{}
	for _, d := range e.Agents {
		log, err := os.ReadFile(e.LogFile(d.Name))
		if err != nil {
			t.Fatal(err)
		}
		lines, err := journey.Read(d.Name, bytes.NewReader(log))
		if err != nil {
			t.Fatal(err)
		}
		out[d.Name] = 0
		for _, l := range lines {
			if l.Message == trace.Hurried {
				out[d.Name]++
			}
		}
	}
	return out
}

// has wants a way to have steps.
func has(t *testing.T, way []journey.Step, names ...string) {
	t.Helper()
	for _, name := range names {
		if !slices.ContainsFunc(way, func(s journey.Step) bool { return s.Name == name }) {
			t.Errorf("no step %q among %+v", name, way)
		}
	}
}

// ordered wants steps to follow each other.
func ordered(t *testing.T, way []journey.Step, names ...string) {
	t.Helper()
	var got []string
	for _, s := range way {
		if slices.Contains(names, s.Name) {
			got = append(got, s.Name)
		}
	}
	if diff := cmp.Diff(names, got); diff != "" {
		t.Errorf("order of steps (-want +got):\n%s", diff)
	}
}
