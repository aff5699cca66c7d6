// SPDX-License-Identifier: Apache-2.0

// Package members reports which agents are alive and what they announce, by
// gossip among them.
package members

import (
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/heraldlb/herald/wake"
)

// memory is how long the record of a node is kept that is not alive, after the last message
// about it. A record may arrive before the news that its node is alive.
const memory = 10 * time.Minute

// Options configure a List.
type Options struct {
	Node    string         // required: this node's name, unique among the agents
	Bind    netip.AddrPort // required: UDP and TCP; the others reach the agent here
	Keys    [][]byte       // optional: see Key; the one to send with first, then others to accept; nil gossips in clear text
	Profile Profile        // optional: Fast
	Version string         // optional: of this agent, for people
	Changed func()         // optional: called after the View has changed; it must not block
	Logger  *slog.Logger   // optional: nil discards

	Transport memberlist.Transport          // optional: instead of sockets
	Clock     func() (time.Duration, error) // optional: instead of the time since the machine started
}

// A List knows which agents are alive. Its methods are safe for concurrent use.
//
// It does not need the API server once the peers are known. Each side of a partition sees
// its own agents alive, and the sides find each other again within seconds after the
// partition ends. An agent that has lost all others continues alone: it may be the only
// one that its clients still reach.
type List struct {
	opts   Options
	timers timers
	queue  memberlist.TransmitLimitedQueue // gossiped to some members at a time

	gate    *gate
	keysErr error // of Options.Keys

	// Each wakes the loop of that name.
	joinWake, transmitWake, introduceWake, converseWake, watchWake wake.Signal
	beaten                                                         atomic.Int64 // last beat, as the clock shows it; 0 while not running
	ended                                                          atomic.Bool  // Run has ended: events of members do not count any more
	doubted                                                        atomic.Bool  // the view is stale, and being refreshed

	mu         sync.Mutex // guards the fields below
	nodes      nodes
	keys       keys
	alive      map[string]peer    // without this node
	records    map[string]*record // of all nodes with a message about them, and this one
	ahead      map[string]*record // of members, with a later epoch than the member's
	wanted     State              // of this node, as last published
	masked     bool               // this node publishes no addresses
	faults     faults
	outbox     [][]byte             // to be sent to all members at once
	rumors     [][]byte             // to be gossiped alone
	newcomers  []memberlist.Node    // to be sent this node's record
	lost       int                  // times that a member died or left
	renewed    bool                 // this node's epoch has to be published
	mentioned  map[string]time.Time // when a node's record was last in a message
	damping    damping
	versions   versions // of members
	talk       conversation
	heartbeats heartbeats
	watched    map[string]*watched
	lives      map[string]*life       // of members with heartbeats
	doomed     map[string]*time.Timer // members that memberlist has declared dead a moment ago
	silent     map[string]time.Time   // of records whose node was lost: its last sign of life that is known
	excused    time.Time              // no node is missed before
	losses     Losses
	doubts     int // times that the view became stale
	generation uint64
	view       *View     // nil: to be made
	announcing bool      // some agent announced an address when circle was made
	quiet      time.Time // when none did any more
	circle     ring      // nil: to be made
	replies    []letter  // to be sent by watch
}

// A peer is a member other than this node.
type peer struct {
	node   memberlist.Node // a copy
	epoch  uint64          // of its process
	joined time.Time
}

// New returns a List of this node only. It finds the others once it runs.
func New(opts Options) *List {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Changed == nil {
		opts.Changed = func() {}
	}
	if opts.Clock == nil {
		opts.Clock = uptime
	}
	l := &List{
		opts:    opts,
		timers:  opts.Profile.timers(),
		gate:    newGate(),
		nodes:   newNodes(),
		alive:   map[string]peer{},
		records: map[string]*record{},
		ahead:   map[string]*record{},
		damping: newDamping(opts.Node),
		talk:    newConversation(),
		doubts:  1,

		mentioned:  map[string]time.Time{},
		versions:   versions{},
		heartbeats: heartbeats{leases: map[string]lease{}},
		watched:    map[string]*watched{},
		lives:      map[string]*life{},
		doomed:     map[string]*time.Timer{},
		silent:     map[string]time.Time{},

		joinWake: wake.New(), transmitWake: wake.New(), introduceWake: wake.New(), converseWake: wake.New(), watchWake: wake.New(),
	}
	// A later process has a higher number, unless the clock was set back.
	l.records[opts.Node] = &record{epoch: uint64(time.Now().UnixNano()), items: map[item]change{}}
	l.faults = newFaults(opts.Node, l.records[opts.Node].epoch)
	l.doubted.Store(true)
	l.keys, l.keysErr = newKeys(opts.Keys)
	l.queue.RetransmitMult = l.timers.network.RetransmitMult
	l.queue.NumNodes = func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.alive) + 1
	}
	return l
}

