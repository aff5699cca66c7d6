// SPDX-License-Identifier: Apache-2.0

package members

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/heraldlb/herald/wake"
)

// A watcher that misses two heartbeats of a node asks the node's kernel whether it is there,
// by a connection to the agent's port, and so it does if the node sends none at all: an agent
// of an earlier version is there. If the kernel does not answer, or has no agent, the
// watcher tells the node's other watchers. The node is lost when two of them agree. A
// watcher that hears the node says so. If none of them says anything, this side of a
// partition has no other watcher, and one is enough after some more attempts. All agents
// are informed at once. An agent that only waits for a processor is given more time.
const (
	// watchersEach is how many nodes watch a node. One of three may fail together with it.
	watchersEach = 3
	// lateness is how late a timer may be that tells how long others were silent: this
	// process may not have read yet what has arrived.
	lateness = 15 * time.Millisecond
	// attempts is how often a node's kernel does not answer until one watcher is enough,
	// and attemptsAlone if there is no other.
	attempts      = 4
	attemptsAlone = 2
)

// suspect is how long a node is silent before its watchers ask its kernel: two heartbeats,
// and some delay.
func (t timers) suspect() time.Duration { return 2*t.beat + t.beat/5 }

// A watched is a node that this one watches.
type watched struct {
	epoch    uint64
	renew    time.Time            // when it is to be asked for heartbeats again
	wait     time.Duration        // the time before, until it has sent one
	doubtful bool                 // it was asked again, and has not sent any
	heard    time.Time            // when its last heartbeat arrived; zero: none has yet
	since    time.Time            // that, and as long as this process did not run
	knocking bool                 // its kernel is being asked
	knock    time.Time            // when it may be asked again
	failed   int                  // so many times it did not answer, since the last heartbeat
	voted    time.Time            // when the other watchers were last told
	votes    map[string]time.Time // when other watchers said so
}

// watch asks for heartbeats, and finds out which do not come.
func (l *List) watch(ctx context.Context, network *memberlist.Memberlist, dial dialer) error {
	if !l.timers.watches {
		return nil
	}
	var knocks sync.WaitGroup
	defer knocks.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	due := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.watchWake:
		case <-timer.C:
		}
		now := time.Now()
		r := l.look(now, now.Sub(due))
		if r.accused && !l.Stale() { // else beat has noticed, or is about to
			l.opts.Logger.Warn("other agents did not hear this one for a while", "members", network.NumMembers())
			l.doubt()
		}
		if r.news {
			l.opts.Changed()
		}
		for i := range r.letters {
			_ = network.SendBestEffort(&r.letters[i].to, r.letters[i].body) // it is repeated
		}
		for _, node := range r.knocks {
			knocks.Go(func() { l.knocked(node, knock(dial, node)) })
		}
		due = r.next
		timer.Reset(max(time.Until(due), 0))
	}
}

// A round is what a watcher does at a time.
type round struct {
	letters []letter
	knocks  []memberlist.Node // whose kernels are to be asked
	news    bool              // a node was lost, or found
	accused bool              // this one was
	next    time.Time         // when to look again
}

// look returns what to do now. It may be late: time in which this process did not run is no
// time in which others were silent. That does not keep it from asking their kernels.
func (l *List) look(now time.Time, late time.Duration) round {
	stale := l.Stale()
	l.mu.Lock()
	defer l.mu.Unlock()
	if stale {
		l.excuse(now)
	}
	for _, w := range l.watched {
		if late > lateness {
			w.since = w.since.Add(late)
		}
	}
	around := l.ring(now)
	r := round{letters: append(l.replies, l.choose(around, now)...), accused: l.heartbeats.accused, next: now.Add(renewEvery)}
	l.replies, l.heartbeats.accused = nil, false
	for name, w := range l.watched {
		if !now.Before(w.renew) {
			w.ask(now)
			r.letters = append(r.letters, letter{l.alive[name].node, l.asks(w.epoch, 1)})
		}
		r.next = wake.Earlier(r.next, w.renew)
		l.judge(&r, around.watchersOf(name), name, w, now)
	}
	found, later := l.findAgain(now)
	r.news, r.next = r.news || found, wake.Earlier(r.next, later)
	return r
}

// choose replaces the nodes to watch, and returns messages to those that are not watched
// any more. The caller holds the mutex.
func (l *List) choose(around ring, now time.Time) (out []letter) {
	targets := slices.DeleteFunc(around.watchedBy(l.opts.Node), l.stops)
	for name, w := range l.watched {
		p, alive := l.alive[name]
		// Whether a lost node is heard again matters until memberlist has decided.
		if alive && w.epoch == p.epoch && (l.isLost(name) || slices.Contains(targets, name)) {
			continue
		}
		if alive {
			out = append(out, letter{p.node, l.asks(w.epoch, 0)})
		}
		delete(l.watched, name)
	}
	for _, name := range targets {
		if l.watched[name] == nil {
			l.watched[name] = &watched{epoch: l.alive[name].epoch, renew: now, votes: map[string]time.Time{}}
		}
	}
	return out
}

