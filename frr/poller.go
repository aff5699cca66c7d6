// SPDX-License-Identifier: Apache-2.0

package frr

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
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
	asked    *vty.Conn // the connection on which bgpd was asked for its version

	version atomic.Pointer[string] // nil: not known
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
	p.learn(ctx)
	return sessions, err
}

// learn asks bgpd for its version, once on each connection. The caller holds the token.
func (p *Poller) learn(ctx context.Context) {
	conn := p.reader.conns[conf.BGPD]
	if conn == nil || conn == p.asked {
		return
	}
	text, err := conn.Run(ctx, "show version")
	if errors.Is(err, vty.ErrUnavailable) {
		return // the next connection is asked
	}
	p.asked = conn
	if version := versionIn(text); err == nil && version != "" {
		p.version.Store(&version)
	}
}

// versionIn returns the version in the output of a daemon for "show version"; empty: there is
// none.
func versionIn(text string) string {
	words := strings.Fields(text)
	if len(words) < 2 || words[0] != "FRRouting" {
		return ""
	}
	return words[1]
}

// Version returns the version of bgpd; empty: it is not known yet.
func (p *Poller) Version() string {
	if v := p.version.Load(); v != nil {
		return *v
	}
	return ""
}
