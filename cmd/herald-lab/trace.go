// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"github.com/heraldlb/herald/condition"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/journey"
)

// traceOptions say what is traced.
type traceOptions struct {
	samples, services   int
	local, each, report bool
	json                bool
	against             string
}

func traceCommand() *cobra.Command {
	var opts traceOptions
	c := &cobra.Command{
		Use:   "trace",
		Short: "Show step by step, in microseconds, what the way of a Service takes until its route is in the router's kernel",
		Long: "Trace makes Services one after the other in a lab of its own, and deletes them again. It prints the median of each step.\n" +
			"The times inside the daemons are those of their log, with --log-level=all and --log-format=json. Of several agents, the one counts that was first to have bgpd's answer.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runTrace(c.Context(), c.OutOrStdout(), opts) },
	}
	fs := c.Flags()
	fs.IntVar(&opts.samples, "samples", 20, "Services to trace, one after the other")
	fs.IntVar(&opts.services, "services", 0, "Services that are there before")
	fs.BoolVar(&opts.local, "local", false, "trace Services with externalTrafficPolicy Local")
	fs.BoolVar(&opts.each, "each", false, "print each Service besides")
	fs.BoolVar(&opts.report, "report", true, "wait for the condition Announced of each Service")
	fs.BoolVar(&opts.json, "json", false, "print JSON")
	fs.StringVar(&opts.against, "against", "", "`directory` with daemons of another version: they run in a second lab, and Services are made in both in turn")
	return c
}

// A traced is what came of one lab.
type traced struct {
	Version string           `json:"version"` // the directory of the daemons; empty: these
	Created []journey.Row    `json:"created"`
	Deleted []journey.Row    `json:"deleted"`
	Each    [][]journey.Step `json:"each,omitempty"` // creation and deletion of each Service, in turn
}

func runTrace(ctx context.Context, out io.Writer, opts traceOptions) (err error) {
	versions := []string{""}
	if opts.against != "" {
		versions = append(versions, opts.against)
	}
	var tracers []*tracer
	defer func() {
		for _, t := range tracers {
			err = errors.Join(err, t.Down(context.WithoutCancel(ctx)))
		}
	}()
	for _, bin := range versions {
		t, err := newTracer(ctx, bin, opts)
		if err != nil {
			return err
		}
		tracers = append(tracers, t)
	}
	for range opts.samples {
		for _, t := range tracers {
			if err := t.one(ctx); err != nil {
				return err
			}
		}
	}
	var all []traced
	for i, t := range tracers {
		r, err := t.result(opts.each)
		if err != nil {
			return err
		}
		r.Version = versions[i]
		all = append(all, r)
	}
	if opts.json {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(all)
	}
	load, _ := os.ReadFile("/proc/loadavg")
	fmt.Fprintf(out, "load average %s", load)
	for _, r := range all {
		if err := r.write(out); err != nil {
			return err
		}
	}
	return nil
}

// write writes the tables.
func (r traced) write(out io.Writer) error {
	if r.Version != "" {
		fmt.Fprintf(out, "\ndaemons in %s:\n", r.Version)
	}
	for i, steps := range r.Each {
		title := fmt.Sprintf("Service %d created", i/2+1)
		if i%2 == 1 {
			title = fmt.Sprintf("Service %d deleted", i/2+1)
		}
		if err := journey.Write(out, title, journey.Rows([][]journey.Step{steps})); err != nil {
			return err
		}
	}
	if err := journey.Write(out, "Service created", r.Created); err != nil {
		return err
	}
	return journey.Write(out, "Service deleted", r.Deleted)
}

// A tracer traces Services in a lab.
type tracer struct {
	*bench
	opts             traceOptions
	updates          *lab.UpdateWatch // that reach r1
	created, deleted []journey.Seen
}

