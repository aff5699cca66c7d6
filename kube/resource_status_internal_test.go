// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"encoding/json"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/wake"
)

func TestWantedStatus(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	pool := status.Pool{Name: "p", TotalV4: big.NewInt(256), TotalV6: new(big.Int).Lsh(big.NewInt(1), 80), InUseV4: 3}
	ok := config.Verdict{ID: config.ID{Kind: config.KindPool, Name: "p"}, Generation: 2, Accepted: true, Reason: "Accepted", Message: "in force"}
	unadvertised := ok
	unadvertised.Notes = []string{config.NoteUnadvertised}
	bad := ok
	bad.Generation, bad.Accepted, bad.Reason, bad.Message, bad.InForce = 3, false, "Conflict", "overlaps", []byte(`{"spec":{}}`)
	var have resourceStatus
	steps := []struct {
		name    string
		verdict config.Verdict
		pool    status.Pool
		after   time.Duration // since the step before
		want    string        // empty: nothing is to be written
	}{
		{"first", ok, pool, 0, `{"conditions":[{"type":"Accepted","status":"True","observedGeneration":2,"lastTransitionTime":"2026-05-01T12:00:00Z","reason":"Accepted","message":"in force"},{"type":"Advertised","status":"True","observedGeneration":2,"lastTransitionTime":"2026-05-01T12:00:00Z","reason":"Advertised","message":"an advertisement selects it"}],"inForce":null,"assignedIPv4":3,"assignedIPv6":0,"availableIPv4":253,"availableIPv6":9223372036854775807,"usageIPv4":"3/256","usageIPv6":"0/2^80"}`},
		{"again", ok, pool, time.Hour, ""},
		{"refused", bad, pool, time.Hour, `{"conditions":[{"type":"Accepted","status":"False","observedGeneration":3,"lastTransitionTime":"2026-05-01T14:00:00Z","reason":"Conflict","message":"overlaps"},{"type":"Advertised","status":"True","observedGeneration":2,"lastTransitionTime":"2026-05-01T12:00:00Z","reason":"Advertised","message":"an advertisement selects it"}],"inForce":"{\"spec\":{}}","assignedIPv4":3,"assignedIPv6":0,"availableIPv4":253,"availableIPv6":9223372036854775807,"usageIPv4":"3/256","usageIPv6":"0/2^80"}`},
		{"refused again", bad, pool, time.Hour, ""},
		{"accepted", ok, pool, time.Hour, `{"conditions":[{"type":"Accepted","status":"True","observedGeneration":2,"lastTransitionTime":"2026-05-01T16:00:00Z","reason":"Accepted","message":"in force"},{"type":"Advertised","status":"True","observedGeneration":2,"lastTransitionTime":"2026-05-01T12:00:00Z","reason":"Advertised","message":"an advertisement selects it"}],"inForce":null,"assignedIPv4":3,"assignedIPv6":0,"availableIPv4":253,"availableIPv6":9223372036854775807,"usageIPv4":"3/256","usageIPv6":"0/2^80"}`},
		{"one more address", ok, status.Pool{Name: "p", TotalV4: big.NewInt(256), TotalV6: big.NewInt(0), InUseV4: 4}, time.Hour, `{"conditions":[{"type":"Accepted","status":"True","observedGeneration":2,"lastTransitionTime":"2026-05-01T16:00:00Z","reason":"Accepted","message":"in force"},{"type":"Advertised","status":"True","observedGeneration":2,"lastTransitionTime":"2026-05-01T12:00:00Z","reason":"Advertised","message":"an advertisement selects it"}],"inForce":null,"assignedIPv4":4,"assignedIPv6":0,"availableIPv4":252,"availableIPv6":0,"usageIPv4":"4/256","usageIPv6":""}`},
		{"no advertisement any more", unadvertised, status.Pool{Name: "p", TotalV4: big.NewInt(256), TotalV6: big.NewInt(0), InUseV4: 4}, time.Hour, `{"conditions":[{"type":"Accepted","status":"True","observedGeneration":2,"lastTransitionTime":"2026-05-01T16:00:00Z","reason":"Accepted","message":"in force"},{"type":"Advertised","status":"False","observedGeneration":2,"lastTransitionTime":"2026-05-01T18:00:00Z","reason":"NoAdvertisement","message":"no advertisement selects it, so that its addresses are not announced"}],"inForce":null,"assignedIPv4":4,"assignedIPv6":0,"availableIPv4":252,"availableIPv6":0,"usageIPv4":"4/256","usageIPv6":""}`},
	}
	for _, s := range steps {
		now = now.Add(s.after)
		want, changed := have.next(reconcile.ResourceStatus{Verdict: s.verdict, Pool: &s.pool}, now)
		if !changed {
			if s.want != "" {
				t.Errorf("%s: nothing is to be written", s.name)
			}
			continue
		}
		b, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if string(b) != s.want {
			t.Errorf("%s: got  %s\nwant %s", s.name, b, s.want)
		}
		have = resourceStatus{}
		if err := json.Unmarshal(b, &have); err != nil {
			t.Fatal(err)
		}
	}
	have.Conditions = append(have.Conditions, metaCondition{Type: "Other", Status: "True"})
	if want, _ := have.next(reconcile.ResourceStatus{Verdict: bad, Pool: &pool}, now); len(want.Conditions) != 3 || want.Conditions[2].Type != "Other" {
		t.Errorf("the condition of somebody else is gone: %+v", want.Conditions)
	}
}

