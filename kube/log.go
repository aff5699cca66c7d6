// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"k8s.io/klog/v2"
)

// quiet is how long the client library's log does not repeat a message.
const quiet = time.Minute

// LogTo sends the log of the Kubernetes client library to a logger, for the whole
// program. A message that repeats, as in an outage of the API server, is logged once a
// minute.
func LogTo(l *slog.Logger) {
	klog.SetSlogLogger(slog.New(&damper{Handler: l.Handler(), logged: &logged{at: make(map[string]time.Time)}}))
}

// A damper is a handler that drops a warning that was logged a moment ago.
type damper struct {
	slog.Handler
	logged *logged // shared by the handlers that derive from one
}

// logged remembers messages.
type logged struct {
	mu sync.Mutex           // guards at
	at map[string]time.Time // of each message within the last minute
}

// Handle logs a record, unless it is a repetition. The library retries after its
// errors: they degrade Herald, and are warnings.
func (d *damper) Handle(ctx context.Context, r slog.Record) error {
	r.Level = min(r.Level, slog.LevelWarn)
	if r.Level >= slog.LevelWarn && d.logged.lately(r.Message, time.Now()) {
		return nil
	}
	return d.Handler.Handle(ctx, r)
}

// WithAttrs returns a damper whose records have attributes.
func (d *damper) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &damper{d.Handler.WithAttrs(attrs), d.logged}
}

// WithGroup returns a damper whose records are in a group.
func (d *damper) WithGroup(name string) slog.Handler {
	return &damper{d.Handler.WithGroup(name), d.logged}
}

// lately reports whether a message was logged a moment ago; if not, it is now.
func (l *logged) lately(message string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for m, at := range l.at {
		if now.Sub(at) >= quiet {
			delete(l.at, m)
		}
	}
	if _, ok := l.at[message]; ok {
		return true
	}
	l.at[message] = now
	return false
}
