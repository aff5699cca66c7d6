// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
)

// Remembers reports whether a text is in the memory that the daemon has written to.
func (d *Daemon) Remembers(text string) (bool, error) {
	pid, err := innermost(d.process.PID())
	if err != nil {
		return false, fmt.Errorf("search the memory of %s: %w", d.Name, err)
	}
	maps, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return false, fmt.Errorf("search the memory of %s: %w", d.Name, err)
	}
	defer maps.Close()
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return false, fmt.Errorf("search the memory of %s: %w", d.Name, err)
	}
	defer mem.Close()
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		var from, to int64
		var mode string
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x %s", &from, &to, &mode); err != nil || !strings.HasPrefix(mode, "rw") {
			continue
		}
		if contains(io.NewSectionReader(mem, from, to-from), []byte(text)) {
			return true, nil
		}
	}
	return false, lines.Err()
}

// contains reports whether text is in what can be read of r.
func contains(r io.Reader, text []byte) bool {
	const step = 1 << 20
	buf := make([]byte, 0, step+len(text))
	for {
		n, err := io.ReadFull(r, buf[len(buf):len(buf)+step])
		buf = buf[:len(buf)+n]
		if bytes.Contains(buf, text) {
			return true
		}
		if err != nil {
			return false // the end, or a part that cannot be read
		}
		keep := copy(buf, buf[len(buf)-len(text):]) // it may be half there
		buf = buf[:keep]
	}
}