func TestStateStatus(t *testing.T) {
	s := NewStateWriter(StateWriterOptions{Node: "n1"})
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	var have stateStatus
	for _, step := range []struct {
		name   string
		state  reconcile.State
		result string
		change bool
	}{
		{"nothing yet", reconcile.State{}, "Unknown", true},
		{"valid", reconcile.State{Known: true}, "Valid", true},
		{"still valid", reconcile.State{Known: true}, "Valid", false},
		{"two mistakes", reconcile.State{Known: true, Errors: []string{"a", "b"}}, "Invalid", true},
		{"still", reconcile.State{Known: true, Errors: []string{"a", "b"}}, "Invalid", false},
		{"one mistake", reconcile.State{Known: true, Errors: []string{"b"}}, "Invalid", true},
	} {
		want, changed := s.status(have, step.state, now)
		if want.Result != step.result || changed != step.change {
			t.Errorf("%s: result %s, changed %v; want %s, %v", step.name, want.Result, changed, step.result, step.change)
		}
		if want.ErrorSummary != strings.Join(step.state.Errors, "\n") || want.Conditions[0].Type != "configReconcilerValid" {
			t.Errorf("%s: got %+v", step.name, want)
		}
		have, now = want, now.Add(time.Minute)
	}
}

// A pass that sets an equal State starts no round: it would delay the next State by a
// second. Another source is not delayed.
func TestStateWriterSetEqual(t *testing.T) {
	w := NewStateWriter(StateWriterOptions{Node: "n1"})
	is := func(s wake.Signal) bool {
		select {
		case <-s:
			return true
		default:
			return false
		}
	}
	for _, step := range []struct {
		state         reconcile.State
		poked, urgent bool
	}{
		{reconcile.State{Known: true}, true, false},
		{reconcile.State{Known: true}, false, false},
		{reconcile.State{Known: true, Source: "resources"}, true, true},
		{reconcile.State{Known: true, Source: "resources"}, false, false},
		{reconcile.State{Known: true, Source: "resources", Notice: "there is a ConfigMap"}, true, false},
	} {
		w.Set(step.state)
		if poked, urgent := is(w.keeper.poke), is(w.keeper.hurry); poked != step.poked || urgent != step.urgent {
			t.Errorf("%+v: a round starts %v, at once %v, want %v and %v", step.state, poked, urgent, step.poked, step.urgent)
		}
	}
}
