// SPDX-License-Identifier: Apache-2.0

package members

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/hashicorp/memberlist"
)

// knockTime is how long a node's kernel has to answer a watcher.
const knockTime = 50 * time.Millisecond

// A reply is what a node's kernel answers.
type reply int

const (
	present reply = iota // there is an agent
	absent               // there is none
	silent               // nothing
	unclear              // this node was not able to ask
)

// A dialer opens connections.
type dialer interface {
	DialTimeout(addr string, timeout time.Duration) (net.Conn, error)
}

// knock asks a node's kernel whether an agent is there. The kernel accepts the connection,
// also of an agent that has no processor, and answers with a reset if there is no agent. A
// reset has to match the request, so that it cannot be forged from afar, as a message of
// ICMP can.
func knock(d dialer, n memberlist.Node) reply {
	start := time.Now()
	c, err := d.DialTimeout(n.Address(), knockTime)
	late := time.Since(start) > knockTime+lateness
	switch {
	case err == nil:
		_ = c.Close() // nothing was sent
		return present
	case errors.Is(err, syscall.ECONNREFUSED):
		return absent
	case late: // the answer may have come
		return unclear
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.EHOSTUNREACH), timedOut(err):
		return silent
	}
	return unclear
}

func timedOut(err error) bool {
	e := net.Error(nil)
	return errors.As(err, &e) && e.Timeout()
}
