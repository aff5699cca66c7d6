// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/handover"
	"github.com/heraldlb/herald/render"
	"github.com/heraldlb/herald/source"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/table"
	"github.com/heraldlb/herald/trace"
)

// A TableCluster returns the cluster as it is now, without a configuration, and whether
// everything has been read.
type TableCluster interface {
	Tables() (t cluster.Tables, synced bool)
}

// AgentOptions are what an Agent works with.
type AgentOptions struct {
	Node       string                                // required: this node's name
	Worker     *Worker                               // required: woken by whatever changes
	Cluster    TableCluster                          // required
	Documents  source.Documents                      // required
	FRR        FRR                                   // required
	Routers    Routers                               // required
	Reporter   Reporter                              // required
	Logger     *slog.Logger                          // required
	Layer2     Layer2                                // optional: nil announces nothing on layer 2
	DataPlane  DataPlane                             // optional: nil counts as serving everything
	Probes     Probes                                // optional: nil probes nothing
	Found      func() (FoundRoutes, bool)            // optional: the routes that FRR had when the agent started, and whether they are known; nil: it had none
	Events     func(*cluster.Service, cluster.Event) // optional: sends an event about a Service that is seen to be announced from this node, unless the first pass announced it
	NodeEvents func(cluster.Event)                   // optional: sends an event about this node
	Announce   announce.Options                      // optional: without Layer2, which is set
	State      StateWriter                           // optional: receives whether everything is in force here
	Statuses   ServiceStatusWriter                   // optional: publishes which Services the node announces
	Protect    *source.ProtectOptions                // optional: nil protects nothing
	Journal    *status.Journal                       // optional: receives what changes
	Took       Took                                  // optional: receives how long announcements take
	Verify     bool                                  // optional: all decisions are made from scratch in each pass, and compared with the remembered ones
}

// An Agent announces the addresses of Services from one node.
type Agent struct {
	opts   AgentOptions
	loader source.Loader
	wakeup *time.Timer // wakes the Worker when time alone changes something

	// What is decided about, and what was decided.
	routes   announce.BGPMemory
	answers  announce.Layer2Memory
	memory   handover.TableMemory
	asks     announce.QuestionMemory
	verifier verifier
	printer  render.Printer
	seen     SeenMemory // of the goroutine that publishes statuses

	flaps handover.Flaps  // routes that were withdrawn lately as their endpoints were gone
	index *announce.Index // of the configuration in force; nil: there was none
	drain drain           // where the node stands in its drain
	kept  keptPeers       // peers whose sessions stay though they do not select the node any more
	node  vanished        // the Node, and since when there is none
	asked time.Time       // since when others ask what this node has sent; zero: they do not

	// What the last pass decided and handed over.
	passed     bool // there was one
	services   table.Table[cluster.Key, *cluster.Service]
	decisions  announce.Decisions
	tenures    tenureMemory // of decisions
	members    []announce.Member
	elections  announce.Elections
	probing    announce.TargetMemory
	told       announce.Readiness // whose faults other agents know of
	tells      bool               // they are told of them
	applied    applied
	answered   handover.Answers              // handed over to layer 2
	contender  map[netip.Addr]string         // a node that answers for an address though gossip does not reach it
	unreported unreported                    // what is announced since then, and has no event yet
	readiness  announce.Readiness            // that it went by
	waived     map[announce.ServiceAddr]bool // that were told about
	disputes   map[dispute]bool              // that were told about, and are not settled
	resumes    FoundRoutes                   // before the first pass
	waits      announcementWaits

	// What was logged already.
	loggedDrainError string // why the Node's drain annotation was not understood
	loggedUnknown    string // which of the Node's annotations have no meaning
	loggedExcluded   bool   // the Node has announce.LabelExcludeNode
	loggedRouterID   netip.Addr
}

// NewAgent returns an Agent that does nothing until it runs.
func NewAgent(opts AgentOptions) *Agent {
	opts.Announce.Layer2 = opts.Layer2 != nil
	return &Agent{opts: opts, verifier: verifier{on: opts.Verify}, loader: source.Loader{Docs: opts.Documents, Log: opts.Logger, Protect: source.NewProtector(opts.Protect, false)}}
}

// Run announces until the context is canceled. Then nothing is withdrawn: FRR keeps the
// configuration that it was given last.
func (a *Agent) Run(ctx context.Context) error {
	a.wakeup = time.AfterFunc(time.Hour, a.opts.Worker.Wake)
	defer a.wakeup.Stop()
	a.wakeup.Stop()
	a.opts.Worker.Wake()
	return a.opts.Worker.Run(ctx, a.pass)
}

