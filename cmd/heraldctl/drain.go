// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/heraldlb/herald/cmd/internal/daemon"
	"github.com/heraldlb/herald/kube"
	"github.com/heraldlb/herald/reconcile"
)

// A drainer has nodes drain.
type drainer interface {
	Node(ctx context.Context, name string) (*reconcile.Node, error)
	Drain(ctx context.Context, name string, d reconcile.Drain) error
}

// connect returns the API server that a kubeconfig file names.
func connect(kubeconfig string) (drainer, error) {
	api, err := kube.NewConfig(kubeconfig, "heraldctl/"+daemon.Version())
	if err != nil {
		return nil, err
	}
	client, err := kube.NewClient(api)
	if err != nil {
		return nil, err
	}
	return client, nil
}

func drainCommand() *cobra.Command {
	var kubeconfig string
	var force, wait bool
	cmd := &cobra.Command{
		Use:   "drain NODE",
		Short: "Have a node hand over what it announces",
		Long: `Drain sets the annotation ` + reconcile.AnnotationDrain + ` of a Node. Its agent then tells
routers to prefer other paths (RFC 8326), hands over what it answers for on layer 2, and
after ` + reconcile.DefaultDrainHold.String() + ` withdraws its routes. What no other node
announces it goes on announcing, unless --force is given. The node stays so until "undrain".
A node that drains already, with force or without as asked for, is left as it is.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := connect(kubeconfig)
			if err != nil {
				return err
			}
			since, err := drain(cmd.Context(), d, args[0], force, time.Now())
			if err != nil {
				return err
			}
			over := since.Add(reconcile.DefaultDrainHold)
			cmd.Printf("node %s drains since %s; it withdraws its routes at %s\n", args[0], since.Format(time.TimeOnly), over.Format(time.TimeOnly))
			if !wait {
				return nil
			}
			return sleepUntil(cmd.Context(), over)
		},
	}
	kubeconfigFlag(cmd, &kubeconfig)
	cmd.Flags().BoolVar(&force, "force", false, "withdraw also what no other node announces")
	cmd.Flags().BoolVar(&wait, "wait", false, "return when the node is to have withdrawn its routes")
	return cmd
}

func undrainCommand() *cobra.Command {
	var kubeconfig string
	cmd := &cobra.Command{
		Use:   "undrain NODE",
		Short: "Have a drained node announce again",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := connect(kubeconfig)
			if err != nil {
				return err
			}
			if err := d.Drain(cmd.Context(), args[0], reconcile.Drain{}); err != nil {
				return err
			}
			cmd.Printf("node %s announces again\n", args[0])
			return nil
		},
	}
	kubeconfigFlag(cmd, &kubeconfig)
	return cmd
}

func kubeconfigFlag(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVar(path, "kubeconfig", os.Getenv("KUBECONFIG"), "`path` of a kubeconfig file; empty: as a pod in the cluster")
}

// drain has a node drain, and returns since when it does.
func drain(ctx context.Context, d drainer, node string, force bool, now time.Time) (since time.Time, err error) {
	n, err := d.Node(ctx, node)
	if err != nil {
		return time.Time{}, err
	}
	if !n.Drain.IsZero() && n.Drain.Force == force {
		return n.Drain.Since, nil
	}
	want := reconcile.Drain{Since: now.UTC().Truncate(time.Second).Add(time.Second), Force: force}
	if !n.Drain.IsZero() {
		want.Since = n.Drain.Since // it has asked for other paths already
	}
	if err := d.Drain(ctx, node, want); err != nil {
		return time.Time{}, err
	}
	return want.Since, nil
}

// sleepUntil returns at a time, or with an error when ctx ends before.
func sleepUntil(ctx context.Context, at time.Time) error {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait: %w", context.Cause(ctx))
	}
}
