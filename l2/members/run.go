// SPDX-License-Identifier: Apache-2.0

package members

import (
	"context"
	"errors"
	"fmt"
	"log"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/hashicorp/memberlist"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// atOnce bounds the number of peers that an agent contacts at a time. Each contact is an
// exchange of everything that both know.
const atOnce = 3

// maxMasked is how long an agent publishes no addresses after a gap in which it did not
// run, if it does not give them up.
const maxMasked = time.Second

// Run gossips until the context is canceled, and then leaves. It must be called once.
func (l *List) Run(ctx context.Context) error {
	if l.keysErr != nil {
		return l.keysErr
	}
	c := l.timers.network
	c.Name = l.opts.Node
	c.BindAddr, c.BindPort = l.opts.Bind.Addr().String(), int(l.opts.Bind.Port())
	c.AdvertisePort = c.BindPort
	c.Keyring = l.keys.ring
	// A node may come back with another address at once.
	c.DeadNodeReclaimTime = time.Nanosecond
	// The messages are short, and packets are encrypted after compression.
	c.EnableCompression = false
	d := delegate{l}
	c.Delegate, c.Events, c.Alive = d, d, d
	c.Logger = log.New(&logWriter{log: l.opts.Logger}, "", 0)
	transport := l.opts.Transport
	if transport == nil {
		var err error
		if transport, err = listen(ctx, l.opts.Bind, l.gate, l.opts.Logger); err != nil {
			return fmt.Errorf("gossip on %s: %w", l.opts.Bind, err)
		}
	}
	guard := newGuard(transport, l.gate)
	c.Transport = guard
	network, err := memberlist.Create(c)
	if err != nil {
		return errors.Join(fmt.Errorf("gossip on %s: %w", l.opts.Bind, err), guard.Shutdown())
	}
	defer func() {
		l.ended.Store(true) // timers of memberlist may still fire
		if err := network.Shutdown(); err != nil {
			l.opts.Logger.Debug("gossip not shut down", "err", err)
		}
	}()

	now, err := l.opts.Clock()
	if err != nil {
		return err
	}
	l.beaten.Store(int64(now))
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return l.beat(gctx, network) })
	g.Go(func() error { return l.join(gctx, network) })
	g.Go(func() error { return l.transmit(gctx, network) })
	g.Go(func() error { return l.introduce(gctx, network) })
	g.Go(func() error { return l.converse(gctx, network) })
	g.Go(func() error { return l.watch(gctx, network, guard) })
	err = g.Wait()
	l.goodbye(network)
	if leave := network.Leave(l.timers.leave); leave != nil {
		l.opts.Logger.Warn("not all agents know that this one stops", "err", leave)
	}
	return err
}

// uptime returns the time since the machine started, including the time in which it was
// suspended.
func uptime() (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return 0, fmt.Errorf("read the clock: %w", err)
	}
	return time.Duration(t.Nano()), nil
}

// beat sends heartbeats, and detects when the agent did not run for a while, and when
// penalties end.
func (l *List) beat(ctx context.Context, network *memberlist.Memberlist) error {
	tick := time.NewTicker(l.timers.beat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now, err := l.opts.Clock()
		if err != nil {
			return err
		}
		if gap := now - time.Duration(l.beaten.Load()); gap > l.timers.stale {
			l.opts.Logger.Warn("agent did not run for a while", "gap", gap, "members", network.NumMembers())
			l.doubt()
		}
		l.beaten.Store(int64(now))
		l.sendHeartbeats(network, time.Now())
		l.gate.warn(time.Now(), l.opts.Logger)
		l.mu.Lock()
		if l.nodes.expire(time.Now()) {
			l.admit()
		}
		l.reviewKey(time.Now())
		expired := l.damping.expire(time.Now())
		if expired {
			l.invalidate()
		}
		l.mu.Unlock()
		if expired {
			l.opts.Changed()
		}
	}
}

// doubt makes the view stale until it is refreshed. Other nodes may own this node's
// addresses by now, so that it does not publish them until they are confirmed.
func (l *List) doubt() {
	l.mu.Lock()
	l.doubted.Store(true)
	l.doubts++
	l.masked = len(l.alive) > 0
	l.heartbeats.accused, l.heartbeats.doubted = false, l.heartbeats.seq
	l.excuse(time.Now())
	if l.masked && l.damping.revived(l.opts.Node, time.Now()) {
		l.damp(l.opts.Node)
	}
	l.talk.forget()
	l.updateOwn()
	l.invalidate()
	l.mu.Unlock()
	l.joinWake.Set()
	l.converseWake.Set()
	l.opts.Changed()
}

// join contacts peers that are not members, and all peers while the view is stale.
func (l *List) join(ctx context.Context, network *memberlist.Memberlist) error {
	tick := time.NewTicker(l.timers.rejoin)
	defer tick.Stop()
	met := encounters{when: map[netip.AddrPort]time.Time{}}
	for {
		l.meet(ctx, network, &met)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-l.joinWake:
		}
	}
}

// encounters are the addresses on which a member has answered. A node may have several
// addresses: the others than the member's own are not tried all the time.
type encounters struct {
	when map[netip.AddrPort]time.Time
	lost int // as in List, when they were current
}

