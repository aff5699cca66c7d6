// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/handover"
	"github.com/heraldlb/herald/render"
	"github.com/heraldlb/herald/source"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/wake"
)

// FRR runs a configuration.
type FRR interface {
	// Set replaces the text of frr.conf. It must not block.
	Set(conf []byte)
	// Applied reports whether it runs all that Set was told last.
	Applied() bool
}

// Routers say which routes they were sent.
type Routers interface {
	// Expect replaces the routes that matter. It must not block.
	Expect(routes []netip.Prefix)
	// Recheck says that routes which Expect was told of before may be on their way
	// to other routers. It must not block.
	Recheck(routes []netip.Prefix)
	// Sent reports whether a router that a session is up with was sent the
	// route, as of a moment ago.
	Sent(route netip.Prefix) bool
	// SentTo returns which were.
	SentTo(route netip.Prefix) []status.PeerID
	// Look has all routes looked at again, and the agent woken after that. It must not
	// block.
	Look()
	// Looked returns when the last look at all routes was begun that is over.
	Looked() time.Time
}

// Layer2 answers for addresses on the node's own network.
type Layer2 interface {
	// Neighborhood returns what is known of the network.
	Neighborhood() Neighborhood
	// Set replaces what to answer for. It must not block.
	Set(answers []handover.Answer)
	// Ask says whether the Neighborhood is to tell what other nodes have sent to
	// routers. It must not block.
	Ask(on bool)
	// Tell replaces what other nodes are told that this one has sent. It is needed
	// while the Neighborhood says Asked, and must not block.
	Tell(sent []announce.Sent)
	// Alone says how many addresses an agent that is Leaving announces over BGP that
	// others are able to announce, and were not seen to. It must not block.
	Alone(n int)
}

// A Neighborhood is what an agent knows of its network.
type Neighborhood struct {
	announce.Membership
	Gaps      int          // how often the agent did not run for a while
	Asked     bool         // other nodes want to know what this one has sent
	Leaving   bool         // this agent stops
	Answered  []netip.Addr // that this node was seen to answer for, in order
	Conflicts map[netip.Addr]Conflict

	AnsweredOn func(netip.Addr) []string // on which interfaces; nil: on none
}

// A Conflict is a host, none of ours, that has an address of a Service.
type Conflict struct {
	Node    string // the node of the cluster that it is, which has no agent: another load balancer runs there; empty: a stranger
	By      string // a stranger's hardware address
	On      string // the interface that it was heard on
	Refused bool   // this node does not answer for the address because of it
}

// String says who has the address.
func (c Conflict) String() string {
	switch {
	case c.Node != "" && c.Refused:
		return fmt.Sprintf("another load balancer answers for the address on node %s, which has no agent; this node takes over when that one is silent", c.Node)
	case c.Node != "":
		return fmt.Sprintf("another load balancer answers for the address too, on node %s, which has no agent; stop it there", c.Node)
	}
	return fmt.Sprintf("%s on %s has the address", c.By, c.On)
}

// reason returns why the node does not answer because of it.
func (c Conflict) reason() status.Reason {
	if c.Node != "" {
		return status.OtherLoadBalancer
	}
	return status.Conflict
}

// loud reports whether it is worth a warning: leaving an address to another load
// balancer for a while is how one replaces it.
func (c Conflict) loud() bool { return c.Node == "" || !c.Refused }

// AgentOptions are what an Agent works with.
type AgentOptions struct {
	Node       string                                // required: this node's name
	Worker     *Worker                               // required: woken by whatever changes
	Cluster    Cluster                               // required
	Documents  source.Documents                      // required
	FRR        FRR                                   // required
	Routers    Routers                               // required
	Reporter   Reporter                              // required
	Logger     *slog.Logger                          // required
	Layer2     Layer2                                // optional: nil announces nothing on layer 2
	Events     func(*cluster.Service, cluster.Event) // optional: tells of Services that are seen to be announced from this node, as far as the first pass did not want them
	NodeEvents func(cluster.Event)                   // optional: tells of this node
	Announce   announce.Options                      // optional: without Layer2, which is set
	State      StateWriter                           // optional: told whether all is in force here
	Statuses   ServiceStatusWriter                   // optional: publishes which Services the node announces
	Protect    *source.ProtectOptions                // optional: nil protects nothing
}

