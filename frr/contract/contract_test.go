// SPDX-License-Identifier: Apache-2.0

package contract_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/frr/contract"
)

// TestContract holds both sides to the files of testdata, which have the format of all
// releases so far. Reading them gives the same values, and writing those gives the same
// files. Change them only in a way that the previous version understands, too.
func TestContract(t *testing.T) {
	const golden = "testdata"
	extras, err := contract.ReadExtras(golden)
	if err != nil || string(extras) != "ip prefix-list operators seq 5 permit 198.51.100.0/24\n" {
		t.Errorf("raw configuration: %q, %v", extras, err)
	}
	applied, err := contract.ReadExtrasApplied(golden)
	if err != nil || string(applied) != "ip prefix-list operators seq 5 permit 192.0.2.0/24\n" {
		t.Errorf("raw configuration in force: %q, %v", applied, err)
	}
	result := contract.ExtrasResult{
		Sum: "d2b8aec58b675682afdaecdbb282dae4cc2e8d9697f1c4fc56bc34f131ee6c62", Applied: false,
		Error: "line 4: % Unknown command[10]:  neighbor 10.10.0.254 descripshun rack 7",
		At:    time.Date(2026, 11, 25, 2, 34, 56, 789e6, time.UTC),
	}
	if sum := contract.Sum(extras); sum != result.Sum {
		t.Errorf("sum is %s, want %s", sum, result.Sum)
	}
	if got, err := contract.ReadExtrasResult(golden); err != nil || got != result {
		t.Errorf("result: %+v, %v, want %+v", got, err, result)
	}
	// A later version may add fields.
	if r, err := readResult(t, `{"sum": "x", "applied": true, "at": "2026-11-25T02:34:56Z", "took": "1s"}`); err != nil || r.Sum != "x" || !r.Applied {
		t.Errorf("a result with more in it: %+v, %v", r, err)
	}

	if !contract.HasMetrics(golden) {
		t.Error("herald-frr exports no metrics")
	}

	dir := t.TempDir()
	if _, err := contract.WriteExtras(dir, extras); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(contract.WriteExtrasApplied(dir, applied), contract.WriteExtrasResult(dir, result), contract.Beat(dir), contract.WriteMetrics(dir, true)); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadDir(golden)
	if err != nil {
		t.Fatal(err)
	}
	written, err := os.ReadDir(dir)
	if err != nil || len(written) != len(want) {
		t.Fatalf("files are %v, %v, want %v", written, err, want)
	}
	for i, f := range want {
		if written[i].Name() != f.Name() {
			t.Fatalf("files are %v, want %v", written, want)
		}
		info, err := written[i].Info()
		if err != nil {
			t.Fatal(err)
		}
		if mode := info.Mode(); mode != 0o640 {
			t.Errorf("%s has mode %v", f.Name(), mode)
		}
		a, err1 := os.ReadFile(filepath.Join(golden, f.Name()))
		b, err2 := os.ReadFile(filepath.Join(dir, f.Name()))
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(a), string(b)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", f.Name(), diff)
		}
	}
}

// BeatLast counts for a moment, until EndLast.
func TestLastFile(t *testing.T) {
	dir := t.TempDir()
	is := func(what string, now time.Time, want bool) {
		t.Helper()
		w := contract.LastWatch{Dir: dir}
		for range 2 {
			if got := w.Is(now); got != want {
				t.Errorf("%s: %v, want %v", what, got, want)
			}
		}
	}
	is("nothing was said", time.Now(), false)
	for range 2 {
		if err := contract.BeatLast(dir); err != nil {
			t.Fatal(err)
		}
		is("just said", time.Now(), true)
		is("said long ago", time.Now().Add(4*time.Second), false)
		is("said by a clock that is ahead", time.Now().Add(-time.Hour), false)
	}
	for range 2 {
		if err := contract.EndLast(dir); err != nil {
			t.Fatal(err)
		}
		is("taken back", time.Now(), false)
	}
}

