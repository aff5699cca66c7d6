// SPDX-License-Identifier: Apache-2.0

package sidecar

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/heraldlb/herald/frr/contract"
)

func TestFindDaemons(t *testing.T) {
	dir := t.TempDir()
	touch := func(name string) {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range fourDaemons {
		if _, err := FindDaemons(dir); err == nil {
			t.Errorf("without %s: no error", d)
		}
		touch(d)
	}
	if got, err := FindDaemons(dir); err != nil || !slices.Equal(got, fourDaemons) {
		t.Errorf("FRR 8: %v, %v", got, err)
	}
	touch("mgmtd")
	if got, err := FindDaemons(dir); err != nil || got[0] != "mgmtd" || len(got) != 5 {
		t.Errorf("FRR 10: %v, %v", got, err)
	}
}

// FRR's daemons are in the group of the folder, which keeps its set-group-ID bit: files
// that are made there get that group.
func TestPrepareProtects(t *testing.T) {
	for _, before := range []os.FileMode{0o777 | os.ModeSetgid, 0o775 | os.ModeSetgid, 0o750 | os.ModeSetgid} {
		dir := t.TempDir()
		if err := os.Chmod(dir, before); err != nil {
			t.Fatal(err)
		}
		if err := Prepare(dir, fourDaemons, true); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		if want := 0o750 | os.ModeSetgid; info.Mode()&^os.ModeDir != want {
			t.Errorf("a folder with mode %v has %v, want %v", before, info.Mode()&^os.ModeDir, want)
		}
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
	if err := Prepare(dir, fourDaemons, true); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(read("daemons"), "bgpd=yes\n") || !strings.Contains(read("daemons"), "mgmtd=no\n") {
		t.Errorf("daemons: %s", read("daemons"))
	}
	if read("vtysh.conf") != contract.VtyshConf || read(contract.ConfFile) != emptyConf {
		t.Errorf("vtysh.conf %q, frr.conf %q", read("vtysh.conf"), read(contract.ConfFile))
	}
	if err := os.WriteFile(filepath.Join(dir, contract.ConfFile), []byte("hostname n1\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := Prepare(dir, fourDaemons, true); err != nil || read(contract.ConfFile) != "hostname n1\n" {
		t.Errorf("prepared again: %v, frr.conf is %q", err, read(contract.ConfFile))
	}
	// A program that has the file open still reads the old text.
	open := filepath.Join(t.TempDir(), "open")
	err := errors.Join(
		os.WriteFile(filepath.Join(dir, "vtysh.conf"), []byte("of the version before\n"), 0o640),
		os.Link(filepath.Join(dir, "vtysh.conf"), open),
		Prepare(dir, fourDaemons, true),
	)
	if text, _ := os.ReadFile(open); err != nil || string(text) != "of the version before\n" || read("vtysh.conf") != contract.VtyshConf {
		t.Errorf("vtysh.conf is %q, a program that had it open reads %q; %v", read("vtysh.conf"), text, err)
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
	if err := Prepare(dir, fourDaemons, false); err != nil || contract.HasMetrics(dir) {
		t.Errorf("without metrics: %v, has them: %v", err, contract.HasMetrics(dir))
	}
	if err := Prepare(filepath.Join(dir, "missing"), fourDaemons, true); err == nil {
		t.Error("a folder that is not there is no error")
	}
}
