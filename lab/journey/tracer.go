// SPDX-License-Identifier: Apache-2.0

package journey

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"os"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/condition"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
)

// Args are the arguments of daemons whose logs have the lines of package trace.
var Args = []string{"--log-level=all", "--log-format=json"}

// patience is how long one Service may take.
const patience = 2 * time.Minute

// A Tracer makes Services in a lab, and notes what is seen of them from outside.
type Tracer struct {
	stack   *lab.Stack
	routes  *lab.RouteWatch  // the router's kernel
	updates *lab.UpdateWatch // that reach the router

	created, deleted []Seen
}

// NewTracer returns a Tracer for a lab whose daemons have Args. The caller closes it.
func NewTracer(s *lab.Stack) (*Tracer, error) {
	t := &Tracer{stack: s}
	var err error
	if t.routes, err = s.Router.WatchRoutes(); err != nil {
		return nil, err
	}
	if t.updates, err = s.Router.WatchUpdates(); err != nil {
		t.routes.Close()
		return nil, err
	}
	return t, nil
}

// Close ends the watches.
func (t *Tracer) Close() {
	t.routes.Close()
	t.updates.Close()
}

// Create makes a Service and waits until all nodes have brought the router its route. With
// report it waits for the condition Announced, too.
func (t *Tracer) Create(ctx context.Context, svc controlplane.ServiceOptions, report bool) (Seen, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	seen := Seen{Service: svc.Namespace + "/" + svc.Name, Sent: time.Now()}
	if _, err := t.stack.Cluster.CreateService(ctx, svc); err != nil {
		return seen, err
	}
	seen.Answered = time.Now()
	addrs, err := t.stack.Cluster.WaitAddress(ctx, svc.Namespace, svc.Name)
	if err != nil {
		return seen, err
	}
	seen.Status, seen.Route = time.Now(), netip.PrefixFrom(addrs[0], addrs[0].BitLen())
	if seen.Kernel, err = t.routes.Wait(ctx, seen.Route, seen.Sent, lab.Present()); err != nil {
		return seen, err
	}
	var hops []netip.Addr
	for _, n := range t.stack.Nodes {
		hops = append(hops, n.Addr4)
	}
	if seen.All, err = t.routes.Wait(ctx, seen.Route, seen.Sent, lab.Via(hops...)); err != nil {
		return seen, err
	}
	seen.Wire = t.updates.First(seen.Route, seen.Sent, false)
	if report {
		if _, err := t.stack.Cluster.WaitService(ctx, svc.Namespace, svc.Name, announced); err != nil {
			return seen, err
		}
		seen.Reported = time.Now()
	}
	t.created = append(t.created, seen)
	return seen, nil
}

// announced reports whether a Service has the condition Announced.
func announced(svc *corev1.Service) bool {
	return slices.ContainsFunc(svc.Status.Conditions, func(c metav1.Condition) bool {
		return c.Type == condition.TypeAnnounced && c.Status == "True"
	})
}

// Delete deletes a Service that Create has made, and waits until the route is gone.
func (t *Tracer) Delete(ctx context.Context, svc controlplane.ServiceOptions, made Seen) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	seen := Seen{Service: made.Service, Route: made.Route, Sent: time.Now()}
	if err := t.stack.Cluster.DeleteService(ctx, svc.Namespace, svc.Name); err != nil {
		return err
	}
	seen.Answered = time.Now()
	var err error
	if seen.Kernel, err = t.routes.Wait(ctx, seen.Route, seen.Sent, lab.Absent()); err != nil {
		return err
	}
	seen.Wire = t.updates.First(seen.Route, seen.Sent, true)
	t.deleted = append(t.deleted, seen)
	return nil
}

// Forget forgets what was seen so far.
func (t *Tracer) Forget() { t.created, t.deleted = nil, nil }

// Ways returns the steps of each Service that was created, and of each that was deleted.
func (t *Tracer) Ways() (created, deleted [][]Step, err error) {
	var lines []Line
	for _, d := range slices.Concat(t.stack.Controllers, t.stack.Agents) {
		log, err := os.ReadFile(t.stack.LogFile(d.Name))
		if err != nil {
			return nil, nil, err
		}
		own, err := Read(d.Name, bytes.NewReader(log))
		if err != nil {
			return nil, nil, err
		}
		lines = append(lines, own...)
	}
	if len(lines) == 0 {
		return nil, nil, errors.New("no lines of package trace in the logs")
	}
	slices.SortStableFunc(lines, func(a, b Line) int { return a.At.Compare(b.At) })
	for _, s := range t.created {
		created = append(created, Created(s, between(lines, s.Sent, t.gone(s))))
	}
	for _, s := range t.deleted {
		deleted = append(deleted, Deleted(s, between(lines, s.Sent, s.Kernel)))
	}
	return created, deleted, nil
}

// gone returns when a Service was deleted; zero: it was not. Its address may be another's
// after that.
func (t *Tracer) gone(made Seen) time.Time {
	for _, s := range t.deleted {
		if s.Service == made.Service && s.Sent.After(made.Sent) {
			return s.Sent
		}
	}
	return time.Time{}
}

// between returns the lines from one time to another; zero: to the end.
func between(lines []Line, from, to time.Time) []Line {
	at := func(l Line, t time.Time) int { return l.At.Compare(t) }
	i, _ := slices.BinarySearchFunc(lines, from, at)
	if to.IsZero() {
		return lines[i:]
	}
	j, _ := slices.BinarySearchFunc(lines, to, at)
	return lines[i:max(i, j)]
}
