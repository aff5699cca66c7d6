// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
)

// cgroup is where a container sees its own control group.
const cgroup = "/sys/fs/cgroup"

// memoryShare is how much of the container's limit Go's heap may fill before it is
// collected more often. The rest is for the program itself and the kernel's buffers.
const memoryShare = 0.9

// garbage is how much garbage there may be, in per cent of what is in use. It is less than
// Go's default of 100: most of what a daemon holds is what it knows of the cluster, and it
// makes little garbage once that is read.
const garbage = 50

// LimitMemory tells Go how much memory the container may take, so that garbage does not
// get it killed. It changes nothing if GOMEMLIMIT is set or there is no limit. In any case
// there is less garbage than by Go's default, unless GOGC is set.
func LimitMemory(log *slog.Logger) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbage)
	}
	if debug.SetMemoryLimit(-1) != math.MaxInt64 {
		return
	}
	limit := memoryLimit(cgroup)
	if limit == 0 {
		return
	}
	soft := int64(float64(limit) * memoryShare)
	debug.SetMemoryLimit(soft)
	log.Info("memory limited", "container", limit, "go", soft)
}

// memoryLimit returns the limit of the control group at a path, in version 2 or 1; 0 if
// there is none.
func memoryLimit(path string) int64 {
	for _, name := range []string{"memory.max", "memory/memory.limit_in_bytes"} {
		text, err := os.ReadFile(filepath.Join(path, name))
		if err != nil {
			continue
		}
		limit, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err != nil || limit >= math.MaxInt64/2 { // "max", or version 1's largest
			return 0
		}
		return limit
	}
	return 0
}
