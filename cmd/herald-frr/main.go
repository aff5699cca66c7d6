// SPDX-License-Identifier: Apache-2.0

// Herald-frr runs FRR's daemons in their container. It prepares their folder, starts
// and supervises them, applies the operator's raw configuration, withdraws all routes
// when the agent is gone, and exports FRR's counters to Prometheus.
package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/heraldlb/herald/cmd/internal/daemon"
	"github.com/heraldlb/herald/cmd/internal/web"
	"github.com/heraldlb/herald/frr/contract"
	"github.com/heraldlb/herald/frr/extras"
	"github.com/heraldlb/herald/frr/sidecar"
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
	web          web.Flags
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
	fs.StringVar(&o.user, "user", "frr", "`user` that the daemons run as; empty: the user of herald-frr")
	fs.StringArrayVar(&o.bgpdArgs, "bgpd-arg", []string{"-p", "0"}, "`argument` for bgpd, may be repeated; -p 0 keeps it from listening")
	fs.DurationVar(&o.agentTimeout, "agent-timeout", 5*time.Minute, "withdraw all routes if no agent has been alive for this long; 0: never")
	fs.DurationVar(&o.hangTimeout, "hang-timeout", 30*time.Second, "restart a daemon that has not answered for this long")
	fs.StringVar(&o.stop, "stop", string(sidecar.StopAuto), "how sessions end on SIGTERM: graceful-restart, gshut, withdraw, or auto")
	fs.DurationVar(&o.stopWait, "stop-wait", 3*time.Second, "time for peers to move traffic away after the GSHUT community, before the sessions are closed")
	fs.IntVar(&o.Port, "port", 7473, "port for /metrics, /livez and /readyz; 0: none")
	fs.StringVar(&o.BindAddress, "bind-address", env("METALLB_HOST"), "`address` for that port; empty: all")
	fs.StringVar(&o.LogLevel, "log-level", "info", "all, debug, info, warn, error or none; FRR's too")
	fs.StringVar(&o.LogFormat, "log-format", "text", "text or json")
	o.web.Add(cmd)
	o.frrLevel = env("FRR_LOGGING_LEVEL")
}

// frrLevels are FRR's names for the log levels.
var frrLevels = map[string]string{
	"all": "debugging", "debug": "debugging", "info": "informational", "warn": "warnings", "error": "errors", "none": "emergencies",
}

// supervise wires the program and runs it.
//
//	agent's heartbeat -> agent watch -> supervisor -> FRR's daemons
//	                                        |               ^
//	                                        v               |
//	operator's raw configuration -------> extras ---------> vtysh
//
// Demand reads both configurations and has the supervisor run the daemons that they need.
// Metrics and health are read from the supervisor, the agent watch and the daemons.
func (o *options) supervise(ctx context.Context, stdout, stderr io.Writer) error {
	log, err := o.Logger(stderr)
	if err != nil {
		return err
	}
	mode, err := sidecar.ParseStopMode(o.stop)
	if err != nil {
		return fmt.Errorf("--stop %w", err)
	}
	machine, err := sidecar.NewMachine(o.user, stdout)
	if err != nil {
		return err
	}
	daemons, err := sidecar.FindDaemons(o.daemonDir)
	if err != nil {
		return err
	}
	if err := sidecar.Prepare(o.etcDir, daemons, o.Port != 0); err != nil {
		return err
	}
	var raw *extras.Applier
	last := contract.LastWatch{Dir: o.etcDir}
	supervisor := sidecar.NewSupervisor(sidecar.SupervisorOptions{
		Host:      machine,
		Daemons:   daemons,
		DaemonDir: o.daemonDir,
		RunDir:    o.runDir,
		Args:      []string{"-A", "127.0.0.1", "-P", "0", "--log", "stdout", "--log-level", cmp.Or(o.frrLevel, frrLevels[o.LogLevel])},
		Own:       map[string][]string{"bgpd": o.bgpdArgs, "zebra": {"-s", "90000000"}},
		Hang:      o.hangTimeout,
		Stop:      mode,
		StopWait:  o.stopWait,
		Last:      func() bool { return last.Is(time.Now()) },
		Loaded:    func() { raw.Reapply() },
		Logger:    log,
	})
	demand := sidecar.NewDemand(sidecar.DemandOptions{Dir: o.etcDir, RunDir: o.runDir, Supervisor: supervisor, Logger: log})
	raw = extras.NewApplier(extras.ApplierOptions{
		Programs:  machine,
		EtcDir:    o.etcDir,
		RunDir:    o.runDir,
		DaemonDir: o.daemonDir,
		Logger:    log,
		Started:   demand.Started,
	})
	agent := sidecar.NewAgentWatch(sidecar.AgentWatchOptions{
		Dir: o.etcDir, Timeout: o.agentTimeout, Withdraw: supervisor.Withdraw, Logger: log,
	})
	metrics := daemon.NewRegistry()
	metrics.MustRegister(sidecar.NewCollector(o.runDir, supervisor, agent, log))

	server, err := web.New(web.Options{
		Flags: o.web, Address: o.HTTPAddress(), ProbeAddress: "127.0.0.1", Handler: sidecar.NewHandler(supervisor, metrics),
		Reviewer: web.NewAgent(filepath.Join(o.etcDir, contract.ReviewSocket)), Logger: log.With("component", "http"),
	})
	if err != nil {
		return err
	}

	agent.Begin() // before bgpd is started, which may have to stay down
	demand.Look() // what is needed is started with the others
	log.Info("starting", "version", daemon.Version(), "daemons", strings.Join(daemons, ","))
	return daemon.Run(ctx, append(server.Tasks(),
		o.LogLevels(log, nil),
		daemon.Task{Name: "agent", Run: agent.Run},
		daemon.Task{Name: "daemons", Run: supervisor.Run},
		daemon.Task{Name: "demand", Run: demand.Run},
		daemon.Task{Name: "extras", Run: raw.Run},
	)...)
}
