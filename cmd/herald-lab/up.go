// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
)

const (
	// stateDir holds what up leaves for down and for people, below the working
	// directory.
	stateDir = "bin/lab"

	// upTimeout and downTimeout bound the wait for the process that holds the lab.
	upTimeout   = 3 * time.Minute
	downTimeout = 30 * time.Second

	pollInterval = 50 * time.Millisecond
)

var (
	envFile = filepath.Join(stateDir, "env") // there as long as the lab is up
	pidFile = filepath.Join(stateDir, "pid")
	logFile = filepath.Join(stateDir, "up.log")
)

func upCommand() *cobra.Command {
	var bare bool
	c := &cobra.Command{
		Use:   "up",
		Short: "Start the default lab and leave it running; " + envFile + " lists its addresses and files",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return up(c.Context(), c.OutOrStdout(), bare)
		},
	}
	c.Flags().BoolVar(&bare, "bare", false, "start everything except Herald, so that another load balancer can run in its place")
	return c
}

// up starts this program again, to hold the lab, and waits until that is up.
func up(ctx context.Context, out io.Writer, bare bool) error {
	if pid, err := holder(); err == nil {
		return fmt.Errorf("a lab is up already, held by process %d; see %s", pid, envFile)
	}
	if err := os.MkdirAll(stateDir, 0o755); err != nil {
		return err
	}
	log, err := os.Create(logFile)
	if err != nil {
		return err
	}
	defer log.Close()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, "run", "--bare="+strconv.FormatBool(bare))
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	fmt.Fprintln(out, "starting three nodes, a router, two clients, two GoBGPs and a Kubernetes control plane")
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	ctx, cancel := context.WithTimeout(ctx, upTimeout)
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		if _, err := os.Stat(envFile); err == nil {
			fmt.Fprintf(out, "the lab is up: . %s\n", envFile)
			return nil
		}
		select {
		case err := <-ended:
			text, _ := os.ReadFile(logFile)
			return fmt.Errorf("the lab did not start: %w\n%s", err, text)
		case <-ctx.Done():
			_ = cmd.Process.Signal(unix.SIGTERM) // it takes down what it started
			return fmt.Errorf("the lab did not start: %w; see %s", ctx.Err(), logFile)
		case <-tick.C:
		}
	}
}

func runCommand() *cobra.Command {
	var bare bool
	c := &cobra.Command{
		Use:    "run",
		Short:  "Run a lab until SIGTERM",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return hold(c.Context(), bare)
		},
	}
	c.Flags().BoolVar(&bare, "bare", false, "start everything except Herald")
	return c
}

// hold builds a lab, writes to the state directory where it is, lends it to tests, and
// takes it down when the context ends.
func hold(ctx context.Context, bare bool) (err error) {
	if err := os.WriteFile(pidFile, []byte(strconv.Itoa(os.Getpid())), 0o644); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(pidFile)) }()
	versions, err := lab.FindVersions()
	if len(versions) == 0 {
		return err
	}
	s, err := lab.UpStandard(ctx, lab.StackOptions{Network: lab.Mixed(versions, versions[0]), Bare: bare, Controllers: 2})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Down(context.WithoutCancel(ctx))) }()
	if err := os.WriteFile(envFile+".new", []byte(environment(s.Stack)), 0o644); err != nil {
		return err
	}
	if err := os.Rename(envFile+".new", envFile); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(envFile)) }()
	return s.Lend(ctx)
}

// environment is the text of the env file: shell variables.
func environment(s *lab.Stack) string {
	var b strings.Builder
	set := func(name, value string) { fmt.Fprintf(&b, "export %s=%q\n", name, value) }
	var nodes []string
	for _, n := range s.Nodes {
		nodes = append(nodes, n.Name)
	}
	set("KUBECONFIG", s.Cluster.Kubeconfig(controlplane.Admin))
	set("NODES", strings.Join(nodes, " "))
	set("TOR", s.Router.Name)
	set("CLIENT", s.Client.Name)
	set("LAN_CLIENT", s.LANClient.Name)
	set("COLLECTOR", s.Collector.Name)
	for _, m := range s.Machines() {
		set("NETNS_"+m.Name, m.Namespace.Name)
	}
	for _, n := range s.Nodes {
		set("FRR_ETC_"+n.Name, n.FRR.EtcDir)
		set("FRR_RUN_"+n.Name, n.FRR.RunDir)
	}
	set("FRR_RUN_"+s.Router.Name, s.Router.FRR.RunDir)
	set("LAB_DIR", s.Dir)
	return b.String()
}

func downCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Stop the lab that up started",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			pid, err := holder()
			if errors.Is(err, fs.ErrNotExist) {
				fmt.Fprintln(c.OutOrStdout(), "no lab is up")
				return nil
			}
			if err != nil {
				return err
			}
			if err := unix.Kill(pid, unix.SIGTERM); err != nil {
				return fmt.Errorf("stop process %d: %w", pid, err)
			}
			deadline := time.Now().Add(downTimeout)
			for unix.Kill(pid, 0) == nil {
				if time.Now().After(deadline) {
					return fmt.Errorf("process %d still runs after %v; see %s", pid, downTimeout, logFile)
				}
				time.Sleep(pollInterval)
			}
			fmt.Fprintln(c.OutOrStdout(), "the lab is down")
			return nil
		},
	}
}

// holder returns the process that holds the lab; fs.ErrNotExist if there is
// none.
func holder() (int, error) {
	text, err := os.ReadFile(pidFile)
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(string(text))
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", pidFile, err)
	}
	// The number may have gone to another program since.
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || !strings.Contains(string(line), "herald-lab\x00run") {
		return 0, fmt.Errorf("process %d: %w", pid, fs.ErrNotExist)
	}
	return pid, nil
}

func statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show whether a lab is up, with its addresses and files",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if _, err := holder(); errors.Is(err, fs.ErrNotExist) {
				fmt.Fprintln(c.OutOrStdout(), "no lab is up")
				return nil
			} else if err != nil {
				return err
			}
			env, err := os.ReadFile(envFile)
			if errors.Is(err, fs.ErrNotExist) {
				fmt.Fprintln(c.OutOrStdout(), "a lab is starting, or stopping")
				return nil
			}
			fmt.Fprintf(c.OutOrStdout(), "the lab is up:\n%s", env)
			return err
		},
	}
}
