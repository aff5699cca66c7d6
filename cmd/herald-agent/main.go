// SPDX-License-Identifier: Apache-2.0

// Herald-agent announces the addresses of Services from the node it runs on.
package main

import (
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/cmd/internal/configsource"
	"github.com/heraldlb/herald/cmd/internal/daemon"
	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/kube"
	"github.com/heraldlb/herald/l2"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/status"
)

const name = "herald-agent"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stderr))
}

func run(ctx context.Context, args []string, env func(string) string, stderr io.Writer) int {
	opts := options{bindPort: gossipPort(env)}
	cmd := daemon.Command(name, "Announces the addresses of Services from the node it runs on.", func(ctx context.Context) error {
		opts.Complete()
		return opts.announce(ctx, stderr)
	})
	opts.Add(cmd, env)
	fs := cmd.Flags()
	fs.StringVar(&opts.node, "node-name", env("METALLB_NODE_NAME"), "`name` of the Node this runs on; required")
	fs.StringVar(&opts.pod, "pod-name", env("METALLB_POD_NAME"), "`name` of this pod, which the statuses of Services go with; empty: the Node's")
	fs.StringVar(&opts.frrDir, "frr-dir", "/var/run/frr", "`directory` of the FRR daemons' vty sockets")
	fs.StringVar(&opts.frrConf, "frr-conf", "/etc/frr/frr.conf", "`path` of the configuration that FRR starts from, in the folder shared with it; empty: there is no FRR")
	fs.BoolVar(&opts.ignoreExclude, "ignore-exclude-lb", false, "announce from nodes labelled "+announce.LabelExcludeNode+" too")
	fs.StringVar(&opts.bind, "ml-bindaddr", env("METALLB_ML_BIND_ADDR"), "`address` of this node to gossip on, about which agents are alive; empty: do not, and hold all to be alive")
	fs.Uint16Var(&opts.bindPort, "ml-bindport", opts.bindPort, "`port` to gossip on, UDP and TCP, the same on all nodes")
	fs.StringVar(&opts.keyDir, "ml-secret-key-path", env("METALLB_ML_SECRET_KEY_PATH"), "`directory` with the secret that gossip is encrypted with, in a file secretkey; empty: clear text")
	fs.BoolVar(&opts.wan, "ml-wan-config", false, "the same as --l2-liveness=wan")
	fs.StringVar(&opts.liveness, "l2-liveness", "", "how soon a silent agent is held to be dead: fast (half a second; the default), normal (5 s) or wan (a minute)")
	fs.StringVar(&opts.conflict, "l2-conflict", "warn", "what to do about an address that another host has: warn, and announce it; or refuse to")
	fs.StringVar(&opts.exclude, "excluded-interfaces-file", "/etc/metallb/excludel2.yaml", "`path` of the list of interfaces to leave alone on layer 2, in MetalLB's format")
	daemon.Accept(cmd, "host", "ml-labels", "bgp-debounce-timeout", "frrk8s-namespace", "frrk8s-secret-passthrough", "metrics-cert-dir",
		"tls-min-version", "tls-cipher-suites", "tls-curve-preferences")
	return daemon.Execute(ctx, cmd, args, stderr)
}

type options struct {
	daemon.Flags
	node          string
	pod           string
	frrDir        string
	frrConf       string
	ignoreExclude bool

	bind     string
	bindPort uint16
	keyDir   string
	wan      bool
	liveness string
	conflict string
	exclude  string
}

// gossipPort returns the port that the environment names, or the usual one.
func gossipPort(env func(string) string) uint16 {
	port, err := strconv.ParseUint(env("METALLB_ML_BIND_PORT"), 10, 16)
	if err != nil || port == 0 {
		return 7946
	}
	return uint16(port)
}

// layer2 returns what the flags say about layer 2.
func (o *options) layer2() (layer2Options, error) {
	profile, err := parseProfile(o.liveness, o.wan)
	if err != nil {
		return layer2Options{}, err
	}
	policy, err := parsePolicy(o.conflict)
	if err != nil {
		return layer2Options{}, err
	}
	return layer2Options{
		node: o.node, bind: o.bind, port: o.bindPort, keyDir: o.keyDir, profile: profile, conflict: policy,
	}, nil
}

