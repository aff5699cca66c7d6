// SPDX-License-Identifier: Apache-2.0

package frr_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/frr/frrtest"
	"github.com/heraldlb/herald/frr/vty"
)

// run starts the Applier and stops it at the end of the test. It returns a function
// that waits until cond holds for the state.
func run(t *testing.T, opts frr.Options) (a *frr.Applier, until func(what string, cond func(frr.State) bool)) {
	t.Helper()
	changed := make(chan struct{}, 1)
	opts.Changed = func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	a = frr.New(opts)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return a, func(what string, cond func(frr.State) bool) {
		t.Helper()
		deadline := time.After(10 * time.Second)
		for !cond(a.State()) {
			select {
			case <-changed:
			case <-deadline:
				t.Fatalf("not %s: %+v", what, a.State())
			}
		}
	}
}

func applied(s frr.State) bool { return s.Applied }

// eventually polls for something that does not change the state.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not %s", what)
		}
	}
}

func TestRunWaitsForDaemon(t *testing.T) {
	f := fakeFRR{filepath.Join(frrtest.Dir(t), "run"), frrtest.New("zebra"), frrtest.New("bfdd"), frrtest.New("bgpd")}
	a, until := run(t, frr.Options{RunDir: f.dir})
	a.Set(frr.PlainText([]byte(wantedConf)))
	until("unavailable", func(s frr.State) bool { return errors.Is(s.Err, vty.ErrUnavailable) && !s.Up["bgpd"] })
	if err := os.Mkdir(f.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, d := range f.daemons() {
		d.Start(t, f.dir)
	}
	until("applied", applied)
	f.inForce(t, wantedConf)
}

// FRR's container starts bfdd when the configuration needs it. Until then nothing is
// wrong; after some time without it something is.
func TestRunDaemonOnDemand(t *testing.T) {
	without, _, _ := strings.Cut(wantedConf, "bfd\n profile")
	f := startFRR(t)
	f.bfdd.Stop()
	log := new(syncBuffer)
	a, until := run(t, frr.Options{RunDir: f.dir, Logger: slog.New(slog.NewTextHandler(log, nil))})
	a.Set(frr.PlainText([]byte(without)))
	until("applied without bfdd", applied)
	a.Set(frr.PlainText([]byte(wantedConf)))
	until("on its way", func(s frr.State) bool { return s.Generation == 2 && !s.Applied })
	time.Sleep(500 * time.Millisecond) // several attempts
	if s := a.State(); s.Err != nil || s.Applied {
		t.Errorf("bfdd is being started, and the state is %+v", s)
	}
	f.bfdd.Start(t, f.dir)
	until("applied with bfdd", func(s frr.State) bool {
		if s.Err != nil {
			t.Errorf("bfdd has started, and the state is %+v", s)
		}
		return s.Applied && s.Up["bfdd"]
	})
	if said := log.String(); strings.Contains(said, "applied") {
		t.Errorf("it was logged: %s", said)
	}

	// One that has been there is missed at once.
	f.bfdd.Stop()
	until("missed", func(s frr.State) bool { return !s.Applied && !s.Up["bfdd"] && errors.Is(s.Err, vty.ErrUnavailable) })
	a.Set(frr.PlainText([]byte(without)))
	until("not needed any more", func(s frr.State) bool { _, known := s.Up["bfdd"]; return s.Applied && !known })

	// One that does not come is missed at last.
	start := time.Now()
	a.Set(frr.PlainText([]byte(wantedConf)))
	until("missed", func(s frr.State) bool { return errors.Is(s.Err, vty.ErrUnavailable) })
	if took := time.Since(start); took < time.Second {
		t.Errorf("bfdd was missed after %v", took)
	}
}

func TestRunDaemonRestart(t *testing.T) {
	f := startFRR(t)
	a, until := run(t, frr.Options{RunDir: f.dir})
	a.Set(frr.PlainText([]byte(wantedConf)))
	until("applied", applied)

	f.bgpd.Stop()
	until("down", func(s frr.State) bool { return !s.Up["bgpd"] && !s.Applied })
	f.bgpd.Clear()
	start := time.Now()
	f.bgpd.Start(t, f.dir)
	until("applied again", applied)
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("applied again after %v, want at once", took)
	}
	f.inForce(t, wantedConf)
}

