// SPDX-License-Identifier: Apache-2.0

package vty

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/heraldlb/herald/frr/conf"
)

// A Status is the last byte of a reply and says how a command ended. The values are
// those of lib/command.h in FRR.
type Status byte

// The statuses that Herald distinguishes.
const (
	Success       Status = 0  // CMD_SUCCESS
	Warning       Status = 1  // CMD_WARNING: refused, or done with a remark
	NoMatch       Status = 2  // CMD_ERR_NO_MATCH: unknown command
	Ambiguous     Status = 3  // CMD_ERR_AMBIGUOUS
	Incomplete    Status = 4  // CMD_ERR_INCOMPLETE
	SuccessDaemon Status = 10 // CMD_SUCCESS_DAEMON: done, and for other daemons too
	ConfigFailed  Status = 13 // CMD_WARNING_CONFIG_FAILED
)

// String returns the status in words.
func (s Status) String() string {
	switch s {
	case Success, SuccessDaemon:
		return "success"
	case Warning:
		return "warning"
	case NoMatch:
		return "unknown command"
	case Ambiguous:
		return "ambiguous command"
	case Incomplete:
		return "incomplete command"
	case ConfigFailed:
		return "configuration failed"
	}
	return fmt.Sprintf("status %d", byte(s))
}

// OK reports whether a command with status s and this output was carried out. FRR
// uses CMD_WARNING both for a refusal, which starts with a percent sign, and for a
// remark.
func (s Status) OK(output string) bool {
	switch s {
	case Success, SuccessDaemon:
		return true
	case Warning:
		return !strings.HasPrefix(strings.TrimSpace(output), "%")
	}
	return false
}

// A Reply is a daemon's answer to one command.
type Reply struct {
	Output string
	Status Status
}

// ErrRejected reports that FRR refused a command or did not know it. To send it again
// at once cannot help. The error is a *CommandError.
var ErrRejected = errors.New("rejected by FRR")

// A CommandError is a command that a daemon refused. It contains no password.
type CommandError struct {
	Daemon  string
	Line    int // line in the wanted configuration; 0 if the command is in none
	Command string
	Output  string // the daemon's output; its status in words if that is empty
}

// NewCommandError returns the error for a command that a daemon refused with r.
func NewCommandError(daemon, command string, r Reply) *CommandError {
	out := conf.RedactAnswer(command, strings.Join(strings.Fields(r.Output), " "))
	return &CommandError{
		Daemon:  daemon,
		Command: strings.TrimSpace(conf.Redact(command)),
		Output:  cmp.Or(out, r.Status.String()),
	}
}

// Error returns "bgpd: line 14: neighbor 192.0.2.1 port x: % Unknown command".
func (e *CommandError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %s: %s", e.Daemon, e.Command, e.Output)
	}
	return fmt.Sprintf("%s: line %d: %s: %s", e.Daemon, e.Line, e.Command, e.Output)
}

// Is makes errors.Is(err, ErrRejected) true.
func (e *CommandError) Is(target error) bool { return target == ErrRejected }
