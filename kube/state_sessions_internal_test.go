// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/heraldlb/herald/cluster"
)

// A long message is cut between characters: the API server refuses half a one.
func TestSessionStatusesCut(t *testing.T) {
	for n := range 4 {
		text := strings.Repeat("x", maxSessionMessage-n) + "äöü€𝄞"
		got := sessionStatuses([]cluster.SessionState{{Peer: "tor", Message: text}})[0].Message
		if !utf8.ValidString(got) || !strings.HasPrefix(text, strings.TrimSuffix(got, "…")) || len(got) > maxSessionMessage || len(got) < maxSessionMessage-6 {
			t.Errorf("%d bytes from the end: %d bytes, %q", n, len(got), got[maxSessionMessage-n-1:])
		}
	}
}
