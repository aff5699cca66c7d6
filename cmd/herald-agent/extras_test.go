// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/reconcile"
)

type fakeDocument struct {
	doc  reconcile.Document
	read bool
}

func (f *fakeDocument) Document() (reconcile.Document, bool) { return f.doc, f.read }

func TestExtrasSource(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		text := &fakeDocument{}
		var log bytes.Buffer
		s := &extrasSource{dir: dir, text: text, wake: make(chan struct{}, 1), log: slog.New(slog.NewTextHandler(&log, nil))}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.run(ctx) }()
		if _, err := frr.WriteExtras(dir, []byte("of the agent before\n")); err != nil {
			t.Fatal(err)
		}
		steps := []struct {
			name string
			text fakeDocument
			want string
		}{
			{"not read yet", fakeDocument{}, "of the agent before\n"},
			{"a text", fakeDocument{reconcile.Document{Text: []byte("hostname n1\n")}, true}, "hostname n1\n"},
			{"another", fakeDocument{reconcile.Document{Text: []byte("hostname n2\n")}, true}, "hostname n2\n"},
			{"gone", fakeDocument{reconcile.Document{Err: errors.New("not found")}, true}, ""},
		}
		for _, step := range steps {
			*text = step.text
			s.wake <- struct{}{}
			synctest.Wait()
			if got, err := frr.ReadExtras(dir); err != nil || string(got) != step.want {
				t.Errorf("%s: %q, %v, want %q", step.name, got, err, step.want)
			}
		}
		for _, r := range []frr.ExtrasResult{{Sum: "1", Error: "line 2: % Unknown command"}, {Sum: "2", Applied: true}} {
			if err := frr.WriteExtrasResult(dir, r); err != nil {
				t.Fatal(err)
			}
			time.Sleep(3 * resultEvery)
			synctest.Wait()
		}
		if n := strings.Count(log.String(), "raw configuration refused"); n != 1 || !strings.Contains(log.String(), "line 2: % Unknown command") {
			t.Errorf("a refusal was logged %d times: %s", n, log.String())
		}
		if n := strings.Count(log.String(), `msg="raw configuration applied"`); n != 1 {
			t.Errorf("a success was logged %d times: %s", n, log.String())
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
