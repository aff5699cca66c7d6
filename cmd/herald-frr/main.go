// SPDX-License-Identifier: Apache-2.0

// Herald-frr runs FRR's daemons in their container: it prepares their folder,
// starts and supervises them, applies the operator's raw configuration, withdraws
// everything when the agent is gone, and tells Prometheus what FRR counts.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/heraldlb/herald/cmd/internal/daemon"
	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/frr/contract"
)

const name = "herald-frr"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, env func(string) string, stdout, stderr io.Writer) int {
	var opts options
	cmd := daemon.Command(name, "Runs FRR's daemons in their container.", func(ctx context.Context) error {
		return opts.supervise(ctx, stdout, stderr)
	})
	opts.add(cmd, env)
	cmd.SetOut(stdout)
	return daemon.Execute(ctx, cmd, args, stderr)
}

type options struct {
	daemon.Flags
	etcDir       string
	runDir       string
	daemonDir    string
	user         string
	frrLevel     string
	bgpdArgs     []string
	agentTimeout time.Duration
	hangTimeout  time.Duration
	stop         string
	stopWait     time.Duration
}

func (o *options) add(cmd *cobra.Command, env func(string) string) {
	fs := cmd.Flags()
	fs.StringVar(&o.etcDir, "etc-dir", "/etc/frr", "`directory` of FRR's configuration, shared with the agent")
	fs.StringVar(&o.runDir, "run-dir", "/var/run/frr", "`directory` of the daemons' vty sockets, shared with the agent")
	fs.StringVar(&o.daemonDir, "daemon-dir", "/usr/lib/frr", "`directory` of FRR's programs")
	fs.StringVar(&o.user, "user", "frr", "`user` that the daemons run as; empty: this one")
	fs.StringArrayVar(&o.bgpdArgs, "bgpd-arg", []string{"-p", "0"}, "`argument` for bgpd, may be repeated; -p 0 keeps it from listening")
	fs.DurationVar(&o.agentTimeout, "agent-timeout", 5*time.Minute, "withdraw all routes when no agent was there for this long; 0: never")
	fs.DurationVar(&o.hangTimeout, "hang-timeout", 30*time.Second, "restart a daemon that does not answer for this long")
	fs.StringVar(&o.stop, "stop", string(stopAuto), "how to end: graceful-restart, gshut, withdraw, or auto")
	fs.DurationVar(&o.stopWait, "stop-wait", 3*time.Second, "how long peers have to move traffic away after the GSHUT community")
	fs.IntVar(&o.Port, "port", 7473, "port for /metrics, /livez and /readyz, in plain HTTP; 0: none")
	fs.StringVar(&o.BindAddress, "bind-address", env("METALLB_HOST"), "`address` for that port; empty: all")
	fs.StringVar(&o.LogLevel, "log-level", "info", "all, debug, info, warn, error or none; FRR's too")
	fs.StringVar(&o.LogFormat, "log-format", "text", "text or json")
	o.frrLevel = env("FRR_LOGGING_LEVEL")
}

// frrLevels are FRR's names of the log levels.
var frrLevels = map[string]string{
	"all": "debugging", "debug": "debugging", "info": "informational", "warn": "warnings", "error": "errors", "none": "emergencies",
}

// supervise wires the program and runs it.
func (o *options) supervise(ctx context.Context, stdout, stderr io.Writer) error {
	log, err := o.Logger(stderr)
	if err != nil {
		return err
	}
	mode, err := parseStopMode(o.stop)
	if err != nil {
		return err
	}
	if o.frrLevel == "" {
		o.frrLevel = frrLevels[o.LogLevel]
	}
	host, err := newHost(o.user, stdout)
	if err != nil {
		return err
	}
	daemons, err := findDaemons(o.daemonDir)
	if err != nil {
		return err
	}
	if err := prepare(o.etcDir, daemons, o.Port != 0); err != nil {
		return err
	}
	sup := newSupervisor(supervisorOptions{
		Host:      host,
		Daemons:   daemons,
		DaemonDir: o.daemonDir,
		RunDir:    o.runDir,
		Args:      []string{"-A", "127.0.0.1", "-P", "0", "--log", "stdout", "--log-level", o.frrLevel},
		Own:       map[string][]string{"bgpd": o.bgpdArgs, "zebra": {"-s", "90000000"}},
		Hang:      o.hangTimeout,
		Stop:      mode,
		StopWait:  o.stopWait,
		Last:      func() bool { return contract.IsLast(o.etcDir, time.Now()) },
		Logger:    log,
	})
	extras := newExtras(extrasOptions{Host: host, EtcDir: o.etcDir, RunDir: o.runDir, DaemonDir: o.daemonDir, Logger: log})
	sup.opts.Loaded = extras.again
	watch := newAgentWatch(agentWatchOptions{Dir: o.etcDir, Timeout: o.agentTimeout, Withdraw: sup.withdraw, Logger: log})

	metrics := daemon.NewRegistry()
	metrics.MustRegister(newCollector(o.runDir, sup, watch, log))
	watch.begin() // before bgpd is started, which may not be to announce
	log.Info("starting", "version", daemon.Version(), "daemons", strings.Join(daemons, ","))
	return daemon.Run(ctx,
		daemon.Task{Name: "agent", Run: watch.run},
		daemon.Task{Name: "daemons", Run: sup.run},
		daemon.Task{Name: "extras", Run: extras.run},
		daemon.Serve(o.address(), newHandler(sup, metrics)),
	)
}

func (o *options) address() string {
	if o.Port == 0 {
		return ""
	}
	return net.JoinHostPort(o.BindAddress, strconv.Itoa(o.Port))
}

// findDaemons returns the daemons that Herald needs, in the order in which they
// start. From FRR 10 on, mgmtd holds the configuration of some others.
func findDaemons(dir string) ([]string, error) {
	daemons := []string{"zebra", "staticd", "bfdd", "bgpd"}
	for _, d := range daemons {
		if _, err := os.Stat(dir + "/" + d); err != nil {
			return nil, fmt.Errorf("find FRR: %w", err)
		}
	}
	if _, err := os.Stat(dir + "/mgmtd"); err == nil {
		daemons = slices.Insert(daemons, 0, "mgmtd")
	}
	return daemons, nil
}

var _ counter = (*frr.Reader)(nil)
