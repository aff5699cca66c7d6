// SPDX-License-Identifier: Apache-2.0

package members

import (
	"time"

	"github.com/hashicorp/memberlist"
)

// WithTransport returns opts with a transport of the test's.
func WithTransport(opts Options, t memberlist.Transport) Options {
	opts.transport = t
	return opts
}

// WithClock returns opts with a clock of the test's.
func WithClock(opts Options, now func() time.Duration) Options {
	opts.clock = func() (time.Duration, error) { return now(), nil }
	return opts
}

// SetEpoch makes the process of l seem to have started at another time.
func SetEpoch(l *List, epoch uint64) { l.records[l.opts.Node].epoch = epoch }
