// SPDX-License-Identifier: Apache-2.0

package members

import (
	"time"

	"github.com/heraldlb/herald/wake"
)

// lostKept is how long a member counts as lost that memberlist's probes find alive.
const lostKept = 10 * time.Second

// A life is what is known of a member's heartbeats.
type life struct {
	epoch uint64
	heard uint64 // the last one that anyone heard
	lost  bool   // its watchers miss it: it does not count as alive

	missed uint64    // the last one that was heard when it was lost
	since  time.Time // then
	found  time.Time // when it was heard again; zero: it was not lost
}

// Losses count agents that did not say goodbye.
type Losses struct {
	Missed   uint64 // declared dead because heartbeats were missing
	Probed   uint64 // because memberlist's probes had no answer
	Returned uint64 // of them, the same process was heard again
}

// Losses returns how often other agents were declared dead so far.
func (l *List) Losses() Losses {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.losses
}

// life returns what is known of a member's heartbeats. The caller holds the mutex.
func (l *List) life(name string) *life {
	epoch := l.alive[name].epoch
	f := l.lives[name]
	if f == nil || f.epoch != epoch {
		f = &life{epoch: epoch}
		l.lives[name] = f
	}
	return f
}

// isLost reports whether a member counts as dead, though memberlist does not know yet. The
// caller holds the mutex.
func (l *List) isLost(name string) bool {
	f := l.lives[name]
	return f != nil && f.lost
}

// present returns the number of members that count as alive, including this node. The
// caller holds the mutex.
func (l *List) present() int {
	n := len(l.alive) + 1
	for _, f := range l.lives {
		if f.lost {
			n--
		}
	}
	return n
}

// hears handles a heartbeat, or the news of one, and reports whether its node was lost.
// The caller holds the mutex.
func (l *List) hears(m message, now time.Time) bool {
	p, alive := l.alive[m.node]
	w := l.watched[m.node]
	if !alive || m.epoch < p.epoch {
		return false
	}
	if m.epoch > p.epoch { // the news of the epoch follows
		if w != nil {
			w.hear(now)
		}
		return false
	}
	f := l.life(m.node)
	if m.seq <= f.heard {
		return false
	}
	f.heard = m.seq
	if w != nil {
		w.hear(now)
	}
	if !f.lost {
		return false
	}
	if w != nil { // it may not know
		l.reply(m.node, message{node: m.node, kind: lostMsg, epoch: f.epoch, seq: f.missed}.append(nil))
	}
	l.find(m.node, now)
	return true
}

// misses handles the message that a node is lost, and reports whether that is news. The
// caller holds the mutex.
func (l *List) misses(m message, now time.Time) bool {
	if m.node == l.opts.Node {
		l.protest(m)
		return false
	}
	p, alive := l.alive[m.node]
	if !alive || m.epoch != p.epoch || l.isLost(m.node) || m.seq < l.life(m.node).heard {
		return false
	}
	l.lose(m.node, m.seq, now)
	l.watchWake.Set()
	return true
}

// lose records that a member counts as dead. The caller holds the mutex.
func (l *List) lose(name string, heard uint64, now time.Time) {
	f := l.life(name)
	f.lost, f.heard, f.missed, f.since = true, heard, heard, now
	l.silent[name] = l.lastSign(name, now)
	l.losses.Missed++
	l.damping.died(name, f.epoch, l.present(), now)
	l.invalidate()
	l.opts.Logger.Warn("agent is dead", "node", name)
}

// lastSign returns when a member that is lost now gave its last sign of life, as far as that
// is known: a node that does not watch it learns no more than that it is lost. The caller
// holds the mutex.
func (l *List) lastSign(name string, now time.Time) time.Time {
	if w := l.watched[name]; w != nil && !w.heard.IsZero() {
		return w.heard
	}
	return now
}

// find records that a lost member is alive after all. The caller holds the mutex.
func (l *List) find(name string, now time.Time) {
	f := l.life(name)
	f.lost, f.found = false, now
	delete(l.silent, name)
	l.returns(name, f.epoch, now)
	l.invalidate()
	l.opts.Logger.Info("agent is heard again", "node", name)
}

// returns records that a process of a node is alive that may have been declared dead. The
// caller holds the mutex.
func (l *List) returns(name string, epoch uint64, now time.Time) {
	if a, dead := l.damping.dead[name]; dead && a.epoch == epoch {
		l.losses.Returned++
	}
	if node, damped := l.damping.joined(name, epoch, now); damped {
		l.damp(node)
	}
}

// findAgain finds members that were lost for so long that memberlist should have found out.
// It reports whether there were any, and returns when the next are due. The caller holds
// the mutex.
func (l *List) findAgain(now time.Time) (found bool, next time.Time) {
	for name, f := range l.lives {
		if !f.lost {
			continue
		}
		if end := f.since.Add(lostKept); now.Before(end) {
			next = wake.Earlier(next, end)
			continue
		}
		if w := l.watched[name]; w != nil {
			w.heard = time.Time{}
		}
		l.find(name, now)
		found = true
	}
	return found, next
}

// doom has a member count as dead that memberlist has declared dead, unless it denies that
// at once. An agent that was cut off says of all others that they are dead when it is back.
// The caller holds the mutex.
func (l *List) doom(name string) {
	l.reprieve(name)
	var t *time.Timer
	t = time.AfterFunc(l.timers.deny, func() {
		l.mu.Lock()
		dead := l.doomed[name] == t && !l.ended.Load()
		if dead {
			l.drop(name)
		}
		l.mu.Unlock()
		if dead {
			l.opts.Changed()
		}
	})
	l.doomed[name] = t
}

// reprieve ends doom. The caller holds the mutex.
func (l *List) reprieve(name string) {
	if t := l.doomed[name]; t != nil {
		t.Stop()
		delete(l.doomed, name)
	}
}

// drop removes a member that is dead or has left. The caller holds the mutex.
func (l *List) drop(name string) {
	p, planned, known := l.alive[name], l.stops(name), l.isLost(name)
	l.reprieve(name)
	delete(l.alive, name)
	l.keys.stale = true
	delete(l.lives, name)
	l.rationFaults()
	switch {
	case planned:
		delete(l.silent, name)
		l.opts.Logger.Info("agent left", "node", name)
	case !known:
		l.losses.Probed++
		l.silent[name] = l.lastSign(name, time.Now())
		l.damping.died(name, p.epoch, l.present(), time.Now())
		l.opts.Logger.Warn("agent is dead", "node", name)
	}
	l.lost++
	l.watchWake.Set()
	l.invalidate()
}
