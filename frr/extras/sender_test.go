// SPDX-License-Identifier: Apache-2.0

package extras

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/frr/contract"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/wake"
)

type fakeText struct {
	text Text
	read bool
}

func (f *fakeText) get() (Text, bool) { return f.text, f.read }

func TestSender(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		text := &fakeText{}
		changed := wake.New()
		var log bytes.Buffer
		var events []string
		s := NewSender(SenderOptions{
			Dir: dir, Node: "n1", Text: text.get, Changed: changed, Logger: slog.New(slog.NewTextHandler(&log, nil)),
			Event: func(e Event) { events = append(events, fmt.Sprint(e)) },
		})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		if _, err := contract.WriteExtras(dir, []byte("of the agent before\n")); err != nil {
			t.Fatal(err)
		}
		steps := []struct {
			name string
			text fakeText
			want string
		}{
			{"not read yet", fakeText{}, "of the agent before\n"},
			{"a text", fakeText{Text{Text: []byte("hostname n1\n")}, true}, "hostname n1\n"},
			{"another", fakeText{Text{Text: []byte("hostname n2\n")}, true}, "hostname n2\n"},
			{"gone", fakeText{Text{}, true}, ""},
		}
		for _, step := range steps {
			*text = step.text
			changed.Set()
			synctest.Wait()
			if got, err := contract.ReadExtras(dir); err != nil || string(got) != step.want {
				t.Errorf("%s: %q, %v, want %q", step.name, got, err, step.want)
			}
		}
		if got := s.Status(); got != nil {
			t.Errorf("the status of no raw configuration is %+v", got)
		}
		*text = fakeText{Text{Text: []byte("hostname n3\n")}, true}
		changed.Set()
		synctest.Wait()
		sum := contract.Sum(text.text.Text)
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
			if got := s.Status(); got == nil || *got != step.want {
				t.Errorf("after %+v the status is %+v, want %+v", step.result, got, step.want)
			}
		}
		want := []string{
			fmt.Sprint(Event{Warning: true, Reason: "RawConfigurationRefused", Message: "node n1: what was in force stays: line 2: % Unknown command"}),
			fmt.Sprint(Event{Reason: "RawConfigurationApplied", Message: "node n1: FRR runs all of it"}),
			fmt.Sprint(Event{Warning: true, Reason: "RawConfigurationUnlike", Message: "node n1: it may not stay; write it as \"show running-config\" prints it: FRR shows no a"}),
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
