// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/heraldlb/herald/lab/simulation"
)

func simulateCommand() *cobra.Command {
	o := simulation.Options{}
	alone := false
	c := &cobra.Command{
		Use:   "simulate",
		Short: "Simulate a large cluster in one process, and count what it costs",
		Long: `Simulate runs the controller and agents of a large cluster in this process, in fake time:
they start, nothing happens, endpoints move, the network parts and heals, and all agents
are restarted. It prints what each step cost, as JSON: requests, bytes and watches of the
API server, gossip, and processor time. It needs no root, no FRR and no Kubernetes.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o.Logger = slog.New(slog.NewTextHandler(c.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))
			if alone {
				r, err := simulation.Alone(o)
				return errors.Join(err, printJSON(c.OutOrStdout(), r))
			}
			return simulate(o, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	fs := c.Flags()
	fs.IntVar(&o.Agents, "agents", 100, "`number` of nodes, each with an agent")
	fs.IntVar(&o.Services, "services", 1000, "`number` of Services")
	fs.IntVar(&o.Whole, "whole", 8, "how many `agents` run as a whole; of the others gossip alone does")
	fs.IntVar(&o.Edge, "edge", 8, "how many `nodes` announce over BGP")
	fs.IntVar(&o.Changes, "changes", 20, "how many `endpoints` move, one after the other")
	fs.IntVar(&o.Groups, "groups", 10, "in how many `groups` all agents are restarted")
	fs.DurationVar(&o.Settle, "settle", 10*time.Second, "how `long` events and conditions may follow what was announced, in fake time")
	fs.DurationVar(&o.Idle, "idle", 30*time.Second, "how `long` nothing happens, in fake time")
	fs.BoolVar(&o.Roster, "no-gossip", false, "agents know of each other at once: for more of them than have room for what each knows of the others")
	fs.BoolVar(&alone, "alone", false, "measure the memory of one agent and of the controller, and an agent's passes, each alone in this process")
	return c
}

// simulate runs a simulation, prints what came of it, and ends the process: fake time is to
// be had in a test alone.
func simulate(o simulation.Options, out, log io.Writer) error {
	testing.Init()
	if err := flag.CommandLine.Parse(nil); err != nil {
		return err
	}
	os.Stdout = os.Stderr // what package testing says
	testing.Main(func(_, _ string) (bool, error) { return true, nil }, []testing.InternalTest{{Name: "Simulation", F: func(t *testing.T) {
		r, err := simulation.Run(t, o)
		if err = errors.Join(err, printJSON(out, r)); err != nil {
			t.Fail()
			fmt.Fprintf(log, "herald-lab: %v\n", err)
		}
	}}}, nil, nil)
	return nil
}

// printJSON prints a value.
func printJSON(out io.Writer, v any) error {
	b, err := json.MarshalIndent(v, "", " ")
	if err == nil {
		_, err = fmt.Fprintf(out, "%s\n", b)
	}
	return err
}
