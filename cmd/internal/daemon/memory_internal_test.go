// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"
)

// The operator decides by GOGC how much gcPercent there may be, or the daemon does.
func TestGarbage(t *testing.T) {
	limit := debug.SetMemoryLimit(-1)
	t.Cleanup(func() {
		debug.SetGCPercent(100)
		debug.SetMemoryLimit(limit)
	})
	for value, want := range map[string]int{"": gcPercent, "200": 200} {
		t.Setenv("GOGC", value)
		debug.SetGCPercent(200) // as Go does, which reads the environment at its start
		LimitMemory(slog.New(slog.DiscardHandler))
		if got := debug.SetGCPercent(100); got != want {
			t.Errorf("GOGC=%q: collected at %d %%, want %d", value, got, want)
		}
	}
}

func TestMemoryLimit(t *testing.T) {
	for _, tt := range []struct {
		name, file, text string
		want             int64
	}{
		{"no control group", "other", "", 0},
		{"version 2", "memory.max", "536870912\n", 512 << 20},
		{"version 2, no limit", "memory.max", "max\n", 0},
		{"version 1", "memory/memory.limit_in_bytes", "536870912\n", 512 << 20},
		{"version 1, no limit", "memory/memory.limit_in_bytes", "9223372036854771712\n", 0},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, tt.file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(tt.text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := memoryLimit(dir); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

// Garbage is bounded unless the operator says otherwise.
func TestLimitGarbage(t *testing.T) {
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	for _, tt := range []struct {
		gogc string
		want int
	}{{"200", 100}, {"", gcPercent}} {
		t.Setenv("GOGC", tt.gogc)
		LimitMemory(slog.New(slog.DiscardHandler))
		if got := debug.SetGCPercent(100); got != tt.want {
			t.Errorf("GOGC=%q: %d %%, want %d", tt.gogc, got, tt.want)
		}
	}
}
