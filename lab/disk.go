// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Fill writes a file until its file system has no more room. It is one of limited size,
// as that of [Options.SmallConf] is.
func Fill(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	junk := make([]byte, 4096)
	for {
		_, err := f.Write(junk)
		if errors.Is(err, unix.ENOSPC) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
