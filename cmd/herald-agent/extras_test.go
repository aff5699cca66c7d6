// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/frr/conf"
	"github.com/heraldlb/herald/frr/contract"
	"github.com/heraldlb/herald/source"
	"github.com/heraldlb/herald/status"
)

type fakeDocument struct {
	doc  source.Document
	read bool
}

func (f *fakeDocument) Document() (source.Document, bool) { return f.doc, f.read }

func TestExtrasSource(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		text := &fakeDocument{}
		var log bytes.Buffer
		var events []string
		s := &extrasSource{
			opts: extrasSourceOptions{Dir: dir, Node: "n1", Logger: slog.New(slog.NewTextHandler(&log, nil))},
			text: text, wake: make(chan struct{}, 1),
			tell: func(e cluster.Event) { events = append(events, fmt.Sprint(e)) },
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.run(ctx) }()
		if _, err := contract.WriteExtras(dir, []byte("of the agent before\n")); err != nil {
			t.Fatal(err)
		}
		steps := []struct {
			name string
			text fakeDocument
			want string
		}{
			{"not read yet", fakeDocument{}, "of the agent before\n"},
			{"a text", fakeDocument{source.Document{Text: []byte("hostname n1\n")}, true}, "hostname n1\n"},
			{"another", fakeDocument{source.Document{Text: []byte("hostname n2\n")}, true}, "hostname n2\n"},
			{"gone", fakeDocument{source.Document{Err: errors.New("not found")}, true}, ""},
		}
		for _, step := range steps {
			*text = step.text
			s.wake <- struct{}{}
			synctest.Wait()
			if got, err := contract.ReadExtras(dir); err != nil || string(got) != step.want {
				t.Errorf("%s: %q, %v, want %q", step.name, got, err, step.want)
			}
		}
		if got := s.status(); got != nil {
			t.Errorf("the status of no raw configuration is %+v", got)
		}
		*text = fakeDocument{source.Document{Text: []byte("hostname n3\n")}, true}
		s.wake <- struct{}{}
		synctest.Wait()
		sum := contract.Sum(text.doc.Text)
		for _, step := range []struct {
			result contract.ExtrasResult
			want   status.Extras
		}{
			{contract.ExtrasResult{Sum: contract.Sum(nil), Applied: true}, status.Extras{Pending: true}},
			{contract.ExtrasResult{Sum: sum, Error: "line 2: % Unknown command"}, status.Extras{Error: "line 2: % Unknown command"}},
			{contract.ExtrasResult{Sum: sum, Error: "line 2: % Unknown command", At: time.Unix(9, 0).UTC()}, status.Extras{Error: "line 2: % Unknown command", At: time.Unix(9, 0).UTC()}},
			{contract.ExtrasResult{Sum: sum, Applied: true}, status.Extras{Applied: true}},
			{contract.ExtrasResult{Sum: sum, Applied: true, Remark: "FRR shows no a"}, status.Extras{Applied: true, Remark: "FRR shows no a"}},
		} {
			if err := contract.WriteExtrasResult(dir, step.result); err != nil {
				t.Fatal(err)
			}
			time.Sleep(3 * resultEvery)
			synctest.Wait()
			if got := s.status(); got == nil || *got != step.want {
				t.Errorf("after %+v the status is %+v, want %+v", step.result, got, step.want)
			}
		}
		want := []string{
			fmt.Sprint(cluster.Event{Warning: true, Reason: "RawConfigurationRefused", Message: "node n1: what was in force stays: line 2: % Unknown command"}),
			fmt.Sprint(cluster.Event{Reason: "RawConfigurationApplied", Message: "node n1: FRR runs all of it"}),
			fmt.Sprint(cluster.Event{Warning: true, Reason: "RawConfigurationUnlike", Message: "node n1: it may not stay; write it as \"show running-config\" prints it: FRR shows no a"}),
		}
		if diff := cmp.Diff(want, events); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		if n := strings.Count(log.String(), "raw configuration refused"); n != 1 || !strings.Contains(log.String(), "line 2: % Unknown command") {
			t.Errorf("a refusal was logged %d times: %s", n, log.String())
		}
		if n := strings.Count(log.String(), `msg="raw configuration applied"`); n != 3 {
			t.Errorf("a success was logged %d times: %s", n, log.String())
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// What was in force before is the operator's too, while its successor may have a
// mistake.
func TestExtrasKept(t *testing.T) {
	dir := t.TempDir()
	o := options{frrConf: filepath.Join(dir, contract.ConfFile)}
	if got := conf.Parse(string(o.extras())); len(got.Sections) > 0 {
		t.Errorf("kept without a text: %v", got)
	}
	// A file may end in the middle of a context, and of a line.
	err := contract.WriteExtrasApplied(dir, []byte("router bgp 64512\n neighbor 192.0.2.1 description a"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := contract.WriteExtras(dir, []byte("hostname n2\nrouter bgp 64512\n neighbor 192.0.2.1 descripshun b\n")); err != nil {
		t.Fatal(err)
	}
	const want = "router bgp 64512\n neighbor 192.0.2.1 description a\n neighbor 192.0.2.1 descripshun b\nhostname n2\n"
	if got := conf.Parse(string(o.extras())).String(); got != want {
		t.Errorf("kept is\n%swant\n%s", got, want)
	}
	// Whether the container has the metrics of sessions is as much in its folder.
	for _, served := range []bool{false, true} {
		if err := contract.WriteMetrics(dir, served); err != nil {
			t.Fatal(err)
		}
		if got := o.sidecar(nil, nil, nil).hasMetrics(); got != served {
			t.Errorf("herald-frr has metrics: %v, the agent says %v", served, got)
		}
	}
	o.frrConf = ""
	if o.sidecar(nil, nil, nil).hasMetrics() {
		t.Error("without FRR it has metrics")
	}
	if got := o.extras(); got != nil {
		t.Errorf("kept without FRR: %q", got)
	}
}
