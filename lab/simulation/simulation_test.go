// SPDX-License-Identifier: Apache-2.0

package simulation_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/heraldlb/herald/lab/simulation"
)

// run simulates a cluster in which everything came to be as it should be, and returns its
// phases.
func run(t *testing.T, o simulation.Options) map[string]simulation.Phase {
	t.Helper()
	o.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	r, err := simulation.Run(t, o)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]simulation.Phase{}
	for _, p := range r.Phases {
		out[p.Name] = p
	}
	return out
}

// quiet wants nothing to have been written, and the simulation to have counted.
func quiet(t *testing.T, p simulation.Phase) {
	t.Helper()
	if n := p.Silent.Writes + p.Announcing.Writes + p.Controller.Writes; n > 0 {
		t.Errorf("%s: %d writes: agents %v %v, controller %v", p.Name, n, p.Silent.Requests, p.Announcing.Requests, p.Controller.Requests)
	}
	if p.Announcing.Watched == 0 {
		t.Errorf("%s: no watch says how far it has come", p.Name)
	}
}

// In a small cluster, half of whose agents run as a whole, each address has exactly one
// owner for all, and each status object is right: after a start, after endpoints have
// moved, in the halves of a partition and after it, and after all agents were restarted.
func TestGossip(t *testing.T) {
	o := simulation.Options{
		Agents: 24, Services: 96, Whole: 12, Edge: 4, Changes: 6, Groups: 3,
		Settle: 20 * time.Second, Idle: time.Minute + time.Second,
	}
	phases := run(t, o)
	quiet(t, phases["idle"])
	for _, name := range []string{"partition", "heal", "restart"} {
		if p := phases[name]; p.Gossip.Packets == 0 || p.Took == 0 {
			t.Errorf("%s: %+v", name, p)
		}
	}
	restart := phases["restart"].Agents.Requests
	if n := restart["watch services"]; n == 0 {
		t.Error("no agent has read the Services again after its restart")
	}
	if n := restart["patch servicebgpstatuses"] + restart["create servicebgpstatuses"] + restart["delete servicebgpstatuses"]; n > 0 {
		t.Errorf("a restart of all agents, which changes no route, wrote %d statuses: %v", n, restart)
	}
}

// A change of an endpoint makes only nodes write that announce the Service: as much with
// ten times as many nodes.
func TestChanges(t *testing.T) {
	const changes = 12
	moved := 0 // Services that are announced over BGP
	for n := range changes {
		if n*31%48%2 == 0 {
			moved++
		}
	}
	for _, agents := range []int{12, 120} {
		phases := run(t, simulation.Options{
			Agents: agents, Services: 48, Whole: 10, Edge: 5, Changes: changes, Groups: 2,
			Settle: 20 * time.Second, Idle: time.Minute + time.Second, Roster: true,
		})
		quiet(t, phases["idle"])
		p := phases["endpoints"]
		if p.Silent.Writes > 0 {
			t.Errorf("%d agents: those that announce nothing wrote %v", agents, p.Silent.Requests)
		}
		// All nodes at the edge run as a whole: one makes a status, another deletes one.
		for verb, want := range map[string]int{"create": moved, "patch": 0, "delete": moved} {
			if n := p.Announcing.Requests[verb+" servicebgpstatuses"]; n != want {
				t.Errorf("%d agents: %d Services moved, and %d requests to %s a status", agents, moved, n, verb)
			}
		}
	}
}
