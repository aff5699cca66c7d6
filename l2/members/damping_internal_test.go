// SPDX-License-Identifier: Apache-2.0

package members

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDamping(t *testing.T) {
	type event struct {
		after time.Duration // the event before
		dies  string        // node
		left  int
		joins string // node
		epoch uint64
	}
	outage := func(node string, left int, epoch uint64, gap time.Duration) []event {
		return []event{{after: gap, dies: node, left: left, epoch: epoch}, {after: time.Second, joins: node, epoch: epoch}}
	}
	alone := []event{ // the observer's own cable is pulled, and plugged in again
		{after: 5 * time.Second, dies: "b", left: 2, epoch: 1}, {after: time.Second, dies: "c", left: 1, epoch: 1},
		{after: time.Second, joins: "b", epoch: 1}, {joins: "c", epoch: 1},
	}
	tests := []struct {
		name   string
		events []event
		want   []string // damped in the end
	}{
		{"two outages of one node", slices.Repeat(outage("b", 2, 1, 5*time.Second), 2), nil},
		{"three outages of one node", slices.Repeat(outage("b", 2, 1, 5*time.Second), 3), []string{"b"}},
		{"three outages in three minutes", slices.Repeat(outage("b", 2, 1, time.Minute), 3), nil},
		{"three outages of as many nodes", slices.Concat(outage("b", 3, 1, 0), outage("c", 3, 1, time.Second), outage("d", 3, 1, time.Second)), nil},
		{"three outages of the observer", slices.Repeat(alone, 3), []string{"a"}},
		{"three outages of one of two nodes, which may have been the observer's", slices.Repeat(outage("b", 1, 1, 5*time.Second), 3), nil},
		{
			"three crashes of one of two nodes",
			[]event{
				{dies: "b", left: 1, epoch: 1}, {after: time.Second, joins: "b", epoch: 2},
				{dies: "b", left: 1, epoch: 2}, {after: time.Second, joins: "b", epoch: 3},
				{dies: "b", left: 1, epoch: 3}, {after: time.Second, joins: "b", epoch: 4},
			},
			[]string{"b"},
		},
		{"a node that joins and was never seen dead", slices.Repeat([]event{{after: time.Second, joins: "b", epoch: 1}}, 5), nil},
		{
			"three outages, and quiet for a minute",
			append(slices.Repeat(outage("b", 2, 1, 5*time.Second), 3), event{after: time.Minute, joins: "c"}),
			nil,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDamping("a")
			now := time.Unix(1_000_000, 0)
			for _, e := range tt.events {
				now = now.Add(e.after)
				d.expire(now)
				if e.dies != "" {
					d.died(e.dies, e.epoch, e.left, now)
				} else {
					d.joined(e.joins, e.epoch, now)
				}
			}
			if diff := cmp.Diff(tt.want, slices.Sorted(maps.Keys(d.until))); diff != "" {
				t.Errorf("damped (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLearnDamping(t *testing.T) {
	d := newDamping("a")
	now := time.Unix(1_000_000, 0)
	steps := []struct {
		name    string
		after   time.Duration
		penalty time.Duration
		news    bool
	}{
		{"the first", 0, 30 * time.Second, true},
		{"the same again", 0, 30 * time.Second, false},
		{"the same, late", 100 * time.Millisecond, 30 * time.Second, false},
		{"a shorter one", 0, 20 * time.Second, false},
		{"a longer one", 0, 40 * time.Second, true},
		{"one that is longer than any", 0, time.Hour, true},
		{"it counted as the longest", 0, dampingPenalty, false},
	}
	for _, s := range steps {
		now = now.Add(s.after)
		if news := d.learn("b", s.penalty, now); news != s.news {
			t.Errorf("%s: news is %t", s.name, news)
		}
	}
	if d.expire(now.Add(dampingPenalty - 1)) {
		t.Error("over too early")
	}
	if !d.expire(now.Add(dampingPenalty)) {
		t.Error("not over after the penalty")
	}
}
