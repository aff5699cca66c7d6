// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/frr/contract"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func TestRun(t *testing.T) {
	none := func(string) string { return "" }
	tests := []struct {
		name string
		args []string
		code int
		says string
	}{
		{"version", []string{"--version"}, 0, name + " version "},
		{"no FRR", []string{"--user=", "--daemon-dir=" + t.TempDir()}, 1, "find FRR: "},
		{"a mode that is none", []string{"--stop=later"}, 1, `--stop "later": want `},
		{"an argument", []string{"now"}, 1, "unknown command"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			if code := run(t.Context(), tt.args, none, &out, &out); code != tt.code || !strings.Contains(out.String(), tt.says) {
				t.Errorf("exit status %d and %q, want %d and %q", code, out.String(), tt.code, tt.says)
			}
		})
	}
}

func TestFindDaemons(t *testing.T) {
	dir := t.TempDir()
	touch := func(name string) {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range fourDaemons {
		if _, err := findDaemons(dir); err == nil {
			t.Errorf("without %s: no error", d)
		}
		touch(d)
	}
	if got, err := findDaemons(dir); err != nil || !slices.Equal(got, fourDaemons) {
		t.Errorf("FRR 8: %v, %v", got, err)
	}
	touch("mgmtd")
	if got, err := findDaemons(dir); err != nil || got[0] != "mgmtd" || len(got) != 5 {
		t.Errorf("FRR 10: %v, %v", got, err)
	}
}

func TestPrepare(t *testing.T) {
	dir := t.TempDir()
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if err := prepare(dir, fourDaemons, true); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(read("daemons"), "bgpd=yes\n") || !strings.Contains(read("daemons"), "mgmtd=no\n") {
		t.Errorf("daemons: %s", read("daemons"))
	}
	if read("vtysh.conf") != vtyshConf || read(contract.ConfFile) != emptyConf {
		t.Errorf("vtysh.conf %q, frr.conf %q", read("vtysh.conf"), read(contract.ConfFile))
	}
	if err := os.WriteFile(filepath.Join(dir, contract.ConfFile), []byte("hostname n1\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := prepare(dir, fourDaemons, true); err != nil || read(contract.ConfFile) != "hostname n1\n" {
		t.Errorf("prepared again: %v, frr.conf is %q", err, read(contract.ConfFile))
	}
	// Who has opened a file reads it to its end, with a mode that lets FRR's group in.
	open := filepath.Join(t.TempDir(), "open")
	err := errors.Join(
		os.WriteFile(filepath.Join(dir, "vtysh.conf"), []byte("of the version before\n"), 0o640),
		os.Link(filepath.Join(dir, "vtysh.conf"), open),
		prepare(dir, fourDaemons, true),
	)
	if text, _ := os.ReadFile(open); err != nil || string(text) != "of the version before\n" || read("vtysh.conf") != vtyshConf {
		t.Errorf("vtysh.conf is %q, whoever had it open reads %q; %v", read("vtysh.conf"), text, err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 4 {
		t.Errorf("files are %v, %v", files, err)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Mode() != 0o640 {
			t.Errorf("%s has mode %v, %v", f.Name(), info.Mode(), err)
		}
	}
	if !contract.HasMetrics(dir) {
		t.Error("no word of the metrics")
	}
	if err := prepare(dir, fourDaemons, false); err != nil || contract.HasMetrics(dir) {
		t.Errorf("without metrics: %v, has them: %v", err, contract.HasMetrics(dir))
	}
	if err := prepare(filepath.Join(dir, "missing"), fourDaemons, true); err == nil {
		t.Error("a folder that is not there is no error")
	}
}

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
	watch := func(timeout time.Duration) *agentWatch {
		calls = nil
		return newAgentWatch(agentWatchOptions{
			Dir: dir, Timeout: timeout, Logger: quiet,
			Withdraw: func(yes bool) { calls = append(calls, yes) },
		})
	}
	want := func(what string, w *agentWatch, missed bool, withdrawals ...bool) {
		t.Helper()
		if w.missed() != missed || !slices.Equal(calls, withdrawals) {
			t.Errorf("%s: missed %v and calls %v, want %v and %v", what, w.missed(), calls, missed, withdrawals)
		}
	}

	w := watch(50 * time.Millisecond)
	w.begin()
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
	w.begin()
	want("it went before the start", w, true, true)
	w = watch(2 * time.Hour)
	w.begin()
	want("it went a short while before the start", w, false)
	w = watch(0)
	w.begin()
	want("it may be away for ever", w, false)

	// A clock that was set back is no sign of an agent that is gone.
	beat(-time.Hour)
	w = watch(time.Minute)
	w.begin()
	want("the last sign is of the future", w, false)
}
