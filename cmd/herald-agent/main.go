// SPDX-License-Identifier: Apache-2.0

// Herald-agent announces the addresses of Services from the node it runs on.
package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cmd/internal/daemon"
	"github.com/heraldlb/herald/cmd/internal/web"
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
		if opts.node == "" {
			return errors.New("--node-name or METALLB_NODE_NAME is required")
		}
		return opts.announce(ctx, stderr)
	})
	opts.Add(cmd, env)
	opts.web.Add(cmd)
	fs := cmd.Flags()
	fs.StringVar(&opts.node, "node-name", env("METALLB_NODE_NAME"), "`name` of the Node this runs on; required")
	fs.StringVar(&opts.pod, "pod-name", env("METALLB_POD_NAME"), "`name` of this pod, whose owner, the DaemonSet, owns the status objects of Services; empty: the Node owns them")
	fs.StringVar(&opts.frrDir, "frr-dir", "/var/run/frr", "`directory` of the FRR daemons' vty sockets")
	fs.StringVar(&opts.frrConf, "frr-conf", "/etc/frr/frr.conf", "`path` of the configuration that FRR starts from, in the folder shared with its container; empty: there is no FRR")
	fs.BoolVar(&opts.ignoreExclude, "ignore-exclude-lb", false, "announce from nodes labelled "+announce.LabelExcludeNode+" too")
	fs.StringVar(&opts.bind, "ml-bindaddr", env("METALLB_ML_BIND_ADDR"), "`address` of this node, for gossip about which agents are alive; empty: no gossip, and all nodes count as alive")
	fs.Uint16Var(&opts.bindPort, "ml-bindport", opts.bindPort, "`port` for gossip, UDP and TCP, the same on all nodes")
	fs.StringVar(&opts.keyDir, "ml-secret-key-path", env("METALLB_ML_SECRET_KEY_PATH"), "`directory` with the secret that encrypts gossip, in a file secretkey, and optionally another one to accept in secretkey-previous; read again after a change; empty: clear text")
	fs.BoolVar(&opts.wan, "ml-wan-config", false, "the same as --l2-liveness=wan")
	fs.StringVar(&opts.liveness, "l2-liveness", "", "how soon a silent node counts as dead: fast (0.2 s; the default), normal (5 s) or wan (a minute)")
	fs.StringVar(&opts.conflict, "l2-conflict", "warn", "what to do about an address that another host has: warn, and announce it; or refuse to announce it")
	fs.StringVar(&opts.exclude, "excluded-interfaces-file", "/etc/metallb/excludel2.yaml", "`path` of the list of interfaces that layer 2 does not use, in MetalLB's format")
	fs.BoolVar(&opts.verify, "verify-decisions", false, "also make all decisions from scratch in each pass, and log an error if they differ from those that are remembered; for tests of Herald: it costs what remembering saves")
	fs.StringVar(&opts.gateMode, "dataplane-gate", "auto", "what this node waits for before it announces: that its data plane, such as kube-proxy, is healthy and serves Services whose traffic stays local (auto); new addresses of all Services, too (all); nothing (off)")
	fs.StringVar(&opts.healthz, "dataplane-healthz", "127.0.0.1:10256", "`address` and port where the data plane says whether it is healthy, for --dataplane-gate")
	daemon.Accept(cmd, "host", "ml-labels", "bgp-debounce-timeout", "frrk8s-namespace", "frrk8s-secret-passthrough")
	return daemon.Execute(ctx, cmd, args, stderr)
}

type options struct {
	daemon.Flags
	web           web.Flags
	node          string
	pod           string
	frrDir        string
	frrConf       string
	ignoreExclude bool
	verify        bool

	bind     string
	bindPort uint16
	keyDir   string
	wan      bool
	liveness string
	conflict string
	exclude  string

	gateMode string
	healthz  string
}

// gossipPort returns the port in the environment, or the usual one.
func gossipPort(env func(string) string) uint16 {
	port, err := strconv.ParseUint(env("METALLB_ML_BIND_PORT"), 10, 16)
	if err != nil || port == 0 {
		return 7946
	}
	return uint16(port)
}
