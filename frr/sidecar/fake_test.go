// SPDX-License-Identifier: Apache-2.0

package sidecar

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/heraldlb/herald/frr/frrtest"
)

// A fakeHost starts fakes that speak the vty protocol, and records what is run.
type fakeHost struct {
	t   testing.TB
	dir string
	say func(line string) (string, error) // the programs' answers; nil: they succeed and print nothing

	mu    sync.Mutex // guards the fields below
	lines []string   // the programs that were run, with their arguments
	live  map[string]*fakeProcess
	fails map[string]error // daemons that cannot be started
}

func newFakeHost(t testing.TB) *fakeHost {
	dir := t.TempDir()
	if len(dir) > 90 {
		t.Fatalf("%s is too long a path for a Unix socket", dir)
	}
	return &fakeHost{t: t, dir: dir, live: make(map[string]*fakeProcess), fails: make(map[string]error)}
}

type fakeProcess struct {
	daemon *frrtest.Daemon
	deaf   bool // to SIGTERM

	once  sync.Once
	ended chan struct{}
	err   error
}

func (h *fakeHost) Start(path string, args ...string) (Process, error) {
	name := filepath.Base(path)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, strings.Join(append([]string{name}, args...), " "))
	if err := h.fails[name]; err != nil {
		return nil, err
	}
	p := &fakeProcess{daemon: frrtest.New(name), ended: make(chan struct{})}
	p.daemon.Start(h.t, h.dir)
	h.live[name] = p
	return p, nil
}

func (p *fakeProcess) Wait() error {
	<-p.ended
	return p.err
}

func (p *fakeProcess) end(err error) {
	p.once.Do(func() {
		p.daemon.Kill()
		p.err = err
		close(p.ended)
	})
}

func (p *fakeProcess) Signal(sig syscall.Signal) error {
	switch {
	case sig == syscall.SIGKILL:
		p.end(errors.New("signal: killed"))
	case sig == syscall.SIGTERM && !p.deaf:
		p.end(nil)
	}
	return nil
}

func (h *fakeHost) Output(_ context.Context, path string, args ...string) (string, error) {
	line := strings.Join(append([]string{path}, args...), " ")
	h.mu.Lock()
	h.lines = append(h.lines, line)
	say := h.say
	h.mu.Unlock()
	if say == nil {
		return "", nil
	}
	return say(line)
}

// process returns a daemon's present process; nil if it was never started.
func (h *fakeHost) process(name string) *fakeProcess {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.live[name]
}

// ran returns what was run so far.
func (h *fakeHost) ran() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.lines)
}

// count says how many of the lines start with a text.
func (h *fakeHost) count(prefix string) int {
	n := 0
	for _, l := range h.ran() {
		if strings.HasPrefix(l, prefix) {
			n++
		}
	}
	return n
}

// eventually waits until check is true.
func eventually(t testing.TB, what string, check func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !check() {
		if time.Now().After(deadline) {
			t.Fatalf("not in 20 s: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}
