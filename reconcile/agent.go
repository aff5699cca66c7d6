// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/render"
	"github.com/heraldlb/herald/status"
)

// Reasons of an agent's events about Services, the first two as MetalLB spells
// them.
const (
	EventAnnouncing = "nodeAssigned"
	EventUnheard    = "announceFailed"  // warning: no node has an interface that the advertisements ask for
	EventConflict   = "AddressConflict" // warning: a host that is none of ours has the address
)

// EventDrainInvalid is the reason of an agent's event about its Node, a warning:
// AnnotationDrain has a value that means nothing.
const EventDrainInvalid = "DrainNotUnderstood"

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
}

// Layer2 answers for addresses on the node's own network.
type Layer2 interface {
	// Neighborhood returns what is known of the network.
	Neighborhood() Neighborhood
	// Set replaces what to answer for. It must not block.
	Set(answers []Answer)
}

// A Neighborhood is what an agent knows of its network.
type Neighborhood struct {
	Membership
	Gaps      int // how often the agent did not run for a while
	Conflicts map[netip.Addr]Conflict
}

// A Conflict is a host, none of ours, that has an address of a Service.
type Conflict struct {
	By      string // its hardware address
	On      string // the interface that it was heard on
	Refused bool   // this node does not answer for the address because of it
}

// String says who has the address.
func (c Conflict) String() string { return fmt.Sprintf("%s on %s has the address", c.By, c.On) }

// AgentOptions are what an Agent works with.
type AgentOptions struct {
	Node       string                // required: this node's name
	Worker     *Worker               // required: woken by whatever changes
	Cluster    Cluster               // required
	Documents  Documents             // required
	FRR        FRR                   // required
	Routers    Routers               // required
	Reporter   Reporter              // required
	Logger     *slog.Logger          // required
	Layer2     Layer2                // optional: nil announces nothing on layer 2
	Events     func(*Service, Event) // optional: tells of Services that are announced from this node, from the second pass on
	NodeEvents func(Event)           // optional: tells of this node
	Announce   AnnounceOptions       // optional: without Layer2, which is set
	State      StateWriter           // optional: told whether all is in force here
}

// An Agent announces the addresses of Services from one node.
type Agent struct {
	opts      AgentOptions
	loader    loader
	memory    Memory
	hold      drainHold
	known     Membership        // the newest that was not stale
	drained   bool              // as of then the node had drained
	started   time.Time         // the first pass that was put off; zero: none was
	misread   string            // why the Node's annotation was not understood, in the last pass
	failed    string            // why the last pass came to nothing
	applied   render.Config     // what was handed over to FRR last
	madeID    netip.Addr        // that was told of; zero: none
	decisions []status.Decision // of the last pass
	unheard   []netip.Addr      // likewise
	passed    bool              // there was one
	again     *time.Timer       // wakes the worker for what time alone brings about
}

// NewAgent returns an Agent that does nothing until it runs.
func NewAgent(opts AgentOptions) *Agent {
	opts.Announce.Layer2 = opts.Layer2 != nil
	return &Agent{opts: opts, loader: loader{docs: opts.Documents, log: opts.Logger}}
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
	read := a.loader.next(start)
	if !synced || !read {
		return
	}
	s.Config = a.loader.loaded
	if s.Config.Config != nil && a.unsettled(s, start) {
		return
	}
	r := status.Report{Synced: true, Config: a.loader.report()}
	if s.Config.Config != nil {
		a.announce(s, start, &r)
	}
	if a.opts.State != nil {
		state := a.state(s, r.Peers)
		state.Failure = r.Error
		a.opts.State.Set(state)
	}
	r.Took = time.Since(start)
	a.opts.Reporter.Set(r)
}

