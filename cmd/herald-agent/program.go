// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"io"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/cmd/internal/configsource"
	"github.com/heraldlb/herald/cmd/internal/daemon"
	"github.com/heraldlb/herald/cmd/internal/exclusion"
	"github.com/heraldlb/herald/cmd/internal/web"
	"github.com/heraldlb/herald/dataplane"
	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/frr/contract"
	"github.com/heraldlb/herald/kube"
	"github.com/heraldlb/herald/l2"
	"github.com/heraldlb/herald/l2/node"
	"github.com/heraldlb/herald/probe"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/session"
	"github.com/heraldlb/herald/status"
)

// announce wires the agent and runs it:
//
//	Services, Nodes, EndpointSlices -> watcher   -+           +-> applier -> FRR
//	ConfigMap, resources            -> documents -+-> agent --+-> layer 2 -> ARP, neighbor discovery, gossip
//	gossip, what is heard           -> layer 2   -+           +-> state   -> ConfigurationState
//	what routers were sent          -> routes    -+           +-> board   -> /status, /metrics -> statuses of Services
//	BGP sessions                    -> sessions  ------------------> state, board, events of the Node
func (o *options) announce(ctx context.Context, stderr io.Writer) error {
	log, err := o.Logger(stderr)
	if err != nil {
		return err
	}
	profiles, err := o.Profiles(log)
	if err != nil {
		return err
	}
	layer2, err := o.layer2(log)
	if err != nil {
		return err
	}
	gate, gated, err := o.dataPlane()
	if err != nil {
		return err
	}
	layer2.Hold = true
	daemon.LimitMemory(log)
	unlock, err := o.lock(log)
	if err != nil {
		return err
	}
	defer unlock()
	kube.LogTo(log.With("component", "client"))
	if err := kube.NoticeDead(); err != nil {
		return err
	}
	api, err := kube.NewConfig(o.Kubeconfig, name+"/"+daemon.Version())
	if err != nil {
		return err
	}
	metrics := daemon.NewRegistry()
	kube.CountWrites(api, status.NewWrites(metrics).Count)
	client, err := kube.NewClient(api)
	if err != nil {
		return err
	}
	p := &program{
		options: o, client: client, log: log, worker: reconcile.NewWorker(), timings: status.NewTimings(metrics, status.AgentSpans),
		started: time.Now().Round(0), journal: &status.Journal{},
	}
	if err := p.watch(); err != nil {
		return err
	}
	levels := o.LogLevels(log, p.journal)
	p.drive(layer2)
	p.prove(gate, gated)
	defer p.peers.Close()
	p.report(metrics)
	server, err := p.serve(metrics)
	if err != nil {
		return err
	}
	log.Info("starting", "version", daemon.Version(), "node", o.node)
	// When ctx ends, everything goes on until others have taken over.
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	leave := func(working context.Context) error {
		select {
		case <-working.Done():
		case <-ctx.Done():
			p.leave(working)
			stop()
		}
		return nil
	}
	return daemon.Run(working, slices.Concat(p.tasks(), server.Tasks(), []daemon.Task{
		profiles,
		levels,
		{Name: "stop", Run: leave},
		{Name: "agent", Run: reconcile.NewAgent(p.agent()).Run},
		{Name: "reviews", Run: p.reviews(server)},
	})...)
}

// serve returns the server of metrics, status and probes.
func (p *program) serve(metrics prometheus.Gatherer) (*web.Server, error) {
	return web.New(web.Options{
		Flags:        p.web,
		Address:      p.HTTPAddress(),
		ProbeAddress: "127.0.0.1", // in the node's network
		Handler:      status.NewHandler(p.board, metrics),
		Reviewer:     p.client,
		Logger:       p.part("http"),
	})
}

// reviews returns what says to the FRR container who may read metrics.
func (p *program) reviews(s *web.Server) func(context.Context) error {
	return func(ctx context.Context) error {
		if dir := p.sharedDir(); dir != "" {
			return s.ServeReviews(ctx, filepath.Join(dir, contract.ReviewSocket))
		}
		return nil
	}
}

