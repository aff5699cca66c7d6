// SPDX-License-Identifier: Apache-2.0

// Herald-controller assigns addresses to Services of type LoadBalancer.
package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/cmd/internal/configsource"
	"github.com/heraldlb/herald/cmd/internal/daemon"
	"github.com/heraldlb/herald/cmd/internal/page"
	"github.com/heraldlb/herald/cmd/internal/web"
	"github.com/heraldlb/herald/kube"
	"github.com/heraldlb/herald/kube/lease"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/source"
	"github.com/heraldlb/herald/status"
)

const name = "herald-controller"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stderr))
}

func run(ctx context.Context, args []string, env func(string) string, stderr io.Writer) int {
	var opts options
	cmd := daemon.Command(name, "Assigns addresses to Services of type LoadBalancer.", func(ctx context.Context) error {
		opts.Complete()
		if opts.grace < 0 {
			return fmt.Errorf("--address-grace: %s is less than 0", opts.grace)
		}
		return opts.control(ctx, stderr)
	})
	opts.Add(cmd, env)
	opts.web.Add(cmd)
	cmd.Flags().StringVar(&opts.pod, "pod-name", env("METALLB_POD_NAME"), "`name` of this pod, for the Lease; empty: the host name")
	cmd.Flags().StringVar(&opts.pageAt, "page-address", pageAddress, "`address` and port of the web page that shows what works and why not; empty: none. Off loopback it needs TLS, and a token whose owner may get "+pagePermission+" (TokenReview and SubjectAccessReview)")
	cmd.Flags().StringVar(&opts.secret, "ml-secret-name", env("METALLB_ML_SECRET_NAME"), "`name` of the Secret with the key that encrypts the agents' gossip, created if it does not exist; empty: no Secret is created")
	cmd.Flags().DurationVar(&opts.grace, "address-grace", 0,
		"how long the address of a deleted Service stays reserved for a new Service of the same name; 0: not at all")
	cmd.Flags().BoolVar(&opts.ignoreExclude, "ignore-exclude-lb", false, "set it if the agents have this flag: they announce from nodes labelled "+announce.LabelExcludeNode+" too")
	cmd.Flags().BoolVar(&opts.verify, "verify-decisions", false, "also make all decisions from scratch in each pass, and log an error if they differ from those that are remembered; for tests of Herald: it costs what remembering saves")
	daemon.Accept(cmd, "deployment", "webhook-mode", "webhook-secret", "webhook-http2",
		"disable-cert-rotation", "cert-dir", "cert-service-name")
	return daemon.Execute(ctx, cmd, args, stderr)
}

type options struct {
	daemon.Flags
	web    web.Flags
	pod    string
	pageAt string
	secret string
	grace  time.Duration

	ignoreExclude bool
	verify        bool
}

// control wires the controller and runs it:
//
//	Services, Namespaces      -> watcher       -+                +-> writer    -> status of Services
//	ConfigMap, resources      -> documents     -+-> controller --+-> resources -> status of resources
//	what the agents announce  -> announcements -+                +-> board     -> /status, /metrics
//	                                                             +-> page      -> web page
//
// The replica that holds the Lease writes, the others follow.
func (o *options) control(ctx context.Context, stderr io.Writer) error {
	log, err := o.Logger(stderr)
	if err != nil {
		return err
	}
	profiles, err := o.Profiles(log)
	if err != nil {
		return err
	}
	daemon.LimitMemory(log)
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
	p := newProgram(o, client, metrics, log)
	documents, err := configsource.New(o.Flags, client, p.worker.Wake, p.doubt, log.With("component", "configuration"))
	if err != nil {
		return err
	}
	election, err := o.election(api, log.With("component", "election"))
	if err != nil {
		return err
	}
	p.leads.Store(election)
	levels := o.LogLevels(log, p.journal)
	opts := p.controllerOptions(documents)
	site, err := p.site(&opts, p.view(documents, election))
	if err != nil {
		return err
	}
	controller := reconcile.NewController(opts)
	log.Info("starting", "version", daemon.Version(), "namespace", o.Namespace)
	server, err := web.New(web.Options{
		Flags: o.web, Address: o.HTTPAddress(), Handler: status.NewHandler(p.board, metrics),
		Reviewer: client, Logger: log.With("component", "http"),
	})
	if err != nil {
		return err
	}
	return daemon.Run(ctx, append(server.Tasks(),
		profiles,
		levels,
		daemon.Task{Name: "watcher", Run: p.watcher.Run},
		daemon.Task{Name: "configuration", Run: documents.Run},
		daemon.Task{Name: "page", Run: site.Run},
		daemon.Task{Name: "topology", Run: p.page.Run},
		daemon.Task{Name: "events", Run: p.events.Run},
		daemon.Task{Name: "contests", Run: p.contests.Run},
		daemon.Task{Name: "secret", Run: p.ensureSecret},
		daemon.Task{Name: "controller", Run: func(ctx context.Context) error {
			return election.Run(ctx, controller.Lead, controller.Follow)
		}},
	)...)
}

