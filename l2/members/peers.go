// SPDX-License-Identifier: Apache-2.0

package members

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// A Peer is what is known of another agent, for people: nothing is decided by it.
type Peer struct {
	Name    string
	Addr    netip.AddrPort // where it gossips
	Started time.Time      // its process, by its clock
	Since   time.Time      // since when it counts as alive here
	Version string         // empty: it has not said
}

// Peers returns the other agents that are alive, sorted by name.
func (l *List) Peers() []Peer {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]Peer, 0, len(l.alive))
	for name, p := range l.alive {
		if l.isLost(name) {
			continue
		}
		one := Peer{Name: name, Addr: addrPort(p.node), Since: p.joined, Version: l.versions.of(name, p.epoch)}
		if f := l.lives[name]; f != nil && f.epoch == p.epoch && f.found.After(one.Since) {
			one.Since = f.found
		}
		if p.epoch > 0 {
			one.Started = time.Unix(0, int64(p.epoch))
		}
		out = append(out, one)
	}
	slices.SortFunc(out, func(a, b Peer) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// maxVersion bounds the name of a version, in bytes.
const maxVersion = 64

// versions are those of the agents of other nodes, as they say themselves.
type versions map[string]version

// A version is that of a process.
type version struct {
	epoch uint64
	name  string
}

// of returns the version of a node's process; empty: it is not known.
func (v versions) of(node string, epoch uint64) string {
	if known := v[node]; known.epoch == epoch {
		return known.name
	}
	return ""
}

// learnVersion takes in what is said of the process of a member, or of one that may become one.
// Of the member's present process nothing else counts. The caller holds the mutex.
func (l *List) learnVersion(m message) {
	p, alive := l.alive[m.node]
	settled := alive && l.versions[m.node].epoch == p.epoch && m.epoch != p.epoch
	if m.node != l.opts.Node && !settled && len(m.version) <= maxVersion {
		l.versions[m.node] = version{m.epoch, m.version}
	}
}

// ownVersion returns the message with the version of this agent; nil: it has none. The caller
// holds the mutex.
func (l *List) ownVersion() []byte {
	if l.opts.Version == "" {
		return nil
	}
	return message{
		node: l.opts.Node, kind: versionMsg, epoch: l.records[l.opts.Node].epoch, version: l.opts.Version[:min(len(l.opts.Version), maxVersion)],
	}.append(nil)
}