// A clock that is set while the container waits does not end the wait, and an agent that
// has ended does.
func TestLastWhileClockIsSet(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	if err := contract.BeatLast(dir); err != nil {
		t.Fatal(err)
	}
	w := contract.LastWatch{Dir: dir}
	for _, step := range []struct {
		name  string
		after time.Duration
		clock time.Duration // of the agent's last call, against the time of the look
		want  bool
	}{
		{"said", 0, 0, true},
		{"the clock is put forward", time.Second, -time.Hour, true},
		{"put back", time.Second, time.Hour, true},
		{"as before", time.Second, 0, true},
	} {
		now = now.Add(step.after)
		at := now.Add(step.clock)
		if err := os.Chtimes(filepath.Join(dir, contract.LastFile), at, at); err != nil {
			t.Fatal(err)
		}
		if got := w.Is(now); got != step.want {
			t.Errorf("%s: %v", step.name, got)
		}
	}
	if !w.Is(now.Add(2 * time.Second)) {
		t.Error("two seconds later: no longer")
	}
	if w.Is(now.Add(3 * time.Second)) {
		t.Error("three seconds later: still")
	}
}

func TestMetricsFile(t *testing.T) {
	dir := t.TempDir()
	for _, served := range []bool{false, true, true, false, false} {
		if err := contract.WriteMetrics(dir, served); err != nil {
			t.Fatal(err)
		}
		if got := contract.HasMetrics(dir); got != served {
			t.Errorf("wrote %v, read %v", served, got)
		}
	}
	if err := contract.WriteMetrics(filepath.Join(dir, "missing"), true); err == nil {
		t.Error("a folder that does not exist is no error")
	}
}

func readResult(t *testing.T, text string) (contract.ExtrasResult, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, contract.ExtrasResultFile), []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	return contract.ReadExtrasResult(dir)
}

func TestExtrasFiles(t *testing.T) {
	dir := t.TempDir()
	if text, err := contract.ReadExtras(dir); err != nil || text != nil {
		t.Errorf("without a file: %q, %v", text, err)
	}
	if r, err := contract.ReadExtrasResult(dir); err != nil || r != (contract.ExtrasResult{}) {
		t.Errorf("without a result: %+v, %v", r, err)
	}
	for _, step := range []struct {
		text    string
		changed bool
	}{{"", false}, {"a\n", true}, {"a\n", false}, {"b\n", true}, {"", true}} {
		if changed, err := contract.WriteExtras(dir, []byte(step.text)); err != nil || changed != step.changed {
			t.Errorf("write %q: changed %v, %v", step.text, changed, err)
		}
		if text, err := contract.ReadExtras(dir); err != nil || string(text) != step.text {
			t.Errorf("wrote %q, read %q, %v", step.text, text, err)
		}
	}
	want := contract.ExtrasResult{Sum: contract.Sum([]byte("x")), Error: "line 3: neighbor 192.0.2.1 password secret", At: time.Unix(1, 0).UTC()}
	if err := contract.WriteExtrasResult(dir, want); err != nil {
		t.Fatal(err)
	}
	got, err := contract.ReadExtrasResult(dir)
	if err != nil || got.Sum != want.Sum || !got.At.Equal(want.At) || strings.Contains(got.Error, "secret") {
		t.Errorf("wrote %+v, read %+v, %v", want, got, err)
	}
	if err := os.WriteFile(filepath.Join(dir, contract.ExtrasResultFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := contract.ReadExtrasResult(dir); err == nil {
		t.Error("half a result is read without an error")
	}
}

func TestHeartbeat(t *testing.T) {
	dir := t.TempDir()
	if at, err := contract.LastBeat(dir); err != nil || !at.IsZero() {
		t.Errorf("before the first: %v, %v", at, err)
	}
	// An agent that ended a while ago.
	path := filepath.Join(dir, contract.HeartbeatFile)
	if err := os.WriteFile(path, nil, 0o640); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- contract.Heartbeat(ctx, dir, slog.New(slog.DiscardHandler)) }()
	for {
		at, err := contract.LastBeat(dir)
		if err != nil {
			t.Fatal(err)
		}
		if time.Since(at) < time.Minute {
			break
		}
		if t.Context().Err() != nil {
			t.Fatal("no sign of life")
		}
		time.Sleep(time.Millisecond)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// An error is the same each time: the name of a temporary file is not in it.
func TestReplaceFileError(t *testing.T) {
	dir := t.TempDir()
	taken := filepath.Join(dir, "frr.conf")
	if err := os.MkdirAll(filepath.Join(taken, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		taken:                                    "write " + taken + ": file exists",
		filepath.Join(dir, "absent", "frr.conf"): "write " + filepath.Join(dir, "absent", "frr.conf") + ": no such file or directory",
	} {
		for range 2 {
			if err := contract.ReplaceFile(path, []byte("x")); err == nil || err.Error() != want {
				t.Errorf("got %v, want %s", err, want)
			}
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("%d files left, %v, want frr.conf alone", len(left), err)
	}
}
