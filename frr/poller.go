// SPDX-License-Identifier: Apache-2.0

package frr

import (
	"context"
	"fmt"
	"time"

	"github.com/heraldlb/herald/frr/conf"
	"github.com/heraldlb/herald/frr/vty"
)

// A Poller asks bgpd for its sessions on behalf of all parts of a process. It asks
// one question at a time, and callers that wait at the same time share the answer.
// The methods are safe for concurrent use.
type Poller struct {
	dir   string
	token token // its holder owns the fields below

	reader   *Reader
	at       time.Time // when bgpd was asked for the last answer; zero: never
	sessions []Session
	err      error
}

// NewPoller returns a Poller of the bgpd whose vty socket is in dir. It connects
// when it is asked for sessions.
func NewPoller(dir string) *Poller {
	return &Poller{dir: dir, token: newToken(), reader: NewReader(dir)}
}

// Reader returns a Reader that has its sessions from the Poller, and connections
// of its own for everything else.
func (p *Poller) Reader() *Reader {
	r := NewReader(p.dir)
	r.bgp = p
	return r
}

// Close closes the connection.
func (p *Poller) Close() error {
	p.token <- struct{}{}
	defer p.token.release()
	return p.reader.Close()
}

// Sessions returns the sessions as bgpd had them at a time or later, in the order
// of their peers, and without BFD. It asks bgpd unless the last answer is new
// enough. The caller must not change the result.
func (p *Poller) Sessions(ctx context.Context, since time.Time) ([]Session, error) {
	if err := p.token.acquire(ctx); err != nil {
		return nil, fmt.Errorf("%s: busy: %w: %w", conf.BGPD, vty.ErrUnavailable, err)
	}
	defer p.token.release()
	if !p.at.IsZero() && !p.at.Before(since) {
		return p.sessions, p.err
	}
	at := time.Now()
	sessions, err := p.reader.bgpSessions(ctx)
	if ctx.Err() != nil && err != nil {
		return nil, err // not an answer: the caller gave up
	}
	p.at, p.sessions, p.err = at, sessions, err
	return sessions, err
}