// A program has the parts that the controller is wired from.
type program struct {
	*options
	client   *kube.Client
	worker   *reconcile.Worker
	watcher  *kube.Watcher
	events   *kube.Recorder
	contests *kube.Contests
	timings  *status.Timings
	board    *status.Board
	journal  *status.Journal
	leads    atomic.Pointer[lease.Election] // nil: not made yet
	page     *page.Page
	log      *slog.Logger

	agents    *kube.AgentStates   // nil: none are read
	announced *kube.Announcements // nil: none are read
}

// leader returns the pod that leads; empty: it is not known.
func (p *program) leader() string {
	e := p.leads.Load()
	if e == nil {
		return ""
	}
	pod, _, _ := strings.Cut(e.Leader(), "_") // the rest says which process
	return pod
}

func newProgram(o *options, client *kube.Client, metrics prometheus.Registerer, log *slog.Logger) *program {
	p := &program{options: o, client: client, log: log, worker: reconcile.NewWorker(), journal: &status.Journal{}}
	p.events = kube.NewRecorder(client, name, log.With("component", "events"))
	p.watcher = kube.NewWatcher(kube.WatcherOptions{Client: client, Wake: p.worker.Wake, Doubt: p.doubt, Logger: log, Certain: true, Namespaces: true})
	p.contests = kube.NewContests(kube.ContestsOptions{Client: client, Events: p.events, Logger: log.With("component", "status")})
	p.timings = status.NewTimings(metrics, status.ControllerSpans)
	p.board = status.NewBoard(status.BoardOptions{
		Identity:   status.Identity{Component: name, Version: daemon.Version(), Pod: o.pod, Started: time.Now().Round(0)},
		Registerer: metrics,
		Journal:    p.journal,
		Live:       func(r *status.Report) { r.Contests, r.Leader = p.contests.List(), p.leader() },
		Watches:    client.Watches,
		LogLevel:   p.Level,
		Timings:    p.timings,
	})
	return p
}

// doubt reports a list that lacks most of what is known, and is read again.
func (p *program) doubt(d kube.Doubt) {
	p.log.Warn("list in doubt", "reason", d.String())
	p.events.Namespace(p.Namespace, cluster.Event{Warning: true, Reason: source.EventListInDoubt, Message: d.String()})
}

// controllerOptions returns the options for a configuration from documents.
func (p *program) controllerOptions(documents *configsource.Source) reconcile.ControllerOptions {
	statusLog := p.log.With("component", "status")
	opts := reconcile.ControllerOptions{
		Worker:    p.worker,
		Cluster:   p.watcher,
		Documents: documents,
		Protect:   documents.Protect,
		Journal:   p.journal,
		Writer: kube.NewServiceWriter(kube.ServiceWriterOptions{
			Client:  p.client,
			Events:  p.events,
			Logger:  p.log.With("component", "writer"),
			Written: p.board.Written,

			Contests: p.contests,
		}),
		Events:   p.events.Service,
		Reporter: p.board,
		Logger:   p.log,
		Assign:   assign.Options{Class: p.Class, Grace: p.grace},

		IgnoreExcludeLB: p.ignoreExclude,
		Verify:          p.verify,
		Took:            p.timings.Observe,
	}
	if documents.ConfigMap != nil {
		opts.ConfigEvents = func(e cluster.Event) { p.events.ConfigMap(documents.ConfigMap, e) }
	}
	if documents.Resources != nil {
		opts.Resources = kube.NewResourceStatusWriter(kube.ResourceStatusWriterOptions{
			Client: p.client, Resources: documents.Resources, Events: p.events, Logger: statusLog, Contests: p.contests,
		})
		p.agents = kube.NewAgentStates(kube.AgentStatesOptions{Client: p.client, Namespace: p.Namespace, Wake: p.worker.WakeSoon})
		opts.Agents = p.agents
	}
	if p.ConfigFile == "" {
		opts.State = kube.NewStateWriter(kube.StateWriterOptions{Client: p.client, Namespace: p.Namespace, Logger: statusLog, Contests: p.contests})
	}
	if p.ServiceStatus {
		p.announced = kube.NewAnnouncements(kube.AnnouncementsOptions{
			Client: p.client, Namespace: p.Namespace, Wake: p.worker.WakeSoon, Logger: statusLog,
		})
		opts.Announced = p.announced
	}
	return opts
}

// ensureSecret creates the Secret of the agents' gossip, if one is asked for.
func (p *program) ensureSecret(ctx context.Context) error {
	if p.secret != "" {
		kube.EnsureSecret(ctx, kube.SecretOptions{Client: p.client, Namespace: p.Namespace, Name: p.secret, Logger: p.log})
	}
	return nil
}

// election returns the election of the replica that writes.
func (o *options) election(api *rest.Config, log *slog.Logger) (*lease.Election, error) {
	leases, err := lease.NewClient(api)
	if err != nil {
		return nil, err
	}
	if o.pod == "" {
		if o.pod, err = os.Hostname(); err != nil {
			return nil, fmt.Errorf("host name: %w", err)
		}
	}
	return lease.New(lease.Options{
		Client:    leases,
		Namespace: o.Namespace,
		Name:      name,
		Identity:  o.pod + "_" + rand.Text()[:8],
		Logger:    log,
	}), nil
}
