// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/journey"
)

// traceConfig lets every node peer with r1 alone.
const traceConfig = `
peers: [{my-asn: 64512, peer-asn: 64513, peer-address: 10.10.0.254}]
address-pools: [{name: trace, protocol: bgp, addresses: [10.240.0.0/16]}]
`

const (
	// traceNamespace holds the Services, and the backends that all of them select.
	traceNamespace = "trace"
	traceBackends  = "backends"
	// traceWriters is how many requests are under way at once when Services are made that
	// are not traced.
	traceWriters = 16
)

// traceOptions say what is traced.
type traceOptions struct {
	samples, services         int
	local, each, report, json bool
	against                   string
}

func traceCommand() *cobra.Command {
	var opts traceOptions
	c := &cobra.Command{
		Use:   "trace",
		Short: "Show in microseconds what the way of a Service to the router's kernel consists of",
		Long: "Trace makes Services one after the other in a lab of its own, and deletes them again. It prints the median of each step.\n" +
			"The times inside the daemons are those of their logs, with " + strings.Join(journey.Args, " ") + ". Of the agents, the one counts that has bgpd's answer first.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runTrace(c.Context(), c.OutOrStdout(), opts) },
	}
	fs := c.Flags()
	fs.IntVar(&opts.samples, "samples", 20, "Services to trace, one after the other")
	fs.IntVar(&opts.services, "services", 1, "Services that are there before")
	fs.BoolVar(&opts.local, "local", false, "trace Services with externalTrafficPolicy Local")
	fs.BoolVar(&opts.each, "each", false, "print each Service besides")
	fs.BoolVar(&opts.report, "report", true, "wait for the condition Announced of each Service")
	fs.BoolVar(&opts.json, "json", false, "print JSON")
	fs.StringVar(&opts.against, "against", "", "`directory` with the daemons of another version: a second lab runs them, and Services are made in both in turn")
	return c
}

// A traced is what came of one lab.
type traced struct {
	Daemons string           `json:"daemons,omitempty"` // where they are; empty: those of this tree
	Created []journey.Row    `json:"created"`
	Deleted []journey.Row    `json:"deleted"`
	Each    [][]journey.Step `json:"each,omitempty"` // creation and deletion of each Service in turn
}

func runTrace(ctx context.Context, out io.Writer, opts traceOptions) (err error) {
	bins := []string{""}
	if opts.against != "" {
		bins = append(bins, opts.against)
	}
	var labs []*traceLab
	defer func() {
		for _, l := range labs {
			err = errors.Join(err, l.down(context.WithoutCancel(ctx)))
		}
	}()
	for _, bin := range bins {
		l, err := upTraceLab(ctx, bin, opts)
		if err != nil {
			return err
		}
		labs = append(labs, l)
	}
	for i := range opts.samples {
		for _, l := range labs {
			if err := l.one(ctx, fmt.Sprintf("traced-%03d", i), opts.report); err != nil {
				return err
			}
		}
	}
	var all []traced
	for i, l := range labs {
		created, deleted, err := l.tracer.Ways()
		if err != nil {
			return err
		}
		r := traced{Daemons: bins[i], Created: journey.Rows(created), Deleted: journey.Rows(deleted)}
		for i := range created {
			if opts.each {
				r.Each = append(r.Each, created[i], deleted[i])
			}
		}
		all = append(all, r)
	}
	return writeTraced(out, all, opts.json)
}

// writeTraced writes tables, or JSON.
func writeTraced(out io.Writer, all []traced, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(all)
	}
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "load average %s", load)
	for _, r := range all {
		if r.Daemons != "" {
			fmt.Fprintf(out, "\ndaemons in %s:\n", r.Daemons)
		}
		for i, way := range r.Each {
			title := fmt.Sprintf("Service %d %s", i/2+1, []string{"created", "deleted"}[i%2])
			if err := journey.Write(out, title, journey.Rows([][]journey.Step{way})); err != nil {
				return err
			}
		}
		if err := journey.Write(out, "created", r.Created); err != nil {
			return err
		}
		if err := journey.Write(out, "deleted", r.Deleted); err != nil {
			return err
		}
	}
	return nil
}

// A traceLab is a lab in which Services are traced.
type traceLab struct {
	*lab.Stack
	tracer *journey.Tracer
	local  bool
}

// upTraceLab starts a lab with daemons of a directory, and makes the Services that are there
// before.
func upTraceLab(ctx context.Context, bin string, opts traceOptions) (_ *traceLab, err error) {
	s, err := lab.UpStack(ctx, lab.StackOptions{Bin: bin, Args: journey.Args})
	if err != nil {
		return nil, err
	}
	l := &traceLab{Stack: s, local: opts.local}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.down(context.WithoutCancel(ctx)))
		}
	}()
	if l.tracer, err = journey.NewTracer(s); err != nil {
		return nil, err
	}
	if err := s.Configure(ctx, traceConfig); err != nil {
		return nil, err
	}
	if err := s.SetBackends(ctx, controlplane.ServiceOptions{Namespace: traceNamespace, Name: traceBackends}); err != nil {
		return nil, err
	}
	var g errgroup.Group
	g.SetLimit(traceWriters)
	for i := range opts.services {
		g.Go(func() error {
			svc := l.service(fmt.Sprintf("before-%05d", i))
			if _, err := s.Cluster.CreateService(ctx, svc); err != nil {
				return err
			}
			_, err := s.Cluster.WaitAddress(ctx, svc.Namespace, svc.Name)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	// This one waits for the sessions.
	warm := l.service("warm")
	seen, err := l.tracer.Create(ctx, warm, true)
	if err == nil {
		err = l.tracer.Delete(ctx, warm, seen)
	}
	l.tracer.Forget()
	return l, err
}

func (l *traceLab) service(name string) controlplane.ServiceOptions {
	return controlplane.ServiceOptions{Namespace: traceNamespace, Name: name, Backends: traceBackends, NoNodePorts: true, Local: l.local}
}

// one traces a Service.
func (l *traceLab) one(ctx context.Context, name string, report bool) error {
	svc := l.service(name)
	seen, err := l.tracer.Create(ctx, svc, report)
	if err != nil {
		return err
	}
	return l.tracer.Delete(ctx, svc, seen)
}

// down ends the lab.
func (l *traceLab) down(ctx context.Context) error {
	if l.tracer != nil {
		l.tracer.Close()
	}
	return l.Stack.Down(ctx)
}
