// SPDX-License-Identifier: Apache-2.0

package members

import (
	"context"
	"maps"
	"time"

	"github.com/hashicorp/memberlist"
)

// What nodes were seen to have sent to BGP peers is told to those that ask for it,
// and to nobody else: where each of 1,000 nodes announces each of 10,000 addresses,
// telling all of them would cost more than it is good for. Asking is for a node
// that drains, or is about to leave routes to others for another reason.
const (
	// askFirst and askLast bound the time between two questions to a node that has
	// not answered. It doubles each time.
	askFirst = 200 * time.Millisecond
	askLast  = 5 * time.Second
	// askAgain is the time between two questions to a node that has answered, which
	// make up for answers that were lost; askEach is its least per member.
	askAgain = 2 * time.Second
	askEach  = 5 * time.Millisecond
	// askerAge is how long a question counts.
	askerAge = 20 * time.Second
	// answerLeast is the least time between two answers to one node.
	answerLeast = 50 * time.Millisecond
	// answerRate is what a node that asks is sent by all others together, in bytes
	// each second, once each of them has answered.
	answerRate = 512 << 10
)

// A question is one that this node has to another.
type question struct {
	next time.Time     // when to ask
	wait time.Duration // how long it waited last for an answer
}

// An asker is a node that has asked this one.
type asker struct {
	heard time.Time // when last
	knows uint64    // the number of the answer that it has, or was sent
	sent  time.Time // when it was
}

// An answer is what another node has answered.
type answer struct {
	epoch, seq uint64
	list       []Sent
}

// A conversation is who asks whom. The List's mutex guards it.
type conversation struct {
	asking    bool
	questions map[string]question
	answers   map[string]answer

	askers map[string]asker
	ready  bool   // own is current
	seq    uint64 // of own
	own    string // what appendSent wrote
}

func newConversation() conversation {
	return conversation{questions: map[string]question{}, answers: map[string]answer{}, askers: map[string]asker{}}
}

// Ask says whether this node wants to know what others have sent. While it does,
// members of the View come to have answered.
func (l *List) Ask(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.talk.asking == on {
		return
	}
	l.talk.asking = on
	l.talk.forget()
	l.touch()
	nudge(l.speak)
}

// forget drops all answers, to ask again for each.
func (c *conversation) forget() {
	clear(c.questions)
	clear(c.answers)
}

// SetSent replaces what this node answers to those that ask. It is needed while the
// View says that somebody asks.
func (l *List) SetSent(list []Sent) {
	own := string(appendSent(nil, list))
	l.mu.Lock()
	defer l.mu.Unlock()
	c := &l.talk
	if c.ready && c.own == own {
		return
	}
	if c.own != own || c.seq == 0 {
		c.seq++
	}
	c.ready, c.own = true, own
	nudge(l.speak)
}

// asked takes in a question. The caller holds the mutex.
func (l *List) asked(m message) bool {
	if _, alive := l.alive[m.node]; !alive {
		return false
	}
	c := &l.talk
	a, known := c.askers[m.node]
	a.heard, a.knows = time.Now(), m.seq
	if m.seq == 0 {
		a.sent = time.Time{} // it waits for the first
	}
	c.askers[m.node] = a
	nudge(l.speak)
	if !known {
		l.touch()
	}
	return !known
}

// answered takes in an answer, and reports whether it was news. The caller holds the
// mutex.
func (l *List) answered(m message) bool {
	p, alive := l.alive[m.node]
	was, known := l.talk.answers[m.node]
	if !l.talk.asking || !alive || m.epoch != p.epoch || known && was.epoch == m.epoch && was.seq >= m.seq {
		return false
	}
	l.talk.answers[m.node] = answer{m.epoch, m.seq, l.shared(m.sent)}
	l.touch()
	return true
}

// shared returns a list equal to s that another node has answered, if there is one:
// usually all say the same, and one copy of it will do.
func (l *List) shared(s []Sent) []Sent {
	for _, a := range l.talk.answers {
		if equalSent(a.list, s) {
			return a.list
		}
	}
	return s
}

// A letter is a message for one node.
type letter struct {
	to   memberlist.Node
	body []byte
}

// converse asks and answers, as long as there is something to ask or to answer.
func (l *List) converse(ctx context.Context, network *memberlist.Memberlist) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.speak:
		case <-timer.C:
		}
		now := time.Now()
		letters, next, silent := l.letters(now)
		if silent {
			l.opts.Changed()
		}
		each(ctx, letters, func(_ int, letter letter) {
			// What is lost is asked for again.
			if len(letter.body) <= packetSize {
				_ = network.SendBestEffort(&letter.to, letter.body)
			} else {
				_ = network.SendReliable(&letter.to, letter.body)
			}
		})
		if next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(max(time.Until(next), time.Millisecond))
		}
	}
}

// letters returns what is to be sent now, and when there will be more; a zero time is
// never. It reports whether nobody asks this node any more, but somebody did.
func (l *List) letters(now time.Time) (out []letter, next time.Time, silent bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := &l.talk
	before := len(c.askers)
	maps.DeleteFunc(c.askers, func(name string, a asker) bool {
		_, alive := l.alive[name]
		return !alive || now.Sub(a.heard) >= askerAge
	})
	if len(c.askers) == 0 {
		c.ready = false // nobody keeps it current
	}
	if silent = before > 0 && len(c.askers) == 0; silent {
		l.touch()
	}
	later := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	epoch := l.records[l.opts.Node].epoch
	between := max(answerLeast, time.Duration(len(l.alive)*len(c.own))*time.Second/answerRate)
	for name, a := range c.askers {
		due := a.sent.Add(between)
		switch {
		case !c.ready || a.knows >= c.seq:
		case now.Before(due):
			later(due)
		default:
			out = append(out, letter{l.alive[name].node, message{node: l.opts.Node, kind: sentMsg, epoch: epoch, seq: c.seq, raw: c.own}.append(nil)})
			a.knows, a.sent = c.seq, now
			c.askers[name] = a
		}
		later(a.heard.Add(askerAge))
	}
	if !c.asking {
		return out, next, silent
	}
	maps.DeleteFunc(c.questions, func(name string, _ question) bool { _, alive := l.alive[name]; return !alive })
	maps.DeleteFunc(c.answers, func(name string, _ answer) bool { _, alive := l.alive[name]; return !alive })
	for name, p := range l.alive {
		q := c.questions[name]
		a, known := c.answers[name]
		known = known && a.epoch == p.epoch
		if !now.Before(q.next) {
			if q.wait = min(max(2*q.wait, askFirst), askLast); known {
				q.wait = max(askAgain, time.Duration(len(l.alive))*askEach)
			} else {
				a.seq = 0
			}
			q.next = now.Add(q.wait)
			c.questions[name] = q
			out = append(out, letter{p.node, message{node: l.opts.Node, kind: askMsg, epoch: epoch, seq: a.seq}.append(nil)})
		}
		later(q.next)
	}
	return out, next, silent
}
