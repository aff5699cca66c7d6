// SPDX-License-Identifier: Apache-2.0

package kube

import "sync"

// A restoreLog counts how often etcd was found restored to an older state, once for each
// kind. The zero restoreLog is empty.
type restoreLog struct {
	mu    sync.Mutex // guards the fields below
	count uint64
	next  chan struct{} // closed at the next one; nil: nobody waits for it
}

// add takes note that etcd was found restored.
func (l *restoreLog) add() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count++
	if l.next != nil {
		close(l.next)
		l.next = nil
	}
}

// restores returns how often etcd was found restored.
func (c *Client) restores() uint64 {
	if c == nil {
		return 0
	}
	c.restored.mu.Lock()
	defer c.restored.mu.Unlock()
	return c.restored.count
}

// nextRestore returns a channel that is closed when etcd is found restored again.
func (c *Client) nextRestore() <-chan struct{} {
	if c == nil {
		return nil
	}
	c.restored.mu.Lock()
	defer c.restored.mu.Unlock()
	if c.restored.next == nil {
		c.restored.next = make(chan struct{})
	}
	return c.restored.next
}
