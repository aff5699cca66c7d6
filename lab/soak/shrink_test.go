// SPDX-License-Identifier: Apache-2.0

package soak_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/lab/soak"
)

// The steps that a failure needs are found, and no others; the number of attempts stays
// far below that of all lists.
func TestShrink(t *testing.T) {
	steps := soak.Generate(3, 60).Steps
	for i := range steps {
		steps[i].Number = i // each is another one
	}
	for _, needed := range [][]int{{0}, {59}, {31}, {5, 40}, {0, 30, 59}, {10, 11, 12, 13}} {
		attempts := 0
		fails := func(try []soak.Step) bool {
			attempts++
			for _, n := range needed {
				if !slices.ContainsFunc(try, func(s soak.Step) bool { return s.Number == n }) {
					return false
				}
			}
			return true
		}
		var want []soak.Step
		for _, n := range needed {
			want = append(want, steps[n])
		}
		got := soak.Shrink(steps, func() bool { return true }, fails)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%v (-want +got):\n%s", needed, diff)
		}
		if attempts > 120 {
			t.Errorf("%v: %d attempts", needed, attempts)
		}
	}
}

// Without time the list stays as it is, and what was found so far is not lost.
func TestShrinkTime(t *testing.T) {
	steps := soak.Generate(3, 40).Steps
	got := soak.Shrink(steps, func() bool { return false }, func([]soak.Step) bool { t.Error("it tries without time"); return true })
	if diff := cmp.Diff(steps, got); diff != "" {
		t.Errorf("it is changed:\n%s", diff)
	}
	tries := 0
	got = soak.Shrink(steps, func() bool { tries++; return tries <= 1 }, func([]soak.Step) bool { return true })
	if len(got) != 20 {
		t.Errorf("after one attempt there are %d steps, want 20", len(got))
	}
}
