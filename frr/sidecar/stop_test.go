// SPDX-License-Identifier: Apache-2.0

package sidecar

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

// Sessions stay while the agent reports that no other node announces some route, but not
// for ever.
func TestAwaitOthers(t *testing.T) {
	for _, tt := range []struct {
		name       string
		last, want time.Duration
	}{
		{"others announce all", 0, 0},
		{"others are late", 5 * time.Second, 5 * time.Second},
		{"no other ever does", time.Hour, 15 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			s := &Supervisor{opts: SupervisorOptions{
				Logger: slog.New(slog.DiscardHandler),
				Last:   func() bool { return time.Since(start) < tt.last },
			}}
			s.awaitOthers(t.Context())
			if took := time.Since(start); took != tt.want {
				t.Errorf("%s: sessions stay for %v, want %v", tt.name, took, tt.want)
			}
		})
	}
}
