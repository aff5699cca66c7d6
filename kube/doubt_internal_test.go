// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"testing"
	"time"
)

func TestDoubter(t *testing.T) {
	named := func(from, to int) (all []int) {
		for i := from; i < to; i++ {
			all = append(all, i)
		}
		return all
	}
	start := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		name  string
		known int
		list  []int
		after time.Duration // since the first
		holds bool
		told  int // of the test so far
	}{
		{"nothing is known", 0, nil, 0, false, 0},
		{"all of one", 1, named(0, 1), 0, false, 0},
		{"none of one", 1, nil, 0, true, 1},
		{"again, at once", 1, nil, time.Second, true, 1},
		{"again, later", 1, nil, doubtPause, false, 1},
		{"another time", 1, nil, doubtPause, true, 2},
		{"it is back", 1, named(0, 1), doubtPause, false, 2},
		{"and gone: a new doubt", 1, nil, 2 * doubtPause, true, 3},
		{"one of nine is left", 9, named(0, 1), 0, false, 3},
		{"half of ten are left", 10, named(0, 5), 0, false, 3},
		{"fewer than half of ten", 10, named(0, 4), 0, true, 4},
		{"as many, but others", 10, named(6, 16), time.Second, true, 4},
		{"as many, but others, later", 10, named(6, 16), doubtPause, false, 4},
		{"none that is known", 3, named(3, 6), doubtPause, true, 5},
	}
	told := 0
	d := &doubter{what: "Services", tell: func(Doubt) { told++ }}
	for _, tt := range tests {
		left := 0
		for _, o := range tt.list {
			if o < tt.known {
				left++
			}
		}
		if got := d.holds(tt.known, left, start.Add(tt.after)); got != tt.holds || told != tt.told {
			t.Errorf("%s: holds %v, told %d times; want %v, %d", tt.name, got, told, tt.holds, tt.told)
		}
	}
	if (*doubter)(nil).holds(2, 0, start) {
		t.Error("in doubt without a doubter")
	}
}
