// SPDX-License-Identifier: Apache-2.0

package members

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/heraldlb/herald/wake"
)

const (
	// keyKept is how long a key is accepted that SetKeys no longer has, at least, once
	// all members accept the first one.
	keyKept = 10 * time.Minute
	// keyNotice is how long the notice of a new member about its keys may take.
	keyNotice = 2 * time.Second
	// keyKnock is how long the notice of a node counts that is not a member: it cannot read
	// the answer if it lacks the key, and tries again and again.
	keyKnock = 5 * time.Second
	// keyWaits separates two warnings that members lack the first key.
	keyWaits = 2 * time.Minute
	// keyReview is how often the choice of a key is looked at though nothing has changed.
	keyReview = time.Second
	// maxPrints bounds the keys of a notice.
	maxPrints = 8
)

// A fingerprint identifies a key without revealing it.
type fingerprint [8]byte

func printOf(key []byte) fingerprint {
	sum := sha256.Sum256(append([]byte("herald gossip key "), key...))
	return fingerprint(sum[:])
}

// A notice has the keys that the process of a node accepts.
type notice struct {
	epoch  uint64
	ahead  bool   // it was heard before the epoch of the member
	seq    uint64 // a later notice of the process has a higher one
	prints []fingerprint
	heard  time.Time
}

// keys are the keys for the encryption of gossip. All are accepted. This node sends with
// the first one that every member accepts, so that a key is replaced without any two
// members losing each other. The List's mutex guards them.
type keys struct {
	ring    *memberlist.Keyring // nil: gossip is in clear text
	list    [][]byte            // the wanted one first
	given   int                 // so many of them were given last; the rest is kept for a while
	seq     uint64              // of this node's notice
	set     time.Time           // when list was set
	warned  time.Time
	notices map[string]notice // of other nodes

	stale    bool      // what the choice depends on has changed since reviewed
	reviewed time.Time // the last time
	due      time.Time // when time alone may change who lacks a key; zero: never
}

// newKeys returns keys, the wanted one first.
func newKeys(list [][]byte) (keys, error) {
	k := keys{notices: map[string]notice{}}
	if len(list) == 0 {
		return k, nil
	}
	var err error
	if k.ring, err = memberlist.NewKeyring(list, list[len(list)-1]); err != nil {
		return k, fmt.Errorf("key of gossip: %w", err)
	}
	k.list, k.given, k.set = slices.Clone(list), len(list), time.Now()
	return k, nil
}

// SetKeys replaces the keys: the one to send with first, then others to accept. Each is as
// in Options. A key that is missing in the list is accepted until no member needs it.
func (l *List) SetKeys(list [][]byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := &l.keys
	switch {
	case k.ring == nil && len(list) == 0:
		return nil
	case k.ring == nil:
		return errors.New("gossip was started in clear text: restart the agent to encrypt it")
	case len(list) == 0:
		return errors.New("gossip was started with a key: restart the agent without one")
	case slices.EqualFunc(list, k.list[:k.given], bytes.Equal):
		return nil
	}
	for _, key := range list {
		if err := k.ring.AddKey(key); err != nil {
			return fmt.Errorf("key of gossip: %w", err)
		}
	}
	kept := slices.DeleteFunc(slices.Clone(k.list), func(old []byte) bool { return holds(list, old) })
	k.list, k.given, k.set, k.warned = append(slices.Clone(list), kept...), len(list), time.Now(), time.Now()
	k.seq++
	l.sendNotice()
	l.opts.Logger.Info("keys of gossip have changed", "accepted", len(k.list))
	l.chooseKey(time.Now())
	return nil
}

// KeysPending returns how many keys are accepted, and the members that do not accept the
// one to send with yet, sorted by name.
func (l *List) KeysPending() (accepted int, lacking []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.keys.list) < 2 {
		return len(l.keys.list), nil
	}
	return len(l.keys.list), l.lacking(l.keys.list[0], time.Now())
}

// ownNotice returns the notice of this node. The caller holds the mutex.
func (l *List) ownNotice() message {
	m := message{node: l.opts.Node, kind: keysMsg, epoch: l.records[l.opts.Node].epoch, seq: l.keys.seq}
	for _, key := range l.keys.list[:min(len(l.keys.list), maxPrints)] {
		m.prints = append(m.prints, printOf(key))
	}
	return m
}

// sendNotice sends it to all members, unless gossip is in clear text. The caller holds the
// mutex.
func (l *List) sendNotice() {
	if len(l.keys.list) > 0 {
		l.send(l.ownNotice().append(nil))
	}
}