// stops reports whether a node said that its agent stops. The caller holds the mutex.
func (l *List) stops(name string) bool {
	r := l.records[name]
	if r == nil || r.epoch != l.alive[name].epoch {
		return false
	}
	c, ok := r.items[item{kind: leaving}]
	return ok && !c.gone
}

func (l *List) asks(epoch, seq uint64) []byte {
	return message{node: l.opts.Node, kind: watchMsg, epoch: epoch, seq: seq}.append(nil)
}

// judge adds to a round what to do about a node. The caller holds the mutex.
func (l *List) judge(r *round, watchers []string, name string, w *watched, now time.Time) {
	if l.isLost(name) || w.heard.IsZero() && !w.doubtful && w.failed == 0 {
		return
	}
	if due := later(w.heard.Add(l.timers.suspect()), l.excused); now.Before(due) {
		r.next = wake.Earlier(r.next, due)
		return
	}
	if !w.knocking && !now.Before(w.knock) {
		w.knocking, w.doubtful = true, false
		r.knocks = append(r.knocks, l.alive[name].node)
	}
	if !w.knocking {
		r.next = wake.Earlier(r.next, w.knock)
	}
	failed := w.failed
	if frozen := now.Sub(w.since) - l.timers.stale; frozen >= 0 && !w.heard.IsZero() {
		failed = max(failed, 1+int(frozen/l.timers.beat))
	} else if failed == 0 {
		r.next = wake.Earlier(r.next, now.Add(max(-frozen, l.timers.beat)))
		return
	}
	others := slices.DeleteFunc(watchers, func(o string) bool { return o == l.opts.Node })
	heard := l.life(name).heard
	if now.Sub(w.voted) >= l.timers.beat {
		w.voted = now
		vote := message{node: name, kind: missedMsg, epoch: w.epoch, seq: heard, watcher: l.opts.Node}.append(nil)
		for _, o := range others {
			r.letters = append(r.letters, letter{l.alive[o].node, vote})
		}
	}
	enough := attempts
	if len(others) == 0 {
		enough = attemptsAlone
	}
	if failed < enough && !w.seconded(now, 2*l.timers.beat) {
		r.next = wake.Earlier(r.next, w.voted.Add(l.timers.beat))
		return
	}
	l.send(message{node: name, kind: lostMsg, epoch: w.epoch, seq: heard}.append(nil))
	l.lose(name, heard, now)
	r.news = true
}

// knocked takes in what a node's kernel has answered.
func (l *List) knocked(node memberlist.Node, answer reply) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.watched[node.Name]
	if w == nil || !w.knocking {
		return
	}
	w.knocking, w.knock = false, time.Now().Add(l.timers.beat)
	switch answer {
	case absent:
		w.failed += 2
	case silent:
		w.failed, w.knock = w.failed+1, time.Now() // that took long enough
	case present:
		w.failed, w.knock = 0, time.Now().Add(4*l.timers.beat)
	case unclear:
	}
	l.watchWake.Set()
}

// excuse has no node be missed for a moment: this process did not run, and may not have
// read what has arrived. The caller holds the mutex.
func (l *List) excuse(now time.Time) { l.excused = later(l.excused, now.Add(l.timers.beat)) }

// voted handles the message of another watcher. The caller holds the mutex.
func (l *List) voted(m message, now time.Time) {
	w := l.watched[m.node]
	if _, alive := l.alive[m.watcher]; w == nil || !alive || m.epoch != w.epoch || m.watcher == m.node {
		return
	}
	heard := l.life(m.node).heard
	if now.Sub(w.heard) < l.timers.suspect() && heard > m.seq {
		l.reply(m.watcher, message{node: m.node, kind: beatMsg, epoch: m.epoch, seq: heard}.append(nil))
		return
	}
	w.votes[m.watcher] = now
	maps.DeleteFunc(w.votes, func(_ string, at time.Time) bool { return now.Sub(at) > renewEvery })
	if !w.voted.IsZero() {
		l.watchWake.Set()
	}
}

// reply answers a member. The caller holds the mutex.
func (l *List) reply(to string, body []byte) {
	l.replies = append(l.replies, letter{l.alive[to].node, body})
	l.watchWake.Set()
}

// ask records that the node is being asked.
func (w *watched) ask(now time.Time) {
	if w.heard.IsZero() {
		w.doubtful = w.wait > 0
		w.wait = min(max(2*w.wait, askHeartbeat), renewEvery)
	} else {
		w.wait = renewEvery
	}
	w.renew = now.Add(w.wait)
}

// hear takes in a heartbeat.
func (w *watched) hear(now time.Time) {
	w.heard, w.since, w.failed, w.voted = now, now, 0, time.Time{}
}

// seconded reports whether another watcher misses the node too.
func (w *watched) seconded(now time.Time, valid time.Duration) bool {
	for _, at := range w.votes {
		if now.Sub(at) <= valid {
			return true
		}
	}
	return false
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