// An Agent announces the addresses of Services from one node.
type Agent struct {
	opts      AgentOptions
	loader    source.Loader
	memory    handover.Memory
	index     *announce.Index // of the configuration in force; nil: there was none
	hold      drainHold
	known     announce.Membership // the newest that was not stale
	drained   bool                // as of then the node had drained
	unseen    overdue             // what others should have announced by now
	asked     time.Time           // since when others ask; zero: they do not
	kept      keptPeers           // whose sessions stay though they do not select the node any more
	node      vanished            // the Node, and since when there is none
	started   time.Time           // the first pass that was put off; zero: none was
	misread   string              // why the Node's annotation was not understood, in the last pass
	unknown   string              // which of the Node's annotations mean nothing, in the last pass
	failed    string              // why the last pass came to nothing
	applied   render.Config       // what was handed over to FRR last
	madeID    netip.Addr          // that was told of; zero: none
	decisions []status.Decision   // of the last pass
	unheard   []netip.Addr        // likewise
	passed    bool                // there was one
	untold    untold              // what is announced since then, and was not told yet
	again     *time.Timer         // wakes the worker for what time alone brings about
}

// NewAgent returns an Agent that does nothing until it runs.
func NewAgent(opts AgentOptions) *Agent {
	opts.Announce.Layer2 = opts.Layer2 != nil
	return &Agent{opts: opts, loader: source.Loader{Docs: opts.Documents, Log: opts.Logger, Protect: source.NewProtector(opts.Protect, false)}}
}

// Run announces until the context is canceled. That withdraws nothing: FRR goes
// on with what it was told last.
func (a *Agent) Run(ctx context.Context) error {
	a.again = time.AfterFunc(time.Hour, a.opts.Worker.Wake)
	defer a.again.Stop()
	a.again.Stop()
	a.opts.Worker.Wake()
	return a.opts.Worker.Run(ctx, a.pass)
}

// pass looks at the cluster once. Until everything is read and a configuration
// is accepted FRR is left as it is: it may be running what an agent before this
// one told it.
func (a *Agent) pass() {
	start := time.Now()
	s, synced := a.opts.Cluster.Snapshot()
	read := a.loader.Next(start, s, synced)
	if !synced || !read {
		return
	}
	s.Config = a.loader.Loaded.Config
	if s.Config != nil && a.unsettled(s, start) {
		return
	}
	r := status.Report{Synced: true, Config: a.loader.Report()}
	var seen Seen
	if s.Config != nil {
		seen = a.announce(s, start, &r)
	}
	if a.opts.Statuses != nil {
		a.opts.Statuses.Set(seen.ServiceStatuses)
	}
	if a.opts.State != nil {
		state := a.state(s, r.Peers)
		state.Failure = r.Error
		state.Lacking = lackingInterfaces(s.Config, a.opts.Node, a.known)
		a.opts.State.Set(state)
	}
	r.Took = time.Since(start)
	a.opts.Reporter.Set(r)
}

// announce decides, hands over what follows, and returns what may be seen of it.
func (a *Agent) announce(s cluster.Snapshot, now time.Time, r *status.Report) Seen {
	opts := a.opts.Announce
	a.index = a.index.Of(s.Config)
	opts.Index = a.index
	around := Neighborhood{Membership: announce.Membership{Disabled: true}}
	if a.opts.Layer2 != nil {
		around = a.opts.Layer2.Neighborhood()
	}
	a.node = a.node.next(s.Nodes, a.opts.Node, now)
	n := a.node.last
	opts.Gone = a.node.gone(now)
	hold, held := a.hold.next(n.Drain, !a.passed, a.opts.FRR.Applied(), now)
	opts.Members, held = a.steady(around.Membership, held)
	a.hold, r.Drain, opts.Drained = hold, held.report(n), held.over
	a.tellDrain(n)
	a.tellUnknown(n)
	opts.Overdue, opts.Leaving = a.unseen.long(now), around.Leaving
	if a.passed {
		opts.Announces = a.memory.Announces
	}
	desired, keptUntil := a.decide(s, n, opts, now)
	var overdueAt time.Time
	a.unseen, overdueAt = a.unseen.next(desired.Unseen, now)
	var layer2 announce.DesiredLayer2
	if a.opts.Layer2 != nil {
		layer2 = announce.Layer2(s, a.opts.Node, around.Membership, opts)
	}
	out := a.memory.Next(desired, layer2, around.Gaps, a.sent, now)
	noteConflicts(out.Decisions, around.Conflicts)
	if a.opts.Layer2 != nil {
		a.opts.Layer2.Set(out.Answers)
	}
	a.confer(around, desired, out, now)
	if id := desired.MadeID; id.IsValid() && id != a.madeID {
		a.opts.Logger.Info("router ID made from the node's name, as the node has no IPv4 address", "id", id)
	}
	a.madeID = desired.MadeID
	r.Error = a.apply(out.BGP)
	a.hold.handed = r.Error == "" && !n.Drain.IsZero()
	next := out.Next
	for _, t := range []time.Time{held.look, overdueAt, keptUntil, a.node.until(now)} {
		next = wake.Earlier(next, t)
	}
	if a.opts.Events != nil && a.passed {
		next = wake.Earlier(next, a.tell(s, out.Decisions, around, now))
		a.tellUnheard(s, layer2)
	}
	if next.IsZero() {
		a.again.Stop()
	} else {
		a.again.Reset(next.Sub(now))
	}
	r.Decisions, r.Peers = out.Decisions, desired.Peers
	a.decisions, a.unheard, a.passed = out.Decisions, layer2.Unheard, true
	return Seen{
		Node: a.opts.Node, Decisions: out.Decisions, Peers: desired.Peers,
		SentTo: a.opts.Routers.SentTo, Answered: around.Answered, AnsweredOn: around.AnsweredOn,
	}
}

