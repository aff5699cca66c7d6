// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/heraldlb/herald/l2"
	"github.com/heraldlb/herald/l2/members"
	"github.com/heraldlb/herald/reconcile"
)

const (
	// rivalsInterval is how often the agent looks which nodes have no agent.
	rivalsInterval = time.Second

	// rivalsHurry is the time between two looks at first, for resolveWait: gossip
	// has just asked the kernel to resolve the addresses of the nodes.
	rivalsHurry = 50 * time.Millisecond
	resolveWait = 400 * time.Millisecond
)

// rivals tells the announcer the hardware addresses of nodes without an agent of ours:
// another load balancer may answer there.
type rivals struct {
	node      string
	cluster   reconcile.Cluster
	view      func() members.View
	neighbors func() ([]l2.Neighbor, error)
	set       func(map[l2.MAC]string)
	log       *slog.Logger

	agents map[l2.MAC]bool // hardware addresses of nodes on which an agent was ever seen
	since  time.Time       // of the first look that could tell who is alive
}

// run looks until the context is canceled.
func (r *rivals) run(ctx context.Context) error {
	r.agents = map[l2.MAC]bool{}
	for {
		next := r.look(time.Now())
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(next):
		}
	}
}

// look tells the announcer what is known now, and returns when to look again.
func (r *rivals) look(now time.Time) time.Duration {
	s, synced := r.cluster.Snapshot()
	v := r.view()
	if !synced || v.Stale {
		return rivalsHurry
	}
	if r.since.IsZero() {
		r.since = now
	}
	alive := map[string]bool{r.node: true}
	for _, m := range v.Members {
		alive[m.Name] = true
	}
	for _, m := range slices.Concat(v.Members, v.Departed) {
		for _, mac := range m.MACs {
			r.agents[l2.MAC(mac)] = true
		}
	}
	without := map[netip.Addr]string{}
	for _, n := range s.Nodes {
		for _, addr := range n.Addrs {
			if !alive[n.Name] {
				without[addr] = n.Name
			}
		}
	}
	if len(without) == 0 {
		r.set(nil)
		return rivalsInterval
	}
	table, err := r.neighbors()
	if err != nil {
		r.log.Warn("neighbors not known", "err", err)
		return rivalsInterval
	}
	nodes, settled := map[l2.MAC]string{}, map[string]bool{}
	for _, e := range table {
		node := without[e.Addr]
		switch {
		case node == "":
		case e.MAC != (l2.MAC{}) && !r.agents[e.MAC]:
			nodes[e.MAC] = node
			settled[node] = true
		case e.MAC != (l2.MAC{}) || e.Failed:
			settled[node] = true
		}
	}
	for _, node := range without {
		if !settled[node] && now.Sub(r.since) < resolveWait {
			return rivalsHurry
		}
	}
	r.set(nodes)
	return rivalsInterval
}