// Publish replaces the State of this node for all others. Calling it again with the same
// State sends nothing.
func (l *List) Publish(s State) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.Held, s.Interfaces, s.MACs = slices.Clone(s.Held), slices.Clone(s.Interfaces), slices.Clone(s.MACs)
	if !slices.IsSortedFunc(s.Held, netip.Addr.Compare) {
		slices.SortFunc(s.Held, netip.Addr.Compare)
	}
	s.Held = slices.Compact(s.Held)
	l.wanted = s
	if len(s.Held) == 0 {
		l.masked = false
	}
	l.updateOwn()
}

// updateOwn brings this node's record in line with the State to publish. The caller holds
// the mutex.
func (l *List) updateOwn() {
	s := l.wanted
	if l.masked {
		s.Held = nil
	}
	own := l.records[l.opts.Node]
	changes := own.setState(s)
	if len(changes) == 0 {
		return
	}
	for _, p := range packets(recordMsg, l.opts.Node, own.epoch, changes) {
		l.send(p)
	}
	l.invalidate()
}

// send queues a message for all members. The caller holds the mutex.
func (l *List) send(msg []byte) {
	l.outbox = append(l.outbox, msg)
	l.transmitWake.Set()
}

// invalidate records that the View has changed. The caller holds the mutex.
func (l *List) invalidate() {
	l.generation++
	l.view, l.circle = nil, nil
}

// Stale reports whether the agent must not act on the View. That is so when it has just
// started, or when it did not run for so long (stopped, without CPU, its machine
// suspended) that the others may have declared it dead and taken over. It is true from the
// first instant after such a gap until another agent has answered, or none has. It is
// cheap enough to be called for each packet.
func (l *List) Stale() bool {
	if l.doubted.Load() {
		return true
	}
	last := l.beaten.Load()
	if last == 0 {
		return false
	}
	now, err := l.opts.Clock()
	return err == nil && now-time.Duration(last) > l.timers.stale
}

// View returns which agents are alive.
func (l *List) View() View {
	stale := l.Stale()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.view == nil {
		l.view = &View{Generation: l.generation, Gaps: l.doubts - 1, Members: l.members(), Departed: l.departed(), Asked: len(l.talk.askers) > 0}
	}
	v := *l.view
	v.Stale = stale
	return v
}

// members lists the agents that are alive. The caller holds the mutex.
func (l *List) members() []Member {
	out := make([]Member, 0, len(l.alive)+1)
	add := func(name string, epoch uint64) {
		m := Member{Name: name}
		_, m.Damped = l.damping.until[name]
		// The State of an earlier process of a node does not count.
		if r := l.records[name]; r != nil && r.epoch == epoch {
			m.State = r.state()
		}
		m.Faults, m.Judged = l.faults.of(name, epoch)
		if a, ok := l.talk.answers[name]; ok && a.epoch == epoch {
			m.Answered, m.Sent = true, a.list
		}
		out = append(out, m)
	}
	add(l.opts.Node, l.records[l.opts.Node].epoch)
	for name, p := range l.alive {
		if !l.isLost(name) {
			add(name, p.epoch)
		}
	}
	slices.SortFunc(out, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// departed lists the agents that are no longer alive. The caller holds the mutex.
func (l *List) departed() []Member {
	var out []Member
	for name, r := range l.records {
		if _, alive := l.alive[name]; (!alive || l.isLost(name)) && name != l.opts.Node {
			out = append(out, Member{Name: name, State: r.state(), Lost: l.silent[name]})
		}
	}
	slices.SortFunc(out, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// forget drops the records of nodes that no message has mentioned for long. The caller
// holds the mutex.
func (l *List) forget(now time.Time) {
	member := func(name string) bool { _, alive := l.alive[name]; return alive }
	forgotten := func(name string) bool {
		return !member(name) && name != l.opts.Node && now.Sub(l.mentioned[name]) > memory
	}
	maps.DeleteFunc(l.records, func(name string, _ *record) bool { return forgotten(name) })
	maps.DeleteFunc(l.ahead, func(name string, _ *record) bool { return !member(name) })
	l.faults.forget(forgotten, member)
	maps.DeleteFunc(l.mentioned, func(name string, _ time.Time) bool {
		return l.records[name] == nil && l.faults.records[name] == nil
	})
	maps.DeleteFunc(l.silent, func(name string, _ time.Time) bool { return l.records[name] == nil })
	l.forgetNotices(now)
	maps.DeleteFunc(l.versions, func(name string, _ version) bool { _, alive := l.alive[name]; return !alive && l.records[name] == nil })
}
