// SPDX-License-Identifier: Apache-2.0

package members

import (
	"context"
	"maps"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/heraldlb/herald/wake"
)

// The routes that nodes were seen to send to BGP peers are reported only to nodes that
// ask for them. With 1,000 nodes that each announce 10,000 addresses, a report to all would
// cost too much. A node asks while it drains, or before it leaves routes to others for
// another reason.
const (
	// askFirst and askLast bound the time between two questions to a node that has
	// not answered. It doubles each time.
	askFirst = 200 * time.Millisecond
	askLast  = 5 * time.Second
	// askAgain is the time between two questions to a node that has answered: an answer
	// may have been lost. It is at least askEach for each member.
	askAgain = 2 * time.Second
	askEach  = 5 * time.Millisecond
	// askerAge is how long a question is valid.
	askerAge = 20 * time.Second
	// answerLeast is the least time between two answers to one node.
	answerLeast = 50 * time.Millisecond
	// answerRate bounds the answers of all nodes together to one node, in bytes a second,
	// once each of them has answered.
	answerRate = 512 << 10
)

// A question is one from this node to another.
type question struct {
	next time.Time     // when to ask
	wait time.Duration // the last time to wait for an answer
}

// An asker is a node that has asked this one.
type asker struct {
	asked time.Time // when last
	knows uint64    // number of the last answer that it has, or was sent
	sent  time.Time // when that was sent
}

// An answer is the answer of another node.
type answer struct {
	epoch, seq uint64
	list       []Sent
}

// A conversation has the questions and answers of this node and others. The List's mutex
// guards it.
type conversation struct {
	asking    bool
	questions map[string]question
	answers   map[string]answer

	askers map[string]asker
	ready  bool   // own is up to date
	seq    uint64 // of own
	own    string // this node's answer, as appendSent writes it
}

func newConversation() conversation {
	return conversation{questions: map[string]question{}, answers: map[string]answer{}, askers: map[string]asker{}}
}

// Ask sets whether this node asks the others which routes they have sent. While it does,
// their answers appear in the View.
func (l *List) Ask(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.talk.asking == on {
		return
	}
	l.talk.asking = on
	l.talk.forget()
	l.invalidate()
	l.converseWake.Set()
}

// forget drops all answers, so that every node is asked again.
func (c *conversation) forget() {
	clear(c.questions)
	clear(c.answers)
}

// SetSent replaces this node's answer to others. It has to be called while the View says
// that another node asks.
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
	l.converseWake.Set()
}

// asked handles a question, and reports whether the node asks for the first time. The
// caller holds the mutex.
func (l *List) asked(m message) bool {
	if _, alive := l.alive[m.node]; !alive {
		return false
	}
	c := &l.talk
	a, known := c.askers[m.node]
	a.asked, a.knows = time.Now(), m.seq
	if m.seq == 0 {
		a.sent = time.Time{} // it waits for its first answer
	}
	c.askers[m.node] = a
	l.converseWake.Set()
	if !known {
		l.invalidate()
	}
	return !known
}

// answered handles an answer, and reports whether it is news. The caller holds the mutex.
func (l *List) answered(m message) bool {
	p, alive := l.alive[m.node]
	was, known := l.talk.answers[m.node]
	if !l.talk.asking || !alive || m.epoch != p.epoch || known && was.epoch == m.epoch && was.seq >= m.seq {
		return false
	}
	l.talk.answers[m.node] = answer{m.epoch, m.seq, l.shared(m.sent)}
	l.invalidate()
	return true
}

// shared returns an equal list from another node's answer if there is one, else s. Usually
// all answers are equal, so that one copy is enough.
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

// converse sends questions and answers until ctx ends.
func (l *List) converse(ctx context.Context, network *memberlist.Memberlist) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.converseWake:
		case <-timer.C:
		}
		now := time.Now()
		letters, next, silent := l.letters(now)
		if silent {
			l.opts.Changed()
		}
		each(ctx, letters, func(_ int, letter letter) {
			// After a loss the question is asked again.
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

// letters returns the letters to be sent now, and the time of the next ones; zero: never.
// It reports whether the last node that asked has stopped asking.
func (l *List) letters(now time.Time) (out []letter, next time.Time, silent bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	silent = l.forgetAskers(now)
	out, next = l.answersDue(now)
	if l.talk.asking {
		questions, later := l.questionsDue(now)
		out, next = append(out, questions...), wake.Earlier(next, later)
	}
	return out, next, silent
}

// forgetAskers forgets nodes that do not ask any more, and reports whether these were
// the last ones. The caller holds the mutex.
func (l *List) forgetAskers(now time.Time) (silent bool) {
	c := &l.talk
	before := len(c.askers)
	maps.DeleteFunc(c.askers, func(name string, a asker) bool {
		_, alive := l.alive[name]
		return !alive || now.Sub(a.asked) >= askerAge
	})
	if len(c.askers) > 0 {
		return false
	}
	c.ready = false // SetSent is no longer called
	if before > 0 {
		l.invalidate()
	}
	return before > 0
}

// answersDue returns the answers to be sent now, and the time of the next ones. The
// caller holds the mutex.
func (l *List) answersDue(now time.Time) (out []letter, next time.Time) {
	c := &l.talk
	epoch := l.records[l.opts.Node].epoch
	between := max(answerLeast, time.Duration(len(l.alive)*len(c.own))*time.Second/answerRate)
	for name, a := range c.askers {
		due := a.sent.Add(between)
		switch {
		case !c.ready || a.knows >= c.seq:
		case now.Before(due):
			next = wake.Earlier(next, due)
		default:
			out = append(out, letter{l.alive[name].node, message{node: l.opts.Node, kind: sentMsg, epoch: epoch, seq: c.seq, raw: c.own}.append(nil)})
			a.knows, a.sent = c.seq, now
			c.askers[name] = a
		}
		next = wake.Earlier(next, a.asked.Add(askerAge))
	}
	return out, next
}

// questionsDue returns the questions to be sent now, and the time of the next ones. The
// caller holds the mutex.
func (l *List) questionsDue(now time.Time) (out []letter, next time.Time) {
	c := &l.talk
	epoch := l.records[l.opts.Node].epoch
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
		next = wake.Earlier(next, q.next)
	}
	return out, next
}