// announce wires the agent and runs it.
func (o *options) announce(ctx context.Context, stderr io.Writer) error {
	if o.node == "" {
		return errors.New("--node-name or METALLB_NODE_NAME is required")
	}
	log, err := o.Logger(stderr)
	if err != nil {
		return err
	}
	onLayer2, err := o.layer2()
	if err != nil {
		return err
	}
	kube.LogTo(log.With("component", "client"))
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

	worker := reconcile.NewWorker()
	// The controllers tell of it in an event: a thousand agents need not.
	doubt := func(d kube.Doubt) { log.Warn("list in doubt", "reason", d.String()) }
	watcher := kube.NewWatcher(kube.WatcherOptions{Client: client, Wake: worker.Wake, Doubt: doubt, Nodes: true, EndpointSlices: true})
	documents, err := configsource.New(o.Flags, client, worker.Wake, doubt, log.With("component", "configuration"))
	if err != nil {
		return err
	}
	events := kube.NewRecorder(client, name, log.With("component", "events"))
	contests := kube.NewContests(kube.ContestsOptions{Client: client, Events: events, Logger: log.With("component", "status")})
	var applier *frr.Applier
	progress := reconcile.NewAppliedState(reconcile.AppliedStateOptions{
		Writer: kube.NewStateWriter(kube.StateWriterOptions{
			Client: client, Namespace: o.Namespace, Node: o.node, Pod: o.pod, Logger: log.With("component", "status"),
			Contests: contests,
		}),
		FRR: func() reconcile.Running { return running(applier.State()) },
	})
	applier = frr.New(frr.Options{
		RunDir: o.frrDir, ConfPath: o.frrConf, Extras: o.extras, Changed: progress.Changed, Logger: log.With("component", "frr"),
	})
	routers := frr.NewVerifier(frr.VerifierOptions{
		Prober: frr.NewReader(o.frrDir), Changed: worker.Wake, Logger: log.With("component", "frr"),
	})
	about := func(e cluster.Event) { events.Node(o.node, e) }
	sessions := newSessions(sessionsOptions{
		Reader: frr.NewReader(o.frrDir), Reopen: applier.Reopen, Changed: routers.Look, Logger: log, Present: l2.Present,
		Tell: about, See: see, Ping: ping, Publish: progress.SetSessions,
	})
	network, err := newLayer2(onLayer2, watcher, worker.Wake, log)
	if err != nil {
		return err
	}
	sessions.opts.Hurry = network.asked
	exclusion := newExclusion(o.exclude, network.announcer.SetExclude, log)
	container := o.sidecar(client, events, log.With("component", "frr"))
	board := status.NewBoard(status.BoardOptions{
		Identity:   status.Identity{Component: name, Version: daemon.Version(), Node: o.node},
		Registerer: metrics,
		Live: func(r *status.Report) {
			r.FRR, r.Contests = inForce(applier.State()), contests.List()
			r.FRR.Extras, r.FRR.Metrics = container.status(), container.hasMetrics()
			r.Peers = sessions.in(r.Peers)
			r.Layer2 = network.status()
			r.Confirm(routers.SentTo)
		},
	})
	heard := []func(status.Report){func(r status.Report) { sessions.want(r.Peers) }}
	agentOpts := reconcile.AgentOptions{
		Node:       o.node,
		Worker:     worker,
		Cluster:    watcher,
		Documents:  documents,
		FRR:        runner{applier},
		Routers:    routers,
		Layer2:     network,
		Logger:     log,
		Events:     events.Service,
		NodeEvents: about,
		Announce:   announce.Options{Class: o.Class, IgnoreExcludeLB: o.ignoreExclude},
		Protect:    documents.Protect,
	}
	var tasks []daemon.Task
	if documents.Resources != nil {
		agentOpts.State = progress
		tasks = append(tasks, daemon.Task{Name: "state", Run: progress.Run})
	}
	if o.ServiceStatus {
		statuses := kube.NewServiceStatusWriter(kube.ServiceStatusWriterOptions{
			Client: client, Namespace: o.Namespace, Node: o.node, Pod: o.pod,
			Gone:   network.gone,
			Logger: log.With("component", "status"),

			Contests: contests,
		})
		agentOpts.Statuses = statuses
		tasks = append(tasks, daemon.Task{Name: "service status", Run: statuses.Run})
	}
	agentOpts.Reporter = reporter{board, heard}
	agent := reconcile.NewAgent(agentOpts)
	log.Info("starting", "version", daemon.Version(), "node", o.node)
	// When ctx ends, everything goes on until others have taken over.
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	return daemon.Run(working, append(tasks,
		daemon.Task{Name: "stop", Run: func(working context.Context) error {
			select {
			case <-working.Done():
			case <-ctx.Done():
				network.leave(working, o.sharedDir())
				stop()
			}
			return nil
		}},
		daemon.Task{Name: "watcher", Run: watcher.Run},
		daemon.Task{Name: "configuration", Run: documents.Run},
		daemon.Task{Name: "agent", Run: agent.Run},
		daemon.Task{Name: "frr", Run: applier.Run},
		daemon.Task{Name: "routes", Run: routers.Run},
		daemon.Task{Name: "sessions", Run: sessions.run},
		daemon.Task{Name: "layer 2", Run: network.run},
		daemon.Task{Name: "members", Run: network.gossip},
		daemon.Task{Name: "rivals", Run: network.watchRivals},
		daemon.Task{Name: "exclusion", Run: exclusion.run},
		daemon.Task{Name: "events", Run: events.Run},
		daemon.Task{Name: "contests", Run: contests.Run},
		daemon.Task{Name: "frr container", Run: container.run},
		daemon.Serve(o.HTTPAddress(), status.NewHandler(board, metrics)),
	)...)
}

// A reporter shows a Report, and tells others that there is a new one.
type reporter struct {
	*status.Board
	heard []func(status.Report)
}

// Set shows a Report.
func (r reporter) Set(report status.Report) {
	r.Board.Set(report)
	for _, hear := range r.heard {
		hear(report)
	}
}

// A runner has FRR run a configuration.
type runner struct{ *frr.Applier }

// Applied reports whether FRR runs all that Set was told last.
func (r runner) Applied() bool { return r.State().Applied }

// running says whether FRR runs what it is to run, and why not.
func running(s frr.State) reconcile.Running {
	r := reconcile.Running{Applied: s.Applied}
	var absent []string
	for _, name := range slices.Sorted(maps.Keys(s.Up)) {
		if !s.Up[name] {
			absent = append(absent, name)
		}
	}
	switch {
	case s.Err == nil:
	case len(absent) > 0 && !errors.Is(s.Err, frr.ErrRejected):
		// In how many ways it does so is of no interest.
		r.Trouble = "FRR does not answer: " + strings.Join(absent, ", ")
	default:
		r.Trouble = "frr.conf not applied: " + strings.ReplaceAll(s.Err.Error(), "\n", "; ")
	}
	return r
}

// inForce says how far FRR runs what it is to run.
func inForce(s frr.State) *status.FRR {
	f := &status.FRR{Generation: s.Generation, Applied: s.Applied, AppliedAt: s.AppliedAt, Daemons: s.Up}
	if s.Err != nil {
		f.Error = s.Err.Error()
	}
	return f
}