func newTracer(ctx context.Context, bin string, opts traceOptions) (_ *tracer, err error) {
	s, err := lab.UpStack(ctx, lab.StackOptions{Bin: bin, Args: []string{"--log-level=all", "--log-format=json"}})
	if err != nil {
		return nil, err
	}
	t := &tracer{bench: &bench{Stack: s, local: opts.local}, opts: opts}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.Down(context.WithoutCancel(ctx)))
		}
	}()
	if t.routes, err = s.Router.WatchRoutes(); err != nil {
		return nil, err
	}
	if t.updates, err = s.Router.WatchUpdates(); err != nil {
		return nil, err
	}
	if err := t.prepare(ctx); err != nil {
		return nil, err
	}
	if opts.services > 0 {
		if _, _, err := t.burst(ctx, opts.services); err != nil {
			return nil, err
		}
		if _, err := t.settle(ctx); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// Down ends the lab.
func (t *tracer) Down(ctx context.Context) error {
	if t.routes != nil {
		t.routes.Close()
	}
	if t.updates != nil {
		t.updates.Close()
	}
	return t.Stack.Down(ctx)
}

// one makes a Service and deletes it again.
func (t *tracer) one(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, benchPatience)
	defer cancel()
	svc := t.service(t.made)
	t.made++
	seen := journey.Seen{Service: svc.Namespace + "/" + svc.Name, Sent: time.Now()}
	if _, err := t.Cluster.CreateService(ctx, svc); err != nil {
		return err
	}
	seen.Answered = time.Now()
	addrs, err := t.Cluster.WaitAddress(ctx, svc.Namespace, svc.Name)
	if err != nil {
		return err
	}
	seen.Status, seen.Route = time.Now(), route(addrs[0])
	if seen.Kernel, err = t.routes.Wait(ctx, seen.Route, seen.Sent, lab.Present()); err != nil {
		return err
	}
	if seen.All, err = t.routes.Wait(ctx, seen.Route, seen.Sent, t.viaAll()); err != nil {
		return err
	}
	seen.Wire = t.updates.First(seen.Route, seen.Sent, false)
	if t.opts.report {
		if _, err := t.Cluster.WaitService(ctx, svc.Namespace, svc.Name, announced); err != nil {
			return err
		}
		seen.Reported = time.Now()
	}
	t.created = append(t.created, seen)
	seen = journey.Seen{Service: seen.Service, Route: seen.Route, Sent: time.Now()}
	if err := t.Cluster.DeleteService(ctx, svc.Namespace, svc.Name); err != nil {
		return err
	}
	seen.Answered = time.Now()
	if seen.Kernel, err = t.routes.Wait(ctx, seen.Route, seen.Sent, lab.Absent()); err != nil {
		return err
	}
	seen.Wire = t.updates.First(seen.Route, seen.Sent, true)
	t.deleted = append(t.deleted, seen)
	return nil
}

// announced reports whether a Service has the condition Announced.
func announced(svc *corev1.Service) bool {
	for _, c := range svc.Status.Conditions {
		if c.Type == condition.TypeAnnounced && c.Status == "True" {
			return true
		}
	}
	return false
}

// result reads the logs.
func (t *tracer) result(each bool) (r traced, err error) {
	var lines []journey.Line
	for _, d := range slices.Concat(t.Controllers, t.Agents) {
		log, err := os.ReadFile(t.LogFile(d.Name))
		if err != nil {
			return r, err
		}
		own, err := journey.Read(d.Name, bytes.NewReader(log))
		if err != nil {
			return r, err
		}
		lines = append(lines, own...)
	}
	var created, deleted [][]journey.Step
	for i := range t.created {
		created = append(created, journey.Created(t.created[i], until(lines, t.deleted[i].Sent)))
		deleted = append(deleted, journey.Deleted(t.deleted[i], lines))
		if each {
			r.Each = append(r.Each, created[i], deleted[i])
		}
	}
	r.Created, r.Deleted = journey.Rows(created), journey.Rows(deleted)
	return r, nil
}

// until returns the lines before a time: an address is another Service's after it.
func until(lines []journey.Line, end time.Time) (out []journey.Line) {
	for _, l := range lines {
		if l.At.Before(end) {
			out = append(out, l)
		}
	}
	return out
}
