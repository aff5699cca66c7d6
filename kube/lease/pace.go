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

// after returns the pace after one request. It grows at once, and falls by one for each
// fast answer.
func (p pace) after(took time.Duration, late bool) pace {
	needed := pace((took + time.Second - 1) / time.Second)
	if late {
		needed = 2 * p
	}
	return min(max(needed, p-1, fastest), slowest)
}
