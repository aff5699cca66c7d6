// SPDX-License-Identifier: Apache-2.0

package trace_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/heraldlb/herald/trace"
)

// Lines are below debug, and cost no memory while they are off.
func TestLevel(t *testing.T) {
	var out bytes.Buffer
	at := func(l slog.Level) *slog.Logger {
		return slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: l}))
	}
	debug, all := at(slog.LevelDebug), at(slog.Level(-100))
	if trace.On(debug) || !trace.On(all) {
		t.Errorf("on at debug: %t, at all: %t", trace.On(debug), trace.On(all))
	}
	if n := testing.AllocsPerRun(100, func() { trace.Line(debug, trace.Pass, "took", 1) }); n > 0 || out.Len() > 0 {
		t.Errorf("a line that is off takes %v allocations and writes %q", n, out.String())
	}
	trace.Line(all, trace.Pass, "took", 1)
	if got := out.String(); !strings.Contains(got, "msg=pass took=1") {
		t.Errorf("written: %q", got)
	}
}
