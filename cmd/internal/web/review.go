// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// A Reviewer says whether a token has an owner, and whether that may get a path. It is
// called by several goroutines.
type Reviewer interface {
	Review(ctx context.Context, token, path string) (known, allowed bool, err error)
}

// A verdict is what a Reviewer says.
type verdict int

const (
	stranger verdict = iota // nobody knows the token
	denied                  // its owner may not get the page
	allowed
)

func verdictOf(known, may bool) verdict {
	switch {
	case !known:
		return stranger
	case !may:
		return denied
	}
	return allowed
}

// How long a verdict is remembered. A token that was allowed counts as such for longer
// while it cannot be reviewed: metrics are needed most when the API server or the agent
// is away.
const (
	allowedFor  = time.Minute
	refusedFor  = 10 * time.Second
	trustedFor  = 15 * time.Minute
	maxVerdicts = 256
)

// maxFresh bounds the reviews of unknown tokens in a second. The API server must not be
// asked by everybody who can reach the port.
const maxFresh = 5

// How long a review may take. A client with a trusted token gets its page in time, even
// if the API server does not answer.
const (
	reviewTimeout  = 8 * time.Second
	trustedTimeout = 3 * time.Second
)

var errTooMany = errors.New("too many unknown tokens")

// A memory remembers the verdicts of a Reviewer.
type memory struct {
	ask Reviewer
	log *slog.Logger

	mu       sync.Mutex // guards the fields below
	verdicts map[question]answer
	second   time.Time // in which fresh reviews are counted
	fresh    int
	failing  bool // the last review, which was logged
}

// A question is what is asked of a Reviewer, without the token itself.
type question struct {
	token [sha256.Size]byte
	path  string
}

type answer struct {
	verdict
	at time.Time
}

// within reports whether the answer was given less than d ago.
func (a answer) within(d time.Duration, now time.Time) bool {
	return !a.at.IsZero() && now.Sub(a.at) < d
}

func newMemory(ask Reviewer, log *slog.Logger) *memory {
	return &memory{ask: ask, log: log, verdicts: map[question]answer{}}
}

// review returns what is remembered, or asks.
func (m *memory) review(ctx context.Context, token, path string) (verdict, error) {
	q := question{sha256.Sum256([]byte(token)), path}
	known, err := m.recall(q, time.Now())
	if err != nil {
		return stranger, err
	}
	life, timeout := refusedFor, reviewTimeout
	if known.verdict == allowed {
		life, timeout = allowedFor, trustedTimeout
	}
	if known.within(life, time.Now()) {
		return known.verdict, nil
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	owned, may, err := m.ask.Review(ctx, token, path)
	m.remember(q, verdictOf(owned, may), err)
	if err != nil && known.verdict == allowed {
		return allowed, nil
	}
	return verdictOf(owned, may), err
}

// recall returns what is known, and an error if a review would be one too many.
func (m *memory) recall(q question, now time.Time) (answer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.verdicts[q]
	switch {
	case known.verdict == allowed && known.within(trustedFor, now):
		return known, nil
	case known.verdict != allowed && known.within(refusedFor, now):
		return known, nil
	}
	if now.Sub(m.second) >= time.Second {
		m.second, m.fresh = now, 0
	}
	if m.fresh++; m.fresh > maxFresh {
		return answer{}, errTooMany
	}
	return answer{}, nil
}

// remember notes a verdict, or that there was none.
func (m *memory) remember(q question, v verdict, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		if !m.failing && !errors.Is(err, context.Canceled) {
			m.failing = true
			m.log.Warn("tokens for metrics cannot be checked", "err", err)
		}
		return
	}
	if m.failing {
		m.failing = false
		m.log.Info("tokens for metrics can be checked again")
	}
	now := time.Now()
	if len(m.verdicts) >= maxVerdicts {
		m.forget(now)
	}
	m.verdicts[q] = answer{v, now}
}

// forget makes room: verdicts that are over go, and then the oldest one, a refusal if
// there is one.
func (m *memory) forget(now time.Time) {
	var oldest question
	for q, a := range m.verdicts {
		if life := map[bool]time.Duration{true: trustedFor, false: refusedFor}[a.verdict == allowed]; !a.within(life, now) {
			delete(m.verdicts, q)
			continue
		}
		o, ok := m.verdicts[oldest]
		if !ok || (o.verdict == allowed) != (a.verdict == allowed) && o.verdict == allowed ||
			(o.verdict == allowed) == (a.verdict == allowed) && a.at.Before(o.at) {
			oldest = q
		}
	}
	if len(m.verdicts) >= maxVerdicts {
		delete(m.verdicts, oldest)
	}
}
