// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// LockFile is in the directory of the vty sockets. The agent that drives FRR holds a
// lock on it, which ends with its process. The text names the agent.
const LockFile = "agent.lock"

// ErrInUse reports that another agent drives the same FRR. Two agents would undo each
// other's changes: the second must not start.
var ErrInUse = errors.New("another agent drives this FRR")

// Lock makes an agent the only one that drives the FRR whose vty sockets are in dir,
// until the file is closed or the process ends. If another agent holds the lock, the
// error wraps ErrInUse. After any other error, such as for a directory that the agent
// cannot write to, nobody is known to drive it.
func Lock(dir, holder string) (*os.File, error) {
	path := filepath.Join(dir, LockFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, confMode)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		other, _ := os.ReadFile(path) // without a name the error still says what to do
		f.Close()
		return nil, fmt.Errorf("lock %s: %w: %s; stop one of them, or give this one an FRR of its own with --frr-dir and --frr-conf",
			path, ErrInUse, strings.ToValidUTF8(strings.TrimSpace(string(other[:min(len(other), 100)])), ""))
	case err != nil:
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	// The name is for people: a full disk must not keep the agent from starting.
	_ = f.Truncate(0)
	_, _ = f.WriteAt([]byte(holder+"\n"), 0)
	return f, nil
}
