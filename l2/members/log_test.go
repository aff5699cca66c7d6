// SPDX-License-Identifier: Apache-2.0

package members_test

import (
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

// logged is what an agent logs.
type logged struct {
	mu   sync.Mutex // guards the fields below
	text strings.Builder
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// await waits until something was logged.
func (l *logged) await(t *testing.T, want string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for time.Now().Before(deadline) {
		l.mu.Lock()
		text := l.text.String()
		l.mu.Unlock()
		if strings.Contains(text, want) {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	t.Fatalf("not logged in 20 s: %q", want)
}

// count returns how often something was logged.
func (l *logged) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), what)
}
