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

// gcPercent is how much garbage Go's heap may have, in percent of what is in use, before it
// is collected. Go's default is 100. A daemon that idles has little to collect, and is on
// every node.
const gcPercent = 50

// LimitMemory tells Go how much memory the container may take, so that garbage does not
// get it killed, and how much garbage there may be. GOMEMLIMIT and GOGC take precedence.
func LimitMemory(log *slog.Logger) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
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
