// SPDX-License-Identifier: Apache-2.0

// Package trace has the lines of log that show a Service's way through controller and
// agent. Their times are those of the log: microseconds in its JSON format.
package trace

import (
	"context"
	"log/slog"
)

// Level is that of the lines: --log-level=all shows them, debug does not.
const Level = slog.LevelDebug - 4

// The messages of the lines. Each is written when what it says has happened; the attribute
// "took" is how long that took.
const (
	Read     = "service read"      // a watch has brought it: service, ingress, gone
	Hurried  = "queue started"     // bgpd counts down to its next look at changed routes: took
	Pass     = "pass"              // the loop has decided and handed over: took
	Written  = "service written"   // the API server has answered: service, took, err
	Serves   = "service served"    // the data plane serves an address: service, addr, waited
	Rendered = "routes rendered"   // the text for FRR is made: took
	Commands = "commands answered" // a daemon of FRR has answered: daemon, commands, first, last, took
	Sent     = "route sent"        // it was seen in the Adj-RIB-Out of a session: route
)

// Line writes a line, if such lines are wanted. Arguments that are not at hand belong
// behind On.
func Line(log *slog.Logger, message string, args ...any) {
	log.Log(context.Background(), Level, message, args...)
}

// On reports whether lines are wanted.
func On(log *slog.Logger) bool { return log.Enabled(context.Background(), Level) }