// sent reports whether routers were sent all these routes.
func (a *Agent) sent(routes []netip.Prefix) bool {
	for _, r := range routes {
		if !a.opts.Routers.Sent(r) {
			return false
		}
	}
	return true
}

// state says what is not in force here: what is refused, and peers that this
// node cannot have beside others.
func (a *Agent) state(s cluster.Snapshot, peers []status.Peer) State {
	var node *cluster.Node
	if n, known := cluster.FindNode(s.Nodes, a.opts.Node); known {
		node = &n
	}
	state := agentState(a.loader.Loaded, node)
	for _, p := range peers {
		if !p.Wanted && p.Reason != status.NodeNotSelected && p.Reason != status.NodeUnknown {
			state.Errors = append(state.Errors, fmt.Sprintf("%s/%s: %s", config.KindPeer, p.Name, p.Detail))
		}
	}
	return state
}

// apply hands over to FRR, and returns why it could not.
func (a *Agent) apply(c render.Config) string {
	conf, err := render.FRR(c)
	if err == nil {
		a.opts.FRR.Set(conf)
		routes := make([]netip.Prefix, len(c.Networks))
		for i, n := range c.Networks {
			routes[i] = n.Prefix
		}
		a.opts.Routers.Expect(routes)
		a.opts.Routers.Recheck(repointed(a.applied, c))
		a.applied = c
		a.failed = ""
		return ""
	}
	failed := fmt.Sprintf("frr.conf: %v", err)
	if failed != a.failed {
		a.failed = failed
		a.opts.Logger.Error("configuration not applied", "err", failed)
	}
	return failed
}

// repointed returns the routes of both that are not announced as they were: to
// other neighbors, say.
func repointed(before, now render.Config) []netip.Prefix {
	if len(before.Networks) == 0 || len(now.Networks) == 0 {
		return nil
	}
	type pair struct{ before, now int }
	same := map[pair]bool{}
	var out []netip.Prefix
	old := before.Networks
	for _, n := range now.Networks {
		for len(old) > 0 && old[0].Prefix.Compare(n.Prefix) < 0 {
			old = old[1:]
		}
		if len(old) == 0 {
			break
		}
		if old[0].Prefix != n.Prefix {
			continue
		}
		p := pair{old[0].Class, n.Class}
		alike, known := same[p]
		if !known {
			alike = reflect.DeepEqual(before.Classes[p.before], now.Classes[p.now])
			same[p] = alike
		}
		if !alike {
			out = append(out, n.Prefix)
		}
	}
	return out
}

// noteConflicts says of what is announced who else has the address.
func noteConflicts(decisions []status.Decision, conflicts map[netip.Addr]Conflict) {
	if len(conflicts) == 0 {
		return
	}
	for i := range decisions {
		d := &decisions[i]
		c, ok := conflicts[d.Addr]
		if !ok || d.Protocol != status.Layer2 || !d.Announce {
			continue
		}
		d.Detail = c.String()
		if c.Refused {
			d.Announce, d.Reason = false, c.reason()
		}
	}
}
