// SPDX-License-Identifier: Apache-2.0

package sidecar

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/heraldlb/herald/frr/contract"
)

func TestAgentWatch(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, contract.HeartbeatFile)
	beat := func(age time.Duration) {
		t.Helper()
		at := time.Now().Add(-age)
		if err := os.WriteFile(path, nil, 0o640); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	var calls []bool
	watch := func(timeout time.Duration) *AgentWatch {
		calls = nil
		return NewAgentWatch(AgentWatchOptions{
			Dir: dir, Timeout: timeout, Logger: quiet,
			Withdraw: func(yes bool) { calls = append(calls, yes) },
		})
	}
	want := func(what string, w *AgentWatch, gone bool, withdrawals ...bool) {
		t.Helper()
		if w.Withdrawn() != gone || !slices.Equal(calls, withdrawals) {
			t.Errorf("%s: gone %v and calls %v, want %v and %v", what, w.Withdrawn(), calls, gone, withdrawals)
		}
	}

	w := watch(50 * time.Millisecond)
	w.Begin()
	want("at the start there never was an agent", w, false)
	time.Sleep(60 * time.Millisecond)
	w.look()
	want("none came", w, true, true)
	w.look()
	want("none came still", w, true, true)
	beat(0)
	w.look()
	want("one came", w, false, true, false)
	time.Sleep(60 * time.Millisecond)
	w.look()
	want("it went", w, true, true, false, true)

	beat(time.Hour)
	w = watch(time.Minute)
	w.Begin()
	want("it went before the start", w, true, true)
	w = watch(2 * time.Hour)
	w.Begin()
	want("it went a short while before the start", w, false)
	w = watch(0)
	w.Begin()
	want("it may be away for ever", w, false)

	// After the clock was set back, the agent does not count as gone.
	beat(-time.Hour)
	w = watch(time.Minute)
	w.Begin()
	want("the last sign is of the future", w, false)
}