// meet is one round of join.
func (l *List) meet(ctx context.Context, network *memberlist.Memberlist, met *encounters) {
	l.mu.Lock()
	if met.lost != l.lost { // any address may be that of the lost member
		met.lost = l.lost
		clear(met.when)
	}
	stale, doubts, ready := l.doubted.Load(), l.doubts, l.nodes.known
	members := map[netip.AddrPort]bool{}
	for _, p := range l.alive {
		members[addrPort(p.node)] = true
	}
	var targets []netip.AddrPort
	names := map[netip.AddrPort]string{}
	for name, p := range l.nodes.peers(l.opts.Node, l.opts.Bind) {
		recently := time.Since(met.when[p]) < l.timers.network.PushPullInterval
		if !members[p] && (stale || !recently) {
			targets, names[p] = append(targets, p), name
		}
	}
	l.mu.Unlock()
	if !ready {
		return
	}
	if stale {
		for p := range members {
			targets = append(targets, p)
		}
	}

	rand.Shuffle(len(targets), func(i, j int) { targets[i], targets[j] = targets[j], targets[i] })
	answered := make([]bool, len(targets))
	all := each(ctx, targets, func(i int, p netip.AddrPort) {
		if stale && l.refreshedSince(doubts) {
			return // the first answer had all others
		}
		if !stale && l.memberAt(names[p], p) {
			return // another one knew it: where all agents start at once, few have to be asked
		}
		// memberlist logs the reason of a failure.
		if _, err := network.Join([]string{p.String()}); err == nil {
			answered[i] = true
			l.refreshed(doubts)
		}
	})
	if !all {
		return
	}
	now := time.Now()
	for i, p := range targets {
		if answered[i] {
			met.when[p] = now
		}
	}
	l.refreshed(doubts)
}

// memberAt reports whether a node has become a member, at this address.
func (l *List) memberAt(node string, at netip.AddrPort) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, alive := l.alive[node]
	return alive && addrPort(p.node) == at
}

// refreshedSince reports whether the doubt of that number is over.
func (l *List) refreshedSince(doubts int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.doubts == doubts && !l.doubted.Load()
}

// refreshed ends the doubt of that number: an agent has answered, or there is none.
func (l *List) refreshed(doubts int) {
	l.mu.Lock()
	done := l.doubted.Load() && l.doubts == doubts
	if done {
		l.doubted.Store(false)
		l.invalidate()
	}
	masked := done && l.masked
	l.mu.Unlock()
	if !done {
		return
	}
	if masked {
		time.AfterFunc(maxMasked, func() { l.unmask(doubts) })
	}
	l.opts.Changed()
}

// unmask lets this node publish its addresses again.
func (l *List) unmask(doubts int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.doubts == doubts {
		l.masked = false
		l.updateOwn()
	}
}

// transmit sends changes to every member at once. Gossip has the same messages, in case
// packets are lost.
func (l *List) transmit(ctx context.Context, network *memberlist.Memberlist) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.transmitWake:
			l.sendAll(network)
		}
	}
}

// sendAll empties the outbox.
func (l *List) sendAll(network *memberlist.Memberlist) {
	l.mu.Lock()
	messages, rumors := l.outbox, l.rumors
	l.outbox, l.rumors = nil, nil
	nodes := make([]memberlist.Node, 0, len(l.alive))
	for _, p := range l.alive {
		nodes = append(nodes, p.node)
	}
	l.mu.Unlock()
	for _, msg := range rumors {
		l.queue.QueueBroadcast(broadcast(msg))
	}
	for _, msg := range messages {
		l.queue.QueueBroadcast(broadcast(msg))
		for i := range nodes {
			// A packet may be lost anyway.
			_ = network.SendBestEffort(&nodes[i], msg)
		}
	}
}

// introduce sends this node's record, and which keys it accepts, to nodes that have just become alive, and its new
// epoch to all nodes.
func (l *List) introduce(ctx context.Context, network *memberlist.Memberlist) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.introduceWake:
		}
		l.mu.Lock()
		nodes, renewed := l.newcomers, l.renewed
		l.newcomers, l.renewed = nil, false
		record := l.records[l.opts.Node]
		empty := len(record.items) == 0
		own := message{node: l.opts.Node, record: record}.append(nil)
		failing := l.ownFaults()
		version := l.ownVersion()
		var accepts []byte
		if len(l.keys.list) > 0 {
			accepts = l.ownNotice().append(nil)
		}
		l.mu.Unlock()
		if renewed {
			if err := network.UpdateNode(l.timers.leave); err != nil {
				l.opts.Logger.Debug("epoch not published", "err", err)
			}
		}
		each(ctx, nodes, func(_ int, n memberlist.Node) {
			// If the node has gone, nothing is lost. If the packet is lost, the next
			// exchange of states has the same.
			for _, notice := range [][]byte{accepts, version} {
				if notice != nil {
					_ = network.SendBestEffort(&n, notice)
				}
			}
			for _, p := range failing {
				_ = network.SendBestEffort(&n, p)
			}
			switch {
			case empty:
			case len(own) <= packetSize:
				_ = network.SendBestEffort(&n, own)
			default:
				_ = network.SendReliable(&n, own)
			}
		})
	}
}

// each calls f for each value, a few at a time, and reports whether it has finished all.
// It does not wait any longer once the context is canceled. memberlist's calls in f cannot
// be interrupted, but end within its TCPTimeout.
func each[T any](ctx context.Context, values []T, f func(int, T)) bool {
	done := make(chan struct{})
	go func() {
		defer close(done)
		var g errgroup.Group
		g.SetLimit(atOnce)
		for i, v := range values {
			if ctx.Err() != nil {
				break
			}
			g.Go(func() error {
				f(i, v)
				return nil
			})
		}
		_ = g.Wait() // none returns an error
	}()
	select {
	case <-done:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// goodbye informs all members that the end of this agent is planned.
func (l *List) goodbye(network *memberlist.Memberlist) {
	l.mu.Lock()
	l.wanted.Leaving = true
	l.updateOwn()
	l.mu.Unlock()
	l.sendAll(network)
}

func addrPort(n memberlist.Node) netip.AddrPort {
	addr, _ := netip.AddrFromSlice(n.Addr)
	return netip.AddrPortFrom(addr.Unmap(), n.Port)
}