// A program has the parts that the agent is wired from.
type program struct {
	*options
	client *kube.Client
	log    *slog.Logger
	worker *reconcile.Worker

	watcher   *kube.Watcher
	documents *configsource.Source
	events    *kube.Recorder
	contests  *kube.Contests

	state     *reconcile.AppliedState
	applier   *frr.Applier
	found     atomic.Pointer[reconcile.FoundRoutes] // that FRR had; nil: not known yet
	peers     *frr.Poller
	routes    *frr.Verifier
	container *sidecar
	layer2    *node.Layer2
	gate      *dataplane.Gate // nil: the data plane is not asked
	prober    *probe.Prober
	address   netip.Addr // of this node; zero: not known
	keys      *keyFollower
	exclusion *exclusion.List
	sessions  *session.Monitor

	started  time.Time
	journal  *status.Journal
	noted    noted
	timings  *status.Timings
	board    *status.Board
	statuses *kube.ServiceStatusWriter // nil: not wanted
}

// part returns the logger of a part.
func (p *program) part(name string) *slog.Logger { return p.log.With("component", name) }

// watch makes the parts that follow the API server.
func (p *program) watch() (err error) {
	// The controllers report it as an event: a thousand agents need not.
	doubt := func(d kube.Doubt) { p.log.Warn("list in doubt", "reason", d.String()) }
	p.watcher = kube.NewWatcher(kube.WatcherOptions{Client: p.client, Wake: p.worker.Wake, Doubt: doubt, Logger: p.log, NoConditions: true, Nodes: true, EndpointSlices: true})
	p.documents, err = configsource.New(p.Flags, p.client, p.worker.Wake, doubt, p.part("configuration"))
	p.events = kube.NewRecorder(p.client, name, p.part("events"))
	p.contests = kube.NewContests(kube.ContestsOptions{Client: p.client, Events: p.events, Logger: p.part("status")})
	return err
}

// drive makes the parts that drive the network, and those that watch it.
func (p *program) drive(layer2 node.Options) {
	p.state = reconcile.NewAppliedState(reconcile.AppliedStateOptions{
		Writer: kube.NewStateWriter(kube.StateWriterOptions{
			Client: p.client, Namespace: p.Namespace, Node: p.node, Pod: p.pod, Logger: p.part("status"), Contests: p.contests,
		}),
		FRR: func() reconcile.Running { return running(p.applier.State()) },
	})
	p.applier = frr.New(frr.Options{
		RunDir: p.frrDir, ConfPath: p.frrConf, Extras: p.extras, Changed: p.applied, Logger: p.part("frr"),
		Found: func(routes map[netip.Prefix]string) {
			p.found.Store((*reconcile.FoundRoutes)(&routes))
			p.worker.Wake()
		},
	})
	p.peers = frr.NewPoller(p.frrDir)
	p.routes = frr.NewVerifier(frr.VerifierOptions{
		Sessions: p.peers.Sessions, Prober: frr.NewReader(p.frrDir), Changed: p.worker.Wake, Logger: p.part("frr"),
	})
	p.container = p.sidecar(p.client, p.events, p.part("frr"))
	layer2.Changed = p.worker.Wake
	p.layer2, p.address = node.New(layer2), layer2.Bind.Addr()
	p.keys = &keyFollower{set: p.layer2.SetKeys, log: p.part("members")}
	if layer2.Bind.IsValid() {
		p.keys.dir = p.keyDir
	}
	p.exclusion = exclusion.New(p.exclude, p.layer2.SetExclude, p.log)
	p.sessions = session.New(session.Options{
		Source: p.peers.Reader(), Reopen: p.applier.Reopen, Present: l2.Present, Hurry: p.layer2.Asked,
		Changed: p.routes.Look, Event: p.event, Publish: p.state.SetSessions, Journal: p.journal, Logger: p.log,
		Took: func(peer string, d time.Duration) { p.timings.Observe(status.SpanSession, peer, d) },
	})
}

