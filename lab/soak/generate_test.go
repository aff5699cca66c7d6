// SPDX-License-Identifier: Apache-2.0

package soak_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/lab/soak"
)

// The same seed gives the same steps, another seed others, and more steps begin as fewer
// do.
func TestGenerate(t *testing.T) {
	a := soak.Generate(7, 300)
	if diff := cmp.Diff(a, soak.Generate(7, 300)); diff != "" {
		t.Errorf("the same seed gives other steps:\n%s", diff)
	}
	if cmp.Equal(a.Steps, soak.Generate(8, 300).Steps) {
		t.Error("another seed gives the same steps")
	}
	if len(a.Steps) != 300 {
		t.Errorf("there are %d steps, want 300", len(a.Steps))
	}
	if diff := cmp.Diff(a.Steps[:99], soak.Generate(7, 100).Steps[:99]); diff != "" {
		t.Errorf("fewer steps are others:\n%s", diff)
	}
	if last := a.Steps[299].Kind; last != soak.Quiet {
		t.Errorf("the last step is %s", last)
	}
	if n := len(soak.Generate(7, 0).Steps); n != 0 {
		t.Errorf("no steps are %d", n)
	}
}

// Every kind is drawn, and a plan that is written and read is the same.
func TestPlan(t *testing.T) {
	p := soak.Generate(1, 2000)
	for _, k := range soak.Kinds() {
		if !slices.ContainsFunc(p.Steps, func(s soak.Step) bool { return s.Kind == k }) {
			t.Errorf("no step is a %s", k)
		}
	}
	var b bytes.Buffer
	if err := p.Write(&b); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(b.String(), "\n"); n != 2002 {
		t.Errorf("the plan has %d lines, want one for each step and two more", n)
	}
	read, err := soak.ReadPlan(&b)
	if diff := cmp.Diff(p, read); err != nil || diff != "" {
		t.Errorf("%v (-written +read):\n%s", err, diff)
	}
}

// A plan that no lab can carry out is refused, and its step is named.
func TestReadPlan(t *testing.T) {
	tests := []struct{ name, steps, want string }{
		{"unknown kind", `{"kind": "earthquake"}`, `step 1: unknown kind "earthquake"`},
		{"unknown node", `{"kind": "quiet"}, {"kind": "agent-kill", "node": "n9"}`, `step 2: agent-kill: no node "n9"`},
		{"unknown target", `{"kind": "daemon-kill", "node": "n1", "target": "init"}`, `step 1: daemon-kill: no target "init"`},
		{"unknown endpoint", `{"kind": "endpoints", "target": "churn-0", "nodes": ["n4"]}`, `step 1: endpoints: no node "n4"`},
		{"too long", `{"kind": "api-gone", "hold": 3600000}`, "step 1: api-gone: a time"},
		{"unknown field", `{"kind": "quiet", "colour": 1}`, "colour"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := soak.ReadPlan(strings.NewReader(`{"seed": 1, "steps": [` + tt.steps + `]}`))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the error is %v, want %q", err, tt.want)
			}
		})
	}
}

// A world without one of its steps is a world too.
func TestWorld(t *testing.T) {
	w := soak.NewWorld().
		Apply(soak.Step{Kind: soak.Endpoints, Target: "churn-0", Nodes: []string{"n1"}}).
		Apply(soak.Step{Kind: soak.ServiceDelete, Target: "churn-0"}).
		Apply(soak.Step{Kind: soak.AgentKill, Node: "n1"})
	if diff := cmp.Diff(soak.NewWorld(), w); diff != "" {
		t.Errorf("steps that find nothing to do change the world:\n%s", diff)
	}
	w = w.Apply(soak.Step{Kind: soak.ServiceCreate, Target: "churn-0", Pool: "spare", Local: true, Nodes: []string{"n1", "n2"}})
	svc := w.Services["churn-0"]
	if got := w.Announcers(svc); !slices.Equal(got, []string{"n1", "n2"}) {
		t.Errorf("%v announce a Service with local traffic", got)
	}
	if got := w.Apply(soak.Step{Kind: soak.PoolDelete}).Announcers(svc); got != nil {
		t.Errorf("%v announce a Service of a pool that is gone", got)
	}
	on := w.Services["switch-a"]
	if !w.Layer2(on) || w.Apply(soak.Step{Kind: soak.PoolSwitch}).Layer2(on) {
		t.Error("a switch does not change the protocol")
	}
	if _, there := soak.NewWorld().Services["churn-0"]; there {
		t.Error("a step changes another world")
	}
}
