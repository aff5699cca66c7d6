// SPDX-License-Identifier: Apache-2.0

package lease

import "time"

// A pace is how slow the API server is: roughly the seconds that it takes for an answer.
// The times of the Lease grow with it, so that a slow API server does not leave the cluster
// without a leader, and a fast one has a dead leader replaced soon.
type pace int

const (
	fastest pace = 1 // a leader that dies is replaced within 7 s
	slowest pace = 6 // answers that take 11 s are in time
)

// retryPeriod is the time between two attempts to renew or to acquire the Lease.
const retryPeriod = time.Second

// request is how long one request may take. One that hangs leaves time for another.
func (p pace) request() time.Duration { return time.Duration(p) * 2 * time.Second }

// renew is how long a leader leads after it has begun to write the Lease.
func (p pace) renew() time.Duration { return time.Duration(p) * 4 * time.Second }

// lease is how long other processes wait for a leader after the Lease was written. It is
// longer than renew, so that a leader has stopped when another one starts.
func (p pace) lease() time.Duration { return time.Duration(p) * 6 * time.Second }

// calmAnswers is how many answers in a row are fast enough for a faster pace before it is
// taken: some 30 s. An API server with too much to do gives fast answers in between.
const calmAnswers = 30

// after returns the pace after one request, if calm answers before it were fast enough for a
// faster one, and how many are now. The pace grows at once, and falls by one.
func (p pace) after(took time.Duration, late bool, calm int) (next pace, stillCalm int) {
	needed := pace((took + time.Second - 1) / time.Second)
	if late {
		needed = 2 * p
	}
	switch {
	case needed >= p:
		return min(needed, slowest), 0
	case calm+1 < calmAnswers:
		return p, calm + 1
	default:
		return max(p-1, fastest), 0
	}
}
