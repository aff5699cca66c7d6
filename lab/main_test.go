// SPDX-License-Identifier: Apache-2.0

package lab_test

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/heraldlb/herald/lab"
)

func TestMain(m *testing.M) {
	lab.Reexec()
	code := m.Run()
	if err := errors.Join(shared.stop(), sidecars.stop()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}
