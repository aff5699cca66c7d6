// SPDX-License-Identifier: Apache-2.0

package conf_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/frr/conf"
)

func TestRedact(t *testing.T) {
	got := conf.Redact("a\nneighbor 192.0.2.1 password s3 cr3t\nb password x")
	want := "a\nneighbor 192.0.2.1 password [redacted]\nb password [redacted]"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Redact (-want +got):\n%s", diff)
	}
}
