// SPDX-License-Identifier: Apache-2.0

package members

import (
	"log/slog"
	"strings"
	"sync"
	"time"
)

// keyWarning separates two warnings about messages that do not decrypt.
const keyWarning = time.Minute

// A logWriter receives memberlist's log. This package logs the important events itself.
// The rest is for debugging, since it repeats with each lost packet. One message is only
// found here: that a peer has another key.
type logWriter struct {
	log *slog.Logger

	mu     sync.Mutex // guards the fields below
	warned time.Time
}

func (w *logWriter) Write(b []byte) (int, error) {
	text := strings.TrimSpace(string(b))
	if _, after, ok := strings.Cut(text, "memberlist: "); ok {
		text = after
	}
	if w.key(text) {
		w.log.Warn("gossip does not decrypt: the agents need the same secret", "reason", text)
	} else {
		w.log.Debug("memberlist", "reason", text)
	}
	return len(b), nil
}

// key reports whether to warn that a peer's key is another.
func (w *logWriter) key(text string) bool {
	if !strings.Contains(text, "crypt") {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if time.Since(w.warned) < keyWarning {
		return false
	}
	w.warned = time.Now()
	return true
}