// noticed handles the notice of another node, and reports whether it is news. The caller
// holds the mutex.
func (l *List) noticed(m message) bool {
	if m.node == l.opts.Node {
		return false
	}
	now := time.Now()
	was, known := l.keys.notices[m.node]
	// The notice of an earlier process may still be passed on. But where the clock was set
	// back, it is the earlier process that has the higher epoch.
	p, alive := l.alive[m.node]
	if alive && m.epoch < p.epoch || known && m.epoch < was.epoch && (!alive || was.ahead) {
		return false
	}
	known = known && was.epoch == m.epoch
	if known && m.seq < was.seq {
		return false
	}
	l.keys.notices[m.node] = notice{epoch: m.epoch, ahead: alive && m.epoch > p.epoch, seq: m.seq, prints: m.prints, heard: now}
	news := !known || m.seq > was.seq
	l.keys.stale = l.keys.stale || news
	if k := &l.keys; news && len(k.list) > 0 && !slices.Contains(m.prints, printOf(k.ring.GetPrimaryKey())) {
		l.chooseKey(now) // it cannot read what is sent now
	}
	return news
}

// lacking returns the members, and nodes about to be, that do not accept a key, sorted by name. One that has sent
// no notice in time knows the oldest key alone: it is of an earlier version. The caller
// holds the mutex.
func (l *List) lacking(key []byte, now time.Time) (out []string) {
	id := printOf(key)
	oldest := bytes.Equal(key, l.keys.list[len(l.keys.list)-1])
	for name, p := range l.alive {
		n, known := l.keys.notices[name]
		known = known && n.epoch == p.epoch
		switch {
		case known && !slices.Contains(n.prints, id):
		case !known && !oldest && now.Sub(p.joined) >= keyNotice:
		case !known && !oldest:
			l.keys.due = wake.Earlier(l.keys.due, p.joined.Add(keyNotice))
			continue
		default:
			continue
		}
		out = append(out, name)
	}
	for name, n := range l.keys.notices {
		if _, alive := l.alive[name]; !alive && now.Sub(n.heard) < keyKnock && !slices.Contains(n.prints, id) {
			l.keys.due = wake.Earlier(l.keys.due, n.heard.Add(keyKnock))
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// chooseKey sends with the first key that all members accept; without members, and if
// there is none, with the oldest one. It drops keys that are needed no longer. The caller
// holds the mutex.
func (l *List) chooseKey(now time.Time) {
	k := &l.keys
	if len(k.list) == 0 {
		return
	}
	choice := k.list[len(k.list)-1]
	if len(l.alive) > 0 {
		for _, key := range k.list {
			if len(l.lacking(key, now)) == 0 {
				choice = key
				break
			}
		}
	}
	lacking := l.lacking(k.list[0], now)
	switch {
	case len(lacking) > 0 && now.Sub(k.warned) >= keyWaits:
		k.warned = now
		l.opts.Logger.Warn("the new key of gossip is not used yet: members lack it", "members", len(lacking), "first", lacking[0])
	case len(lacking) == 0 && len(k.list) > k.given && now.Sub(k.set) >= keyKept:
		k.list = k.list[:k.given]
		k.seq++
		l.sendNotice()
		l.opts.Logger.Info("earlier keys of gossip are dropped", "accepted", len(k.list))
		if !holds(k.list, choice) {
			choice = k.list[0]
		}
	}
	k.use(choice)
}

// reviewKey chooses the key again after something has changed, and from time to time. To
// choose is to look at each member, and an exchange of states has notices of all of them:
// what is not urgent waits for a beat. The caller holds the mutex.
func (l *List) reviewKey(now time.Time) {
	k := &l.keys
	if !k.stale && now.Sub(k.reviewed) < keyReview && (k.due.IsZero() || now.Before(k.due)) {
		return
	}
	k.stale, k.reviewed, k.due = false, now, time.Time{}
	l.chooseKey(now)
}

// use sends with a key, and accepts those of the list alone.
func (k *keys) use(key []byte) {
	have := k.ring.GetKeys()
	if len(have) != len(k.list) {
		// Readers use the keyring's slice without its lock. RemoveKey changes the
		// slice unless the key is the last one: the keys to keep move to the front.
		for _, one := range k.list {
			_ = k.ring.UseKey(one) // it is in the keyring
		}
	}
	if !bytes.Equal(k.ring.GetPrimaryKey(), key) {
		_ = k.ring.UseKey(key) // it is in the keyring
	}
	have = k.ring.GetKeys()
	for i := len(have) - 1; i >= 0 && !holds(k.list, have[i]); i-- {
		_ = k.ring.RemoveKey(have[i]) // it is not the first
	}
}

func holds(list [][]byte, key []byte) bool {
	return slices.ContainsFunc(list, func(one []byte) bool { return bytes.Equal(one, key) })
}

// forgetNotices drops the notices of nodes that are not members. The caller holds the
// mutex.
func (l *List) forgetNotices(now time.Time) {
	maps.DeleteFunc(l.keys.notices, func(name string, n notice) bool {
		_, alive := l.alive[name]
		return !alive && now.Sub(n.heard) >= keyKnock
	})
}
