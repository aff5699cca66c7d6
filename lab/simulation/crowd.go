// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/kube"
	"github.com/heraldlb/herald/l2/members"
	"github.com/heraldlb/herald/l2/node"
	"github.com/heraldlb/herald/source"
	"github.com/heraldlb/herald/wake"
)

// A follower is an agent of which gossip alone runs. It answers for what it is elected for
// as one node, whose gossip is its side's, sees it: all agents decide by the same function.
type follower struct {
	index   int
	members Members
	stop    func() error

	mu   sync.Mutex // guards held
	held []netip.Addr
}

// newFollower runs the gossip of node i.
func newFollower(i int, join func(changed func()) (Members, []task), changed func()) *follower {
	m, tasks := join(changed)
	f := &follower{index: i, members: m, stop: run(tasks...)}
	f.members.Publish(stateOf(i, nil, false))
	return f
}

// answer has the follower answer for addresses.
func (f *follower) answer(held []netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Equal(held, f.held) {
		f.held = held
		f.members.Publish(stateOf(f.index, held, false))
	}
}

// holds returns the addresses that it answers for.
func (f *follower) holds() []netip.Addr {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.held
}

// leave stops the follower as a rolling restart does.
func (f *follower) leave() error {
	f.mu.Lock()
	f.members.Publish(stateOf(f.index, f.held, true))
	f.mu.Unlock()
	return f.stop()
}

// A crowd decides for followers.
type crowd struct {
	watcher *kube.Watcher
	loader  source.Loader
	poke    wake.Signal
	memory  map[int]*announce.Layer2Memory // by the node whose gossip counts

	mu    sync.Mutex // guards the fields below
	all   map[int]*follower
	sides [][]int // of followers; the first one's gossip counts for its side
}

// newCrowd returns a crowd that reads as client does.
func newCrowd(client *kube.Client, log *slog.Logger) (*crowd, []task) {
	c := &crowd{poke: wake.New(), memory: map[int]*announce.Layer2Memory{}, all: map[int]*follower{}}
	c.watcher = kube.NewWatcher(kube.WatcherOptions{Client: client, Wake: c.poke.Set, NoConditions: true, Nodes: true, EndpointSlices: true})
	resources := kube.NewResources(kube.ResourcesOptions{Client: client, Namespace: namespace, Wake: c.poke.Set, Logger: log})
	c.loader = source.Loader{Docs: resources, Log: log, Protect: source.NewProtector(nil, false)}
	return c, []task{c.watcher.Run, resources.Run, c.run}
}

// run decides until the context is canceled.
func (c *crowd) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.poke:
		}
		c.pass()
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (c *crowd) pass() {
	tables, synced := c.watcher.Tables()
	if !c.loader.Next(time.Now(), tables.Snapshot, synced) || !synced {
		return
	}
	if tables.Config = c.loader.Loaded.Config; tables.Config == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, side := range c.sides {
		first := slices.IndexFunc(side, func(i int) bool { return c.all[i] != nil })
		if first < 0 {
			continue
		}
		c.decide(tables, side, c.all[side[first]])
	}
}

// decide has the followers of a side answer for what they are elected for, by the gossip of
// one of them. The caller holds mu.
func (c *crowd) decide(tables cluster.Tables, side []int, by *follower) {
	m := c.memory[by.index]
	if m == nil {
		m = new(announce.Layer2Memory)
		c.memory[by.index] = m
	}
	v := by.members.View()
	if v.Stale {
		return
	}
	owned := map[string][]netip.Addr{}
	for addr, e := range m.Next(tables, nodeName(by.index), node.Membership(v), announce.Options{Layer2: true}).Elections.All() {
		owned[e.Owner] = append(owned[e.Owner], addr)
	}
	for _, i := range side {
		if f := c.all[i]; f != nil {
			f.answer(owned[nodeName(i)])
		}
	}
}

// set adds a follower, or removes it if f is nil.
func (c *crowd) set(i int, f *follower) {
	c.mu.Lock()
	if f == nil {
		delete(c.all, i)
	} else {
		c.all[i] = f
	}
	c.mu.Unlock()
	c.poke.Set()
}

// split replaces the sides.
func (c *crowd) split(sides ...[]int) {
	c.mu.Lock()
	c.sides = sides
	c.mu.Unlock()
	c.poke.Set()
}

// stateOf returns what node i tells others.
func stateOf(i int, held []netip.Addr, leaving bool) members.State {
	return members.State{Leaving: leaving, Interfaces: []string{iface}, MACs: []members.MAC{macOf(i)}, Held: held}
}

// macOf returns the hardware address of node i.
func macOf(i int) members.MAC { return members.MAC{2, 0, 0, 0, byte(i >> 8), byte(i)} }
