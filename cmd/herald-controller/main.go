// SPDX-License-Identifier: Apache-2.0

// Herald-controller gives Services of type LoadBalancer their addresses.
package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/cmd/internal/configsource"
	"github.com/heraldlb/herald/cmd/internal/daemon"
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
	cmd := daemon.Command(name, "Gives Services of type LoadBalancer their addresses.", func(ctx context.Context) error {
		opts.Complete()
		if opts.grace < 0 {
			return fmt.Errorf("--address-grace: %s is less than nothing", opts.grace)
		}
		return opts.control(ctx, stderr)
	})
	opts.Add(cmd, env)
	cmd.Flags().StringVar(&opts.pod, "pod-name", env("METALLB_POD_NAME"), "`name` of this pod, for the Lease; empty: the host's")
	cmd.Flags().StringVar(&opts.secret, "ml-secret-name", env("METALLB_ML_SECRET_NAME"), "`name` of the Secret that agents encrypt their gossip with, to be made if there is none; empty: do not")
	cmd.Flags().DurationVar(&opts.grace, "address-grace", 0,
		"how long the address of a Service that was deleted is kept for a new one of the same name; 0: not at all")
	cmd.Flags().BoolVar(&opts.ignoreExclude, "ignore-exclude-lb", false, "agents have this flag too: announcing from nodes labelled "+announce.LabelExcludeNode)
	daemon.Accept(cmd, "deployment", "webhook-mode", "webhook-secret", "webhook-http2",
		"disable-cert-rotation", "cert-dir", "cert-service-name", "metrics-cert-dir",
		"tls-min-version", "tls-cipher-suites", "tls-curve-preferences")
	return daemon.Execute(ctx, cmd, args, stderr)
}

type options struct {
	daemon.Flags
	pod    string
	secret string
	grace  time.Duration

	ignoreExclude bool
}

// control wires the controller and runs it.
func (o *options) control(ctx context.Context, stderr io.Writer) error {
	log, err := o.Logger(stderr)
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
	leases, err := lease.NewClient(api)
	if err != nil {
		return err
	}

	worker := reconcile.NewWorker()
	events := kube.NewRecorder(client, name, log.With("component", "events"))
	doubt := func(d kube.Doubt) {
		log.Warn("list in doubt", "reason", d.String())
		events.Namespace(o.Namespace, cluster.Event{Warning: true, Reason: source.EventListInDoubt, Message: d.String()})
	}
	watcher := kube.NewWatcher(kube.WatcherOptions{Client: client, Wake: worker.Wake, Doubt: doubt, Namespaces: true})
	contests := kube.NewContests(kube.ContestsOptions{Client: client, Events: events, Logger: log.With("component", "status")})
	board := status.NewBoard(status.BoardOptions{
		Identity:   status.Identity{Component: name, Version: daemon.Version()},
		Registerer: metrics,
		Live:       func(r *status.Report) { r.Contests = contests.List() },
	})

	documents, err := configsource.New(o.Flags, client, worker.Wake, doubt, log.With("component", "configuration"))
	if err != nil {
		return err
	}
	controllerOpts := reconcile.ControllerOptions{
		Worker:  worker,
		Cluster: watcher,
		Writer: kube.NewWriter(kube.WriterOptions{
			Client:  client,
			Events:  events,
			Logger:  log.With("component", "writer"),
			Written: board.Written,

			Contests: contests,
		}),
		Events:   events.Service,
		Reporter: board,
		Logger:   log,
		Assign:   assign.Options{Class: o.Class, Grace: o.grace},

		IgnoreExcludeLB: o.ignoreExclude,
	}
	controllerOpts.Documents, controllerOpts.Protect = documents, documents.Protect
	if documents.ConfigMap != nil {
		controllerOpts.ConfigEvents = func(e cluster.Event) { events.ConfigMap(documents.ConfigMap, e) }
	}
	var sessions func() reconcile.NodeSessions
	if documents.Resources != nil {
		resources := kube.NewResourceStatus(kube.ResourceStatusOptions{
			Client: client, Resources: documents.Resources, Events: events, Logger: log.With("component", "status"),
			Wake: worker.Wake, Contests: contests,
		})
		controllerOpts.Resources, sessions = resources, resources.Sessions
	}
	if o.ConfigFile == "" {
		controllerOpts.State = kube.NewState(kube.StateOptions{Client: client, Namespace: o.Namespace, Logger: log.With("component", "status"), Contests: contests})
	}
	if o.ServiceStatus {
		controllerOpts.Announced = kube.NewAnnouncements(kube.AnnouncementsOptions{
			Client: client, Namespace: o.Namespace, Wake: worker.Wake, Logger: log.With("component", "status"), Sessions: sessions,
		})
	}
	controller := reconcile.NewController(controllerOpts)

	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("host name: %w", err)
	}
	election := lease.New(lease.Options{
		Client:    leases,
		Namespace: o.Namespace,
		Name:      name,
		Identity:  cmp.Or(o.pod, host) + "_" + rand.Text()[:8],
		Logger:    log.With("component", "election"),
	})
	log.Info("starting", "version", daemon.Version(), "namespace", o.Namespace)
	return daemon.Run(ctx,
		daemon.Task{Name: "watcher", Run: watcher.Run},
		daemon.Task{Name: "configuration", Run: documents.Run},
		daemon.Task{Name: "events", Run: events.Run},
		daemon.Task{Name: "contests", Run: contests.Run},
		daemon.Task{Name: "secret", Run: func(ctx context.Context) error {
			if o.secret != "" {
				kube.EnsureSecret(ctx, kube.SecretOptions{Client: client, Namespace: o.Namespace, Name: o.secret, Logger: log})
			}
			return nil
		}},
		daemon.Task{Name: "controller", Run: func(ctx context.Context) error {
			return election.Run(ctx, controller.Lead, controller.Follow)
		}},
		daemon.Serve(o.HTTPAddress(), status.NewHandler(board, metrics)),
	)
}