// report makes the parts that show what the agent does.
func (p *program) report(metrics prometheus.Registerer) {
	p.board = status.NewBoard(status.BoardOptions{
		Identity:   status.Identity{Component: name, Version: daemon.Version(), Node: p.node, Pod: p.pod, Started: p.started},
		Registerer: metrics,
		Journal:    p.journal,
		Live:       p.live,
		FRR:        p.inForce,
		Watches:    p.client.Watches,
		LogLevel:   p.Level,
		Timings:    p.timings,
	})
	if p.ServiceStatus {
		p.statuses = kube.NewServiceStatusWriter(kube.ServiceStatusWriterOptions{
			Client: p.client, Namespace: p.Namespace, Node: p.node, Pod: p.pod,
			Contests: p.contests, Logger: p.part("status"),
		})
	}
}

// agent returns the options of the loop that decides.
func (p *program) agent() reconcile.AgentOptions {
	opts := reconcile.AgentOptions{
		Node: p.node, Worker: p.worker, Logger: p.log,
		Cluster: p.watcher, Documents: p.documents, Protect: p.documents.Protect,
		FRR: runner{p.applier}, Routers: p.routes, Layer2: p.layer2, DataPlane: p.readiness(), Probes: p.prober, Found: p.foundRoutes,
		Reporter: p, Events: p.events.Service, NodeEvents: p.event,
		Announce: announce.Options{Class: p.Class, IgnoreExcludeLB: p.ignoreExclude, Address: p.address, AskAll: p.gateMode == "all"},
		Verify:   p.verify, Journal: p.journal,
		Took: p.timings.Observe,
	}
	if p.documents.Resources != nil {
		opts.State = p.state
	}
	if p.statuses != nil {
		opts.Statuses = p.statuses
	}
	return opts
}

// foundRoutes returns the routes that FRR had when the agent started, and whether they are
// known.
func (p *program) foundRoutes() (reconcile.FoundRoutes, bool) {
	routes := p.found.Load()
	if routes == nil {
		return nil, false
	}
	return *routes, true
}

// tasks returns what runs, but for the agent.
func (p *program) tasks() []daemon.Task {
	tasks := []daemon.Task{
		{Name: "watcher", Run: p.watcher.Run},
		{Name: "configuration", Run: p.documents.Run},
		{Name: "events", Run: p.events.Run},
		{Name: "contests", Run: p.contests.Run},
		{Name: "frr", Run: p.applier.Run},
		{Name: "frr container", Run: p.container.run},
		{Name: "routes", Run: p.routes.Run},
		{Name: "sessions", Run: p.sessions.Run},
		{Name: "layer 2", Run: p.layer2.Run},
		{Name: "gossip key", Run: p.keys.run},
		{Name: "exclusion", Run: p.exclusion.Run},
		{Name: "probes", Run: p.prober.Run},
	}
	if p.documents.Resources != nil {
		tasks = append(tasks, daemon.Task{Name: "state", Run: p.state.Run})
	}
	if p.gate != nil {
		tasks = append(tasks, daemon.Task{Name: "data plane", Run: p.gate.Run})
	}
	if p.statuses != nil {
		tasks = append(tasks, daemon.Task{Name: "service status", Run: p.statuses.Run})
	}
	return tasks
}

// Set shows what a pass has found, and passes it on.
func (p *program) Set(r status.Report) {
	p.board.Set(r)
	p.noted.dataPlane(p.journal, p.dataPlaneStatus())
	p.sessions.Want(r.Peers)
}

// live adds to a report what changes between two passes.
func (p *program) live(r *status.Report) {
	r.FRR.Metrics, r.Contests = p.container.hasMetrics(), p.contests.List()
	r.Peers = p.sessions.In(r.Peers)
	r.Layer2, r.DataPlane, r.Probes = p.layer2.Status(), p.dataPlaneStatus(), p.prober.Status()
	r.Confirm(p.routes.SentTo)
}

// inForce returns the state of FRR.
func (p *program) inForce() *status.FRR {
	f := inForce(p.applier.State())
	f.Extras, f.Version = p.container.status(), p.peers.Version()
	f.Processes = processes(p.applier.Processes())
	return f
}

// event records an event about the Node.
func (p *program) event(e cluster.Event) { p.events.Node(p.node, e) }

// leave has other nodes take over.
func (p *program) leave(ctx context.Context) {
	if dir := p.sharedDir(); dir != "" {
		p.layer2.Leave(ctx, holder{dir})
		return
	}
	p.layer2.Leave(ctx, nil)
}