// announce decides, and hands over what follows.
func (a *Agent) announce(s Snapshot, now time.Time, r *status.Report) {
	opts := a.opts.Announce
	around := Neighborhood{Membership: Membership{Disabled: true}}
	if a.opts.Layer2 != nil {
		around = a.opts.Layer2.Neighborhood()
	}
	n, _ := findNode(s.Nodes, a.opts.Node)
	hold, held := a.hold.next(n.Drain, !a.passed, a.opts.FRR.Applied(), now)
	opts.Members, held = a.steady(around.Membership, held)
	a.hold, r.Drain, opts.Drained = hold, held.report(n), held.over
	a.tellDrain(n)
	desired := Announce(s, a.opts.Node, opts)
	var layer2 DesiredLayer2
	if a.opts.Layer2 != nil {
		layer2 = AnnounceLayer2(s, a.opts.Node, around.Membership, opts)
	}
	out := a.memory.Next(desired, layer2, around.Gaps, a.sent, now)
	noteConflicts(out.Decisions, around.Conflicts)
	if a.opts.Layer2 != nil {
		a.opts.Layer2.Set(out.Answers)
	}
	if id := desired.MadeID; id.IsValid() && id != a.madeID {
		a.opts.Logger.Info("router ID made from the node's name, as the node has no IPv4 address", "id", id)
	}
	a.madeID = desired.MadeID
	r.Error = a.apply(out.BGP)
	a.hold.handed = r.Error == "" && !n.Drain.IsZero()
	next := out.Next
	if !held.look.IsZero() {
		next = earliest(next, held.look)
	}
	if next.IsZero() {
		a.again.Stop()
	} else {
		a.again.Reset(next.Sub(now))
	}
	r.Decisions, r.Peers = out.Decisions, desired.Peers
	if a.opts.Events != nil && a.passed {
		a.tell(s, out.Decisions, around.Conflicts)
		a.tellUnheard(s, layer2)
	}
	a.decisions, a.unheard, a.passed = out.Decisions, layer2.Unheard, true
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
func (a *Agent) state(s Snapshot, peers []status.Peer) State {
	var node *Node
	if i := slices.IndexFunc(s.Nodes, func(n *Node) bool { return n.Name == a.opts.Node }); i >= 0 {
		node = s.Nodes[i]
	}
	state := agentState(s.Config, node)
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
			d.Announce, d.Reason = false, status.Conflict
		}
	}
}

// tell sends an event for each Service that is announced now and was not in the
// last pass, and for each whose address is another host's.
func (a *Agent) tell(s Snapshot, now []status.Decision, conflicts map[netip.Addr]Conflict) {
	news := func(d status.Decision, e Event) {
		if svc := findService(s.Services, d.Service); svc != nil {
			a.opts.Events(svc, e)
		}
	}
	before := a.decisions
	told := status.Decision{} // a Service with two addresses is told of once
	for _, d := range now {
		for len(before) > 0 && compareDecisions(before[0], d) < 0 {
			before = before[1:]
		}
		was := status.Decision{}
		if len(before) > 0 && compareDecisions(before[0], d) == 0 {
			was = before[0]
		}
		if d.Announce && !was.Announce && (told.Service != d.Service || told.Protocol != d.Protocol) {
			told = d
			news(d, Event{Reason: EventAnnouncing,
				Message: fmt.Sprintf("announcing from node %q with protocol %q", a.opts.Node, d.Protocol)})
		}
		if c, ok := conflicts[d.Addr]; ok && d.Detail == c.String() && was.Detail != d.Detail {
			news(d, Event{Warning: true, Reason: EventConflict, Message: fmt.Sprintf("%s: %s", d.Addr, c)})
		}
	}
}

// tellUnheard sends an event for each Service with an address that nobody can
// answer for on the interfaces that are asked for, and that was not so in the last
// pass.
func (a *Agent) tellUnheard(s Snapshot, now DesiredLayer2) {
	for _, d := range now.Decisions {
		if d.Reason != status.NoInterface || !slices.Contains(now.Unheard, d.Addr) || slices.Contains(a.unheard, d.Addr) {
			continue
		}
		if svc := findService(s.Services, d.Service); svc != nil {
			a.opts.Events(svc, Event{Warning: true, Reason: EventUnheard, Message: fmt.Sprintf(
				"%s: no interface of the advertisements exists on node %q, assigned with protocol %q", d.Addr, a.opts.Node, d.Protocol)})
		}
	}
}
