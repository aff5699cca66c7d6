// SPDX-License-Identifier: Apache-2.0

package extras

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/heraldlb/herald/frr/contract"
	"github.com/heraldlb/herald/wake"
)

// A Sender and an Applier that share nothing but a folder bring a text into FRR, and
// the result back to the operator.
func TestSenderAndApplier(t *testing.T) {
	r := newApplierRig(t)
	r.host.say = func(line string) (string, error) {
		if strings.Contains(line, "-C") && strings.HasPrefix(string(mustRead(t, r.etc)), "hostnam ") {
			return "line 1: % Unknown command: hostnam n1", errors.New("exit status 2")
		}
		if strings.Contains(line, "show running-config") {
			return "hostname n1\nhostname n2\n", nil
		}
		return "", nil
	}
	var text atomic.Pointer[Text]
	var mu sync.Mutex // guards events
	var events []string
	changed := wake.New()
	s := NewSender(SenderOptions{
		Dir: r.etc, Node: "n1", Changed: changed, Logger: quiet,
		Text: func() (Text, bool) {
			present := text.Load()
			if present == nil {
				return Text{}, false
			}
			return *present, true
		},
		Event: func(e Event) {
			mu.Lock()
			defer mu.Unlock()
			events = append(events, e.Reason)
		},
	})
	ctx, stop := context.WithCancel(t.Context())
	var both sync.WaitGroup
	both.Go(func() { _ = s.Run(ctx) })
	both.Go(func() { _ = r.Run(ctx) })
	defer both.Wait()
	defer stop()
	r.Reapply() // as after the start of a daemon

	for _, step := range []struct {
		text    string
		applied bool
	}{{"hostname n1\n", true}, {"hostnam n1\n", false}, {"hostname n2\n", true}} {
		text.Store(&Text{Text: []byte(step.text)})
		changed.Set()
		eventually(t, "the result of "+step.text, func() bool {
			state := s.Status()
			return state != nil && !state.Pending && state.Applied == step.applied && string(mustRead(t, r.etc)) == step.text
		})
		if kept := string(Kept(r.etc)); !strings.Contains(kept, step.text) || !step.applied && !strings.Contains(kept, "hostname n1\n") {
			t.Errorf("with %q the agent keeps %q", step.text, kept)
		}
	}
	text.Store(&Text{})
	changed.Set()
	eventually(t, "no raw configuration", func() bool { return s.Status() == nil && len(mustRead(t, r.etc)) == 0 })
	mu.Lock()
	defer mu.Unlock()
	if got, want := strings.Join(events, " "), eventRefused+" "+eventApplied; got != want {
		t.Errorf("events are %s, want %s", got, want)
	}
}

func mustRead(t *testing.T, dir string) []byte {
	text, err := contract.ReadExtras(dir)
	if err != nil {
		t.Error(err)
	}
	return text
}