func TestRunNoticesKilledDaemon(t *testing.T) {
	f := startFRR(t)
	a, until := run(t, frr.Options{RunDir: f.dir})
	a.Set(frr.PlainText([]byte(wantedConf)))
	until("applied", applied)
	reads := 0
	eventually(t, "read back", func() bool { // after which nothing is asked for long
		reads += countOf(f.bgpd, "show running-config")
		return reads == 2
	})
	f.bgpd.Kill()
	until("down", func(s frr.State) bool { return !s.Up["bgpd"] && errors.Is(s.Err, vty.ErrUnavailable) })
	f.bgpd.Clear()
	f.bgpd.Start(t, f.dir)
	until("applied again", applied)
	f.inForce(t, wantedConf)
}

func TestRunKeepsNewest(t *testing.T) {
	f := startFRR(t)
	f.bgpd.Hang(true)
	a, until := run(t, frr.Options{RunDir: f.dir, Timeout: time.Second})
	for i := range 50 {
		a.Set(frr.PlainText([]byte(onePrefix(i + 2))))
	}
	until("unavailable", func(s frr.State) bool { return errors.Is(s.Err, vty.ErrUnavailable) })
	f.bgpd.Hang(false)
	until("applied", applied)
	f.inForce(t, onePrefix(51))
	if got := a.State().Generation; got != 50 {
		t.Errorf("generation %d, want 50", got)
	}
	a.Set(frr.PlainText([]byte(onePrefix(51))))
	if got := a.State(); got.Generation != 50 || !got.Applied {
		t.Errorf("after the same text: %+v, want nothing changed", got)
	}
}

func TestRunRejectedIsRetriedSlowly(t *testing.T) {
	f := startFRR(t)
	f.bgpd.Refuse(func(c string) string {
		if c == "no bgp default ipv4-unicast" {
			return "% Not today"
		}
		return ""
	})
	a, until := run(t, frr.Options{RunDir: f.dir})
	a.Set(frr.PlainText([]byte(wantedConf)))
	until("rejected", func(s frr.State) bool { return errors.Is(s.Err, vty.ErrRejected) })
	start := time.Now()
	f.bgpd.Refuse(nil)
	until("applied by a retry", applied)
	if took := time.Since(start); took < time.Second {
		t.Errorf("tried again after %v, want seconds", took)
	}
	tries := 0
	for _, c := range f.bgpd.Sent() {
		if c == "no bgp default ipv4-unicast" {
			tries++
		}
	}
	if tries != 2 {
		t.Errorf("sent %d times, want twice", tries)
	}
}

