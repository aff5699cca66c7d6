// SPDX-License-Identifier: Apache-2.0

package frr

import (
	"os"
	"sync"
	"time"
)

// A Process is one of FRR's daemons, as it was last connected to.
type Process struct {
	Started  time.Time // when it made its socket
	Restarts int       // how often another one was seen in its place
}

// A life is the Process of a daemon. Its methods are safe for concurrent use.
type life struct {
	mu      sync.Mutex // guards the field below
	process Process    // zero: it was never connected to
}

// met takes note of an attempt to connect to the socket at a path. A daemon makes its socket
// when it starts.
func (l *life) met(path string, err error) {
	if err != nil {
		return
	}
	info, err := os.Stat(path)
	if err != nil {
		return // it is gone already
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if began := info.ModTime(); !began.Equal(l.process.Started) {
		if !l.process.Started.IsZero() {
			l.process.Restarts++
		}
		l.process.Started = began
	}
}

// Processes returns FRR's daemons that were connected to, by name.
func (a *Applier) Processes() map[string]Process {
	out := map[string]Process{}
	for _, w := range a.workers {
		d, ok := w.target.(*daemon)
		if !ok {
			continue
		}
		d.life.mu.Lock()
		if p := d.life.process; !p.Started.IsZero() {
			out[d.name] = p
		}
		d.life.mu.Unlock()
	}
	return out
}
