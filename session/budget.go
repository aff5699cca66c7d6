// SPDX-License-Identifier: Apache-2.0

package session

import "time"

const (
	// changesAtOnce is how many events about one peer may follow each other, and
	// changeEvery how often there may be another one after those. A session that
	// flaps is reported, but not each time. The same limits what a
	// ConfigurationState says of it.
	changesAtOnce = 6
	changeEvery   = 2 * time.Minute
)

// A budget allows changesAtOnce changes at once, and one each changeEvery after
// those.
type budget struct {
	allowed int
	earned  time.Time // when allowed was counted last
}

func newBudget(at time.Time) budget { return budget{changesAtOnce, at} }

// take reports whether there may be a change, and counts it.
func (b *budget) take(at time.Time) bool {
	if n := int(at.Sub(b.earned) / changeEvery); n > 0 {
		b.earned = b.earned.Add(time.Duration(n) * changeEvery)
		b.allowed = min(b.allowed+n, changesAtOnce)
	}
	if b.allowed == 0 {
		return false
	}
	if b.allowed == changesAtOnce {
		b.earned = at
	}
	b.allowed--
	return true
}
