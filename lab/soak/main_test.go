// SPDX-License-Identifier: Apache-2.0

package soak_test

import (
	"testing"

	"github.com/heraldlb/herald/lab/e2e"
)

func TestMain(m *testing.M) { e2e.Main(m) }
