// SPDX-License-Identifier: Apache-2.0

package reconcile_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/handover"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/source"
)

// A growing cluster has one more node each time that it is looked at. It is the
// layer 2 of node n1, too, and notes what a pass asks for, in order.
type growing struct {
	*scene
	drain cluster.Drain // of n1
	stale bool
	nodes int
	notes []string
}

func (g *growing) note(format string, args ...any) {
	g.notes = append(g.notes, fmt.Sprintf(format, args...))
}

func (g *growing) Snapshot() (cluster.Snapshot, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.nodes++
	nodes := []*cluster.Node{{Name: "n1", Drain: g.drain}}
	for i := range g.nodes - 1 {
		nodes = append(nodes, &cluster.Node{Name: fmt.Sprintf("n%d", i+2)})
	}
	g.note("a snapshot of %d", g.nodes)
	return cluster.Snapshot{Nodes: nodes}, true
}

func (g *growing) Tables() (cluster.Tables, bool) {
	s, synced := g.Snapshot()
	return cluster.TablesOf(s), synced
}

func (g *growing) SetNodes(nodes []*cluster.Node) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.note("layer 2 has %d", len(nodes))
}

func (g *growing) Neighborhood() reconcile.Neighborhood {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.note("its neighborhood")
	return reconcile.Neighborhood{Membership: announce.Membership{Stale: g.stale, Members: []announce.Member{{Node: "n1"}}}}
}

func (*growing) Set(handover.Answers)       {}
func (*growing) Ask(bool)                   {}
func (*growing) Tell([]announce.Sent)       {}
func (*growing) Alone(int)                  {}
func (*growing) SetFaults([]announce.Fault) {}

// passes checks that each pass looked once at everything, all of one cluster, and
// returns how many passes there were.
func (g *growing) passes(t *testing.T) int {
	t.Helper()
	synctest.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.notes) != 3*g.nodes {
		t.Fatalf("%d snapshots, and %d looks: want three in each pass: %q", g.nodes, len(g.notes), g.notes)
	}
	for i := range g.nodes {
		want := []string{fmt.Sprintf("a snapshot of %d", i+1), fmt.Sprintf("layer 2 has %d", i+1), "its neighborhood"}
		for j, note := range g.notes[3*i : 3*i+3] {
			if note != want[j] {
				t.Errorf("pass %d: %q, want %q", i+1, note, want[j])
			}
		}
	}
	return g.nodes
}

func runGrowing(t *testing.T, g *growing) (stop func()) {
	worker := reconcile.NewWorker()
	g.scene = &scene{wake: worker.Wake, doc: &source.Document{Source: "configmap x", Text: []byte(goodConfig)}}
	a := reconcile.NewAgent(reconcile.AgentOptions{
		Verify: true, Node: "n1", Worker: worker, Cluster: g, Documents: g, FRR: router{g.scene}, Routers: routers{g.scene}, Reporter: reporter{g.scene},
		Layer2: g, Logger: verifierLog(t),
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- a.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	}
}

// A pass looks at the cluster once, and at the network once, and both are about the
// same nodes.
func TestAgentPassReadsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &growing{}
		stop := runGrowing(t, g)
		defer stop()
		for range 3 {
			settle()
			g.wake()
		}
		settle()
		if n := g.passes(t); n != 4 {
			t.Errorf("%d passes, want 4", n)
		}
	})
}

// So does one that decides nothing, as the agent does not know yet who is alive.
func TestAgentPutOffReadsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &growing{stale: true, drain: cluster.Drain{Since: time.Now().Add(-time.Hour)}}
		stop := runGrowing(t, g)
		defer stop()
		time.Sleep(5 * time.Second)
		if n := g.passes(t); n < 10 || g.report.Synced {
			t.Errorf("%d passes, the report is %+v; want some, and none that decides", n, g.report)
		}
	})
}
