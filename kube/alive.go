// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"fmt"
	"os"
)

// What client-go reads: after how many seconds without a packet it sends a ping, and how
// many seconds the answer may take until the connection counts as dead.
const (
	idleVariable, idleSeconds = "HTTP2_READ_IDLE_TIMEOUT_SECONDS", "5"
	pingVariable, pingSeconds = "HTTP2_PING_TIMEOUT_SECONDS", "15"
)

// NoticeDead has clients notice within 20 s that nothing arrives over their connection to
// the API server; client-go takes 45 s. It concerns clients that are made later. Variables
// that are set stay as they are.
func NoticeDead() error {
	for name, value := range map[string]string{idleVariable: idleSeconds, pingVariable: pingSeconds} {
		if os.Getenv(name) != "" {
			continue
		}
		if err := os.Setenv(name, value); err != nil {
			return fmt.Errorf("API server: %w", err)
		}
	}
	return nil
}
