// SPDX-License-Identifier: Apache-2.0

package hostile_test

import (
	"testing"

	"github.com/heraldlb/herald/lab/e2e"
)

func TestMain(m *testing.M) { e2e.Main(m) }