func TestRunRepairsDrift(t *testing.T) {
	f := startFRR(t)
	log := new(syncBuffer)
	a, until := run(t, frr.Options{
		RunDir: f.dir,
		Drift:  20 * time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	a.Set(frr.PlainText([]byte(wantedConf)))
	until("applied", applied)
	f.bgpd.Do(t, "router bgp 64512", "no neighbor 192.0.2.1")
	f.bgpd.Do(t, "route-map herald-of-nobody permit 10", "set tag 9")
	f.zebra.Do(t, "no ip nht resolve-via-default")
	eventually(t, "repaired", func() bool {
		return strings.Contains(f.bgpd.Config(), "password s3cr3t") && strings.Contains(f.zebra.Config(), "nht")
	})
	eventually(t, "activated", func() bool { return strings.Contains(f.bgpd.Config(), "192.0.2.1 activate") })
	eventually(t, "rid of the extra route-map", func() bool { return !strings.Contains(f.bgpd.Config(), "of-nobody") })
	f.inForce(t, wantedConf)
	if s := log.String(); !strings.Contains(s, "running configuration was changed") || strings.Contains(s, "s3cr3t") {
		t.Errorf("log has no repair, or the password:\n%s", s)
	}
}

// A check that finds no daemon, as when it has just ended, is repeated when the daemon
// is back, and is not the last one.
func TestRunChecksAfterRestart(t *testing.T) {
	const drift = 300 * time.Millisecond
	f := startFRR(t)
	a, until := run(t, frr.Options{RunDir: f.dir, Drift: drift})
	a.Set(frr.PlainText([]byte(wantedConf)))
	until("applied", applied)
	f.bgpd.Stop() // before the text was read back
	until("down", func(s frr.State) bool { return !s.Up["bgpd"] })
	time.Sleep(2 * drift) // the check falls into this time
	f.bgpd.Clear()
	f.bgpd.Start(t, f.dir)
	until("applied again", applied)
	for range 2 {
		f.bgpd.Do(t, "router bgp 64512", "no neighbor 192.0.2.1")
		eventually(t, "repaired", func() bool { return strings.Contains(f.bgpd.Config(), "192.0.2.1 activate") })
	}
	f.inForce(t, wantedConf)
}

// TestRunLeavesOtherWording makes FRR show a line differently. The line is not sent for
// ever, and the line that FRR shows is not removed.
func TestRunLeavesOtherWording(t *testing.T) {
	const line = "neighbor 192.0.2.1 solo"
	f := startFRR(t)
	f.bgpd.Show(line, "neighbor 192.0.2.1 alone")
	a, until := run(t, frr.Options{RunDir: f.dir, Drift: 20 * time.Millisecond})
	a.Set(frr.PlainText([]byte(strings.Replace(wantedConf, " !\n", " "+line+"\n !\n", 1))))
	until("applied", applied)

	counts := make(map[string]int)
	eventually(t, "checked often enough", func() bool {
		for _, c := range f.bgpd.Sent() {
			counts[c]++
		}
		return counts["show running-config"] >= 10
	})
	if counts[line] != 2 {
		t.Errorf("the line was sent %d times, want twice", counts[line])
	}
	if n := counts["no neighbor 192.0.2.1 alone"]; n != 0 {
		t.Errorf("the line that FRR shows was removed %d times", n)
	}
}

// countOf returns how often a command was sent since the last call of Sent.
func countOf(d *frrtest.Daemon, command string) int {
	n := 0
	for _, c := range d.Sent() {
		if c == command {
			n++
		}
	}
	return n
}

// A syncBuffer is a buffer that several goroutines may use.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// An agent that is ended in the middle of a change leaves what FRR has. The next one
// sends the rest, and takes nothing away.
func TestApplyEndedInTheMiddle(t *testing.T) {
	f := startFRR(t)
	ctx, end := context.WithCancel(t.Context())
	defer end()
	f.bgpd.Refuse(func(command string) string {
		if strings.HasPrefix(command, "router bgp ") {
			end() // the lines inside of it have not been sent yet
		}
		return ""
	})
	first := frr.New(frr.Options{RunDir: f.dir})
	if err := first.Apply(ctx, frr.PlainText([]byte(wantedConf))); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want that it was canceled", err)
	}
	f.bgpd.Refuse(func(string) string { return "" })
	f.sent()
	next := frr.New(frr.Options{RunDir: f.dir})
	if err := next.Apply(t.Context(), frr.PlainText([]byte(wantedConf))); err != nil {
		t.Fatal(err)
	}
	f.inForce(t, wantedConf)
	added := false
	for _, c := range f.sent() {
		added = added || strings.HasPrefix(c, "network ")
		// A neighbor is shut down while its families are set.
		if strings.HasPrefix(c, "no ") && !strings.HasSuffix(c, " shutdown") && !strings.Contains(wantedConf, c+"\n") {
			t.Errorf("the next agent sent %q", c)
		}
	}
	if !added {
		t.Error("nothing was left for the next agent: the test ended the first one too late")
	}
}
