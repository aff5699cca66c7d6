// SPDX-License-Identifier: Apache-2.0

package render

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestSpread uses so few numbers that some contents have the same hash.
func TestSpread(t *testing.T) {
	const limit = 64
	var contents []string
	for i := range limit / 4 {
		contents = append(contents, fmt.Sprint("content ", i))
	}
	numbers := spread(contents, "test", limit)

	holder := map[uint32]string{}
	moved := 0
	for i, n := range numbers {
		if n < 1 || n > limit {
			t.Errorf("%s has number %d", contents[i], n)
		}
		if other, ok := holder[n]; ok {
			t.Errorf("%s and %s both have number %d", other, contents[i], n)
		}
		holder[n] = contents[i]
		if n != spread(contents[i:i+1], "test", limit)[0] {
			moved++
		}
	}
	if moved < 2 || moved == len(contents) {
		t.Fatalf("%d of %d numbers differ from those without others; the test needs some of both", moved, len(contents))
	}

	reversed := make([]string, len(contents))
	want := make([]uint32, len(contents))
	for i := range contents {
		reversed[len(contents)-1-i], want[len(contents)-1-i] = contents[i], numbers[i]
	}
	if diff := cmp.Diff(want, spread(reversed, "test", limit)); diff != "" {
		t.Errorf("the order of the contents matters (-want +got):\n%s", diff)
	}

	// A number that several contents left goes to none of them.
	for i, c := range contents {
		alone := spread(contents[i:i+1], "test", limit)[0]
		if numbers[i] != alone && holder[alone] != "" {
			t.Errorf("%s left number %d, and %s has it", c, alone, holder[alone])
		}
	}
}
