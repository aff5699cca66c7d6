// SPDX-License-Identifier: Apache-2.0

package kernel_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/heraldlb/herald/kernel"
	"github.com/heraldlb/herald/lab/need"
)

// This host answers itself.
func TestPing(t *testing.T) {
	need.Root(t)
	for _, addr := range []string{"127.0.0.1", "::1"} {
		if ok, err := kernel.Ping(t.Context(), netip.MustParseAddr(addr), "", 5*time.Second); err != nil || !ok {
			t.Errorf("%s: answers %v, %v", addr, ok, err)
		}
	}
	if _, err := kernel.Ping(t.Context(), netip.MustParseAddr("127.0.0.1"), "nothere0", time.Second); err == nil {
		t.Error("a device that is not there is taken")
	}
}
