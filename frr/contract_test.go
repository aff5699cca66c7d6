// SPDX-License-Identifier: Apache-2.0

package frr_test

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

	"github.com/heraldlb/herald/frr"
)

// TestContract holds both ends to the files of testdata/contract, which are as the
// versions so far have left them: what is read from them stays the same, and what
// is written is the same again. Change them only in a way that the version before
// understands too.
func TestContract(t *testing.T) {
	const golden = "testdata/contract"
	extras, err := frr.ReadExtras(golden)
	if err != nil || string(extras) != "ip prefix-list operators seq 5 permit 198.51.100.0/24\n" {
		t.Errorf("raw configuration: %q, %v", extras, err)
	}
	applied, err := frr.ReadExtrasApplied(golden)
	if err != nil || string(applied) != "ip prefix-list operators seq 5 permit 192.0.2.0/24\n" {
		t.Errorf("raw configuration in force: %q, %v", applied, err)
	}
	result := frr.ExtrasResult{
		Sum: "d2b8aec58b675682afdaecdbb282dae4cc2e8d9697f1c4fc56bc34f131ee6c62", Applied: false,
		Error: "line 4: % Unknown command[10]:  neighbor 10.10.0.254 descripshun rack 7",
		At:    time.Date(2026, 11, 25, 2, 34, 56, 789e6, time.UTC),
	}
	if sum := frr.Sum(extras); sum != result.Sum {
		t.Errorf("sum is %s, want %s", sum, result.Sum)
	}
	if got, err := frr.ReadExtrasResult(golden); err != nil || got != result {
		t.Errorf("result: %+v, %v, want %+v", got, err, result)
	}
	// A later version may say more.
	if r, err := readResult(t, `{"sum": "x", "applied": true, "at": "2026-11-25T02:34:56Z", "took": "1s"}`); err != nil || r.Sum != "x" || !r.Applied {
		t.Errorf("a result with more in it: %+v, %v", r, err)
	}

	if !frr.HasMetrics(golden) {
		t.Error("herald-frr has no metrics")
	}

	dir := t.TempDir()
	if _, err := frr.WriteExtras(dir, extras); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(frr.WriteExtrasApplied(dir, applied), frr.WriteExtrasResult(dir, result), frr.Beat(dir), frr.WriteMetrics(dir, true)); err != nil {
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

// What an agent that stops says of routes that no other node announces counts for a
// moment, until it is taken back.
func TestLastFile(t *testing.T) {
	dir := t.TempDir()
	is := func(what string, now time.Time, want bool) {
		t.Helper()
		if got := frr.IsLast(dir, now); got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	is("nothing was said", time.Now(), false)
	for range 2 {
		if err := frr.BeatLast(dir); err != nil {
			t.Fatal(err)
		}
		is("just said", time.Now(), true)
		is("said long ago", time.Now().Add(4*time.Second), false)
		is("said by a clock that is ahead", time.Now().Add(-time.Hour), false)
	}
	for range 2 {
		if err := frr.EndLast(dir); err != nil {
			t.Fatal(err)
		}
		is("taken back", time.Now(), false)
	}
}

func TestMetricsFile(t *testing.T) {
	dir := t.TempDir()
	for _, served := range []bool{false, true, true, false, false} {
		if err := frr.WriteMetrics(dir, served); err != nil {
			t.Fatal(err)
		}
		if got := frr.HasMetrics(dir); got != served {
			t.Errorf("wrote %v, read %v", served, got)
		}
	}
	if err := frr.WriteMetrics(filepath.Join(dir, "missing"), true); err == nil {
		t.Error("a folder that is not there is no error")
	}
}

func readResult(t *testing.T, text string) (frr.ExtrasResult, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, frr.ExtrasResultFile), []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	return frr.ReadExtrasResult(dir)
}

func TestExtrasFiles(t *testing.T) {
	dir := t.TempDir()
	if text, err := frr.ReadExtras(dir); err != nil || text != nil {
		t.Errorf("without a file: %q, %v", text, err)
	}
	if r, err := frr.ReadExtrasResult(dir); err != nil || r != (frr.ExtrasResult{}) {
		t.Errorf("without a result: %+v, %v", r, err)
	}
	for _, step := range []struct {
		text    string
		changed bool
	}{{"", false}, {"a\n", true}, {"a\n", false}, {"b\n", true}, {"", true}} {
		if changed, err := frr.WriteExtras(dir, []byte(step.text)); err != nil || changed != step.changed {
			t.Errorf("write %q: changed %v, %v", step.text, changed, err)
		}
		if text, err := frr.ReadExtras(dir); err != nil || string(text) != step.text {
			t.Errorf("wrote %q, read %q, %v", step.text, text, err)
		}
	}
	want := frr.ExtrasResult{Sum: frr.Sum([]byte("x")), Error: "line 3: neighbor 192.0.2.1 password secret", At: time.Unix(1, 0).UTC()}
	if err := frr.WriteExtrasResult(dir, want); err != nil {
		t.Fatal(err)
	}
	got, err := frr.ReadExtrasResult(dir)
	if err != nil || got.Sum != want.Sum || !got.At.Equal(want.At) || strings.Contains(got.Error, "secret") {
		t.Errorf("wrote %+v, read %+v, %v", want, got, err)
	}
	if err := os.WriteFile(filepath.Join(dir, frr.ExtrasResultFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := frr.ReadExtrasResult(dir); err == nil {
		t.Error("half a result is read without an error")
	}
}

func TestHeartbeat(t *testing.T) {
	dir := t.TempDir()
	if at, err := frr.LastBeat(dir); err != nil || !at.IsZero() {
		t.Errorf("before the first: %v, %v", at, err)
	}
	// An agent that ended a while ago.
	path := filepath.Join(dir, frr.HeartbeatFile)
	if err := os.WriteFile(path, nil, 0o640); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- frr.Heartbeat(ctx, dir, slog.New(slog.DiscardHandler)) }()
	for {
		at, err := frr.LastBeat(dir)
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

// What the operator has added stays, where Herald would remove it otherwise.
func TestApplierLeavesExtras(t *testing.T) {
	const added = "router bgp 64512\n neighbor 192.0.2.1 description rack 7\n neighbor 192.0.2.1 remote-as 64513\nexit\n"
	for _, extras := range []string{"", added} {
		f := startFRR(t)
		f.bgpd.Do(t, "configure terminal", "router bgp 64512", "neighbor 192.0.2.1 remote-as 64513",
			"neighbor 192.0.2.1 description rack 7", "neighbor 192.0.2.1 passive", "end")
		a := frr.New(frr.Options{RunDir: f.dir, Extras: func() []byte { return []byte(extras) }})
		if err := a.Apply(t.Context(), []byte(wantedConf)); err != nil {
			t.Fatal(err)
		}
		running := f.bgpd.Config()
		if has := strings.Contains(running, "description rack 7"); has != (extras != "") {
			t.Errorf("extras %q: the line is there: %v", extras, has)
		}
		if strings.Contains(running, "neighbor 192.0.2.1 passive") {
			t.Errorf("extras %q: a line that nobody wants is there", extras)
		}
		f.inForce(t, wantedConf+extras)
	}
}

// A node that announces on layer 2 alone has no FRR, and nothing is amiss.
func TestApplierWithoutFRR(t *testing.T) {
	const layer2 = "frr defaults traditional\nhostname n1\nip nht resolve-via-default\nipv6 nht resolve-via-default\n"
	a := frr.New(frr.Options{RunDir: t.TempDir()})
	_ = a.Apply(t.Context(), []byte(layer2))
	if s := a.State(); !s.Applied || s.Err != nil || len(s.Up) > 0 {
		t.Errorf("with nothing to route: %+v", s)
	}
	_ = a.Apply(t.Context(), []byte(layer2+"router bgp 64512\nexit\n"))
	if s := a.State(); s.Applied || s.Up["bgpd"] || s.Up["zebra"] || len(s.Up) != 2 {
		t.Errorf("with routes: %+v", s)
	}
}
