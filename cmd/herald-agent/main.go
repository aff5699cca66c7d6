// SPDX-License-Identifier: Apache-2.0

// Herald-agent announces the addresses of Services from the node it runs on.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"

	"github.com/heraldlb/herald/cmd/internal/configfile"
	"github.com/heraldlb/herald/cmd/internal/daemon"
	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/kube"
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
	var opts options
	cmd := &cobra.Command{
		Use:           name,
		Short:         "Announces the addresses of Services from the node it runs on.",
		Args:          cobra.NoArgs,
		Version:       daemon.Version(),
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts.Complete()
			return opts.announce(cmd.Context(), stderr)
		},
	}
	opts.Add(cmd, env)
	fs := cmd.Flags()
	fs.StringVar(&opts.node, "node-name", env("METALLB_NODE_NAME"), "`name` of the Node this runs on; required")
	fs.StringVar(&opts.frrDir, "frr-dir", "/var/run/frr", "`directory` of the FRR daemons' vty sockets")
	fs.StringVar(&opts.frrConf, "frr-conf", "/etc/frr/frr.conf", "`path` of the configuration that FRR starts from, in the folder shared with it; empty: there is no FRR")
	fs.BoolVar(&opts.ignoreExclude, "ignore-exclude-lb", false, "announce from nodes labelled "+reconcile.LabelExcludeNode+" too")
	daemon.Accept(cmd, "host", "pod-name", "ml-bindaddr", "ml-bindport", "ml-labels", "ml-secret-key-path", "ml-wan-config",
		"bgp-debounce-timeout", "frrk8s-namespace", "frrk8s-secret-passthrough", "metrics-cert-dir",
		"tls-min-version", "tls-cipher-suites", "tls-curve-preferences")
	cmd.SetArgs(args)
	cmd.SetErr(stderr)
	if err := cmd.ExecuteContext(ctx); err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", name, err)
		return 1
	}
	return 0
}

type options struct {
	daemon.Flags
	node          string
	frrDir        string
	frrConf       string
	ignoreExclude bool
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
	kube.LogTo(log.With("component", "client"))
	api, err := kube.NewConfig(o.Kubeconfig, name+"/"+daemon.Version())
	if err != nil {
		return err
	}
	client, err := kube.NewClient(api)
	if err != nil {
		return err
	}

	worker := reconcile.NewWorker()
	watcher := kube.NewWatcher(kube.WatcherOptions{Client: client, Wake: worker.Wake, Nodes: true, EndpointSlices: true})
	applier := frr.New(frr.Options{RunDir: o.frrDir, ConfPath: o.frrConf, Extras: o.extras, Logger: log.With("component", "frr")})
	sessions := newSessions(frr.NewReader(o.frrDir), log)
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	board := status.NewBoard(status.BoardOptions{
		Identity:   status.Identity{Component: name, Version: daemon.Version(), Node: o.node},
		Registerer: metrics,
		Live: func(r *status.Report) {
			r.FRR = inForce(applier.State())
			r.Peers = sessions.in(r.Peers)
		},
	})
	var documents interface {
		reconcile.Documents
		Run(context.Context) error
	}
	if o.ConfigFile != "" {
		documents = configfile.New(o.ConfigFile, worker.Wake)
	} else {
		documents = kube.NewConfigMap(kube.ConfigMapOptions{
			Client: client, Namespace: o.Namespace, Name: o.Config, Wake: worker.Wake,
		})
	}
	agent := reconcile.NewAgent(reconcile.AgentOptions{
		Node:      o.node,
		Worker:    worker,
		Cluster:   watcher,
		Documents: documents,
		FRR:       applier,
		Reporter:  board,
		Logger:    log,
		Announce:  reconcile.AnnounceOptions{Class: o.Class, IgnoreExcludeLB: o.ignoreExclude},
	})
	log.Info("starting", "version", daemon.Version(), "node", o.node)
	return daemon.Run(ctx,
		daemon.Task{Name: "watcher", Run: watcher.Run},
		daemon.Task{Name: "configuration", Run: documents.Run},
		daemon.Task{Name: "agent", Run: agent.Run},
		daemon.Task{Name: "frr", Run: applier.Run},
		daemon.Task{Name: "sessions", Run: sessions.run},
		daemon.Task{Name: "heartbeat", Run: func(ctx context.Context) error { return o.heartbeat(ctx, log) }},
		daemon.Serve(o.HTTPAddress(), status.NewHandler(board, metrics)),
	)
}

// extras returns what the operator has added to FRR's configuration.
func (o *options) extras() []byte {
	if o.frrConf == "" {
		return nil
	}
	text, _ := frr.ReadExtras(filepath.Dir(o.frrConf)) // what cannot be read cannot be kept
	return text
}

// heartbeat tells the FRR container that an agent is there.
func (o *options) heartbeat(ctx context.Context, log *slog.Logger) error {
	if o.frrConf == "" {
		<-ctx.Done()
		return nil
	}
	return frr.Heartbeat(ctx, filepath.Dir(o.frrConf), log.With("component", "frr"))
}

// inForce says how far FRR runs what it is to run.
func inForce(s frr.State) *status.FRR {
	f := &status.FRR{Generation: s.Generation, Applied: s.Applied, AppliedAt: s.AppliedAt, Daemons: s.Up}
	if s.Err != nil {
		f.Error = s.Err.Error()
	}
	return f
}
