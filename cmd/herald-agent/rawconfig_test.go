// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/reconcile"
)

func TestRawConfig(t *testing.T) {
	if newRawConfig("", slog.New(slog.DiscardHandler)) != nil {
		t.Error("without a folder there is something to write")
	}
	dir := t.TempDir()
	var log strings.Builder
	r := newRawConfig(filepath.Join(dir, "frr.conf"), slog.New(slog.NewTextHandler(&log, nil)))
	var doc reconcile.Document
	read := false
	r.document = func() (reconcile.Document, bool) { return doc, read }
	steps := []struct {
		name string
		doc  reconcile.Document
		read bool
		want string
	}{
		{"not read yet", reconcile.Document{Text: []byte("early\n")}, false, ""},
		{"first", reconcile.Document{Text: []byte("one\n")}, true, "one\n"},
		{"another", reconcile.Document{Text: []byte("two\n")}, true, "two\n"},
		{"without its key", reconcile.Document{Err: errors.New(`no key "extras"`)}, true, "two\n"},
		{"gone", reconcile.Document{Err: reconcile.ErrNotFound}, true, ""},
	}
	for _, s := range steps {
		doc, read = s.doc, s.read
		r.pass()
		r.pass() // which changes nothing
		got, err := frr.ReadExtras(dir)
		if err != nil || string(got) != s.want {
			t.Errorf("%s: %q, %v, want %q", s.name, got, err, s.want)
		}
	}
	if n := strings.Count(log.String(), "\n"); n != 4 {
		t.Errorf("%d lines of log, want one for each change and one for what was wrong:\n%s", n, log.String())
	}
}
