// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/l2"
	"github.com/heraldlb/herald/l2/members"
)

const (
	// rivalsInterval is the time between two looks for nodes without an agent.
	rivalsInterval = time.Second

	// rivalsHurry is the time between two looks at first, for resolveWait: gossip
	// has just asked the kernel to resolve the addresses of the nodes.
	rivalsHurry = 50 * time.Millisecond
	resolveWait = 400 * time.Millisecond
)

// rivals looks for nodes on which no agent runs, as another load balancer may answer
// there. The announcer needs to know their hardware addresses.
type rivals struct {
	self      string
	nodes     func() []*cluster.Node // of the cluster
	view      func() members.View    // not stale: there are nodes
	agents    *agents
	neighbors func() ([]l2.Neighbor, error)
	set       func(map[l2.MAC]string) // of the announcer
	log       *slog.Logger

	since time.Time // of the first look at a view that was not stale
}

// run looks until the context is canceled.
func (r *rivals) run(ctx context.Context) error {
	for {
		next := r.look(time.Now())
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(next):
		}
	}
}

// look looks once, and returns after which time to look again.
func (r *rivals) look(now time.Time) time.Duration {
	v := r.view()
	if v.Stale {
		return rivalsHurry
	}
	if r.since.IsZero() {
		r.since = now
	}
	r.agents.learn(v, r.nodes(), now)
	alive := map[string]bool{r.self: true}
	for _, m := range v.Members {
		alive[m.Name] = true
	}
	without := map[netip.Addr]string{}
	for _, n := range r.nodes() {
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
		case e.MAC != (l2.MAC{}) && r.agents.node(e.MAC) == "":
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