// pass looks at the cluster once. FRR is left as it is until everything is read and a
// configuration is accepted: it may run the configuration of an agent before this one.
func (a *Agent) pass() {
	start := time.Now()
	s, synced := a.opts.Cluster.Tables()
	read := a.loader.Next(start, s.Snapshot, synced)
	if !synced || !read {
		return
	}
	a.expect(s.Services)
	s.Config = a.loader.Loaded.Config
	readiness, known := a.ready(s)
	if !known || !a.found() {
		return
	}
	r := status.Report{Synced: true, Config: a.loader.Report()}
	seen := func() ServiceStatuses { return ServiceStatuses{} }
	if s.Config != nil {
		a.tellFaults(s, readiness)
		around := a.around(s)
		if a.settling(s, around, start) {
			return
		}
		seen = a.announce(s, around, readiness, start, &r)
	}
	if a.opts.Statuses != nil {
		a.opts.Statuses.Set(seen)
	}
	if a.opts.State != nil {
		state := a.state(s, r.Peers)
		state.Failure = r.Error
		state.Lacking = lackingInterfaces(s.Config, a.opts.Node, a.drain.members)
		a.opts.State.Set(state)
	}
	r.Took = time.Since(start)
	trace.Line(a.opts.Logger, trace.Pass, slog.Duration("took", r.Took))
	a.opts.Reporter.Set(r)
}

// ready returns what the node's data plane serves. An agent that has just started leaves
// FRR as it is until that is known, or was waited for: FRR may announce all of it already.
func (a *Agent) ready(s cluster.Tables) (announce.Readiness, bool) {
	opts := a.opts.Announce
	if s.Config != nil {
		a.index = a.index.Of(s.Config)
		opts.Index = a.index
	}
	r := announce.Readiness{Settled: true}
	if a.opts.DataPlane != nil {
		r = a.serves(s, opts)
	}
	if a.opts.Probes != nil && s.Config != nil {
		a.opts.Probes.Want(a.probing.Next(s, a.opts.Node, opts))
		r = r.With(a.opts.Probes.Readiness())
	}
	return r, a.passed || r.Settled
}

// serves asks the data plane, and returns what is known.
func (a *Agent) serves(s cluster.Tables, opts announce.Options) announce.Readiness {
	n, _ := cluster.FindNode(s.Nodes, a.opts.Node)
	questions := a.asks.Next(s, a.opts.Node, opts)
	if differ := a.verifier.questions(s, a.opts.Node, opts, questions); differ != "" {
		a.opts.Logger.Error(MessageDiffer, "err", differ)
	}
	a.opts.DataPlane.Want(questions, n.Addrs)
	return a.opts.DataPlane.Readiness()
}

// tellFaults has other agents learn which probes are not answered here, if that has changed, and
// warns about those that fail from now on. While there are no probes, nobody needs to know.
func (a *Agent) tellFaults(s cluster.Tables, r announce.Readiness) {
	first := !a.tells
	if a.tells = a.tells || announce.Probed(s.Config); !a.tells {
		return
	}
	before := a.told
	if a.told = r; !first && r.SameFaults(before) && len(r.Unknown) == 0 {
		return
	}
	if a.opts.Events != nil && a.passed {
		a.warnProbes(s, before.Failing, r.Failing)
	}
	if a.opts.Layer2 != nil {
		a.opts.Layer2.SetFaults(r.Faults(a.memory.Announces))
	}
}

// FoundRoutes are the routes that FRR had when the agent started, each with its route-map; nil:
// that could not be read.
type FoundRoutes map[netip.Prefix]string

// found reports whether it is known which routes the agent before this one left in FRR, or does
// not matter any more.
func (a *Agent) found() bool {
	if a.passed || a.opts.Found == nil {
		return true
	}
	var known bool
	a.resumes, known = a.opts.Found()
	return known
}

// around returns the Neighborhood that belongs to a snapshot.
func (a *Agent) around(s cluster.Tables) Neighborhood {
	if a.opts.Layer2 == nil {
		return Neighborhood{Membership: announce.Membership{Disabled: true}}
	}
	a.opts.Layer2.SetNodes(s.Nodes)
	return a.opts.Layer2.Neighborhood()
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

// state returns what is not in force here: what is refused, and peers that conflict with
// others on this node.
func (a *Agent) state(s cluster.Tables, peers []status.Peer) State {
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
