// SPDX-License-Identifier: Apache-2.0

package kernel_test

import (
	"context"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/heraldlb/herald/kernel"
)

// This host answers itself, if the test may send ICMP.
func TestPing(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("need root to send ICMP")
	}
	for _, addr := range []string{"127.0.0.1", "::1"} {
		if ok, err := kernel.Ping(t.Context(), netip.MustParseAddr(addr), "", 5*time.Second); err != nil || !ok {
			t.Errorf("%s: answers %v, %v", addr, ok, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	start := time.Now()
	// Class E is routed nowhere, or nobody answers.
	if ok, _ := kernel.Ping(ctx, netip.MustParseAddr("240.0.0.1"), "", time.Minute); ok || time.Since(start) > 10*time.Second {
		t.Errorf("nobody answers %v, after %v", ok, time.Since(start))
	}
	if _, err := kernel.Ping(t.Context(), netip.MustParseAddr("127.0.0.1"), "nothere0", time.Second); err == nil {
		t.Error("a device that is not there is taken")
	}
}
