// SPDX-License-Identifier: Apache-2.0

package frr_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/frr"
)

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
