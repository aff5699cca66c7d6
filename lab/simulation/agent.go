// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/heraldlb/herald/kube"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/render"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/table"
)

// A task runs until its context is canceled.
type task = func(context.Context) error

// run runs tasks until stop is called, which waits for them.
func run(tasks ...task) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	var g errgroup.Group
	for _, t := range tasks {
		g.Go(func() error { return t(ctx) })
	}
	return sync.OnceValue(func() error {
		cancel()
		return g.Wait()
	})
}

// An agent is all that an agent's process runs, but for FRR, sockets and HTTP.
type agent struct {
	index   int
	layer2  *layer2
	frr     *frr
	passes  atomic.Int64
	longest atomic.Int64 // pass, in nanoseconds
	stop    func() error
}

// client returns a client of an API server.
func client(api *API, name string) (*kube.Client, error) {
	c, err := kube.NewClient(api.Config(name))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return c, nil
}

// startAgent runs the agent of node i, for the life-th time. Members returns those of its
// node, and what has to run for that; both are told what to call after a change.
func startAgent(api *API, i, life int, log *slog.Logger, members func(changed func()) (Members, []task)) (*agent, error) {
	c, err := client(api, nodeName(i))
	if err != nil {
		return nil, err
	}
	worker := reconcile.NewWorker()
	watcher := kube.NewWatcher(kube.WatcherOptions{Client: c, Wake: worker.Wake, NoConditions: true, Nodes: true, EndpointSlices: true})
	events := kube.NewRecorder(c, "herald-agent", log)
	resources := kube.NewResources(kube.ResourcesOptions{Client: c, Namespace: namespace, Wake: worker.Wake, Logger: log})
	contests := kube.NewContests(kube.ContestsOptions{Client: c, Events: events, Logger: log})
	a := &agent{index: i, frr: &frr{}}
	state := reconcile.NewAppliedState(reconcile.AppliedStateOptions{
		Writer: kube.NewStateWriter(kube.StateWriterOptions{Client: c, Namespace: namespace, Node: nodeName(i), Pod: podName(i, life), Logger: log, Contests: contests}),
		FRR:    func() reconcile.Running { return reconcile.Running{Applied: true} },
	})
	statuses := kube.NewServiceStatusWriter(kube.ServiceStatusWriterOptions{
		Client: c, Namespace: namespace, Node: nodeName(i), Pod: podName(i, life), Logger: log, Contests: contests,
	})
	m, tasks := members(worker.Wake)
	a.layer2 = newLayer2(i, m, worker.Wake)
	loop := reconcile.NewAgent(reconcile.AgentOptions{
		Node: nodeName(i), Worker: worker, Cluster: watcher, Documents: resources, FRR: a.frr, Routers: a.frr, Layer2: a.layer2, Logger: log,
		Events: events.Service, State: state, Statuses: statuses, Reporter: a,
	})
	a.stop = run(append(tasks, watcher.Run, resources.Run, events.Run, contests.Run, state.Run, statuses.Run, loop.Run)...)
	return a, nil
}

// Set counts passes. The agent's one loop calls it.
func (a *agent) Set(r status.Report) {
	a.longest.Store(max(a.longest.Load(), int64(r.Took)))
	a.passes.Add(1)
}

// leave stops the agent as a rolling restart does.
func (a *agent) leave() error {
	a.layer2.leave(context.Background())
	return a.stop()
}

// startController runs the controller that leads.
func startController(api *API, log *slog.Logger, reporter reconcile.Reporter) (stop func() error, err error) {
	c, err := client(api, controllerName)
	if err != nil {
		return nil, err
	}
	worker := reconcile.NewWorker()
	watcher := kube.NewWatcher(kube.WatcherOptions{Client: c, Wake: worker.Wake, Certain: true, Namespaces: true})
	events := kube.NewRecorder(c, controllerName, log)
	resources := kube.NewResources(kube.ResourcesOptions{Client: c, Namespace: namespace, Wake: worker.Wake, Logger: log})
	contests := kube.NewContests(kube.ContestsOptions{Client: c, Events: events, Logger: log})
	loop := reconcile.NewController(reconcile.ControllerOptions{
		Worker: worker, Cluster: watcher, Documents: resources, Logger: log,
		Writer:    kube.NewServiceWriter(kube.ServiceWriterOptions{Client: c, Events: events, Logger: log, Contests: contests}),
		Events:    events.Service,
		Reporter:  reporter,
		Resources: kube.NewResourceStatusWriter(kube.ResourceStatusWriterOptions{Client: c, Resources: resources, Events: events, Logger: log, Contests: contests}),
		Agents:    kube.NewAgentStates(kube.AgentStatesOptions{Client: c, Namespace: namespace, Wake: worker.WakeSoon}),
		State:     kube.NewStateWriter(kube.StateWriterOptions{Client: c, Namespace: namespace, Logger: log, Contests: contests}),
		Announced: kube.NewAnnouncements(kube.AnnouncementsOptions{Client: c, Namespace: namespace, Wake: worker.WakeSoon, Logger: log}),
	})
	return run(watcher.Run, resources.Run, events.Run, contests.Run, loop.Lead), nil
}

const controllerName = "herald-controller"

// An frr accepts every configuration at once, and its router was sent every route.
type frr struct {
	mu     sync.Mutex // guards the fields below
	routes table.Table[netip.Prefix, string]
	sent   reconcile.SentRoutes
}

var tor = []status.PeerID{{Address: netip.MustParseAddr("10.0.0.1")}}

// Set takes the lines of frr.conf.
func (f *frr) Set(render.Text) {}

// Hurry does nothing: they are taken at once.
func (*frr) Hurry() {}

// Applied reports that FRR runs them.
func (f *frr) Applied() bool { return true }

// Expect takes the routes.
func (f *frr) Expect(routes table.Table[netip.Prefix, string]) {
	f.mu.Lock()
	defer f.mu.Unlock()
	sent := f.sent.Edit()
	for c := range table.Diff(f.routes, routes, table.Same) {
		if c.After == nil {
			sent.Delete(c.Key)
		} else {
			sent.Set(c.Key, tor)
		}
	}
	f.routes, f.sent = routes, sent.Table()
}

// announces returns how many routes there are.
func (f *frr) announces() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.routes.Len()
}

// Sent reports whether there is a route.
func (f *frr) Sent(route netip.Prefix) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, is := f.routes.Get(route)
	return is
}

// SentTo returns the router.
func (f *frr) SentTo(route netip.Prefix) []status.PeerID {
	if f.Sent(route) {
		return tor
	}
	return nil
}

// AllSent returns all routes with the router.
func (f *frr) AllSent() reconcile.SentRoutes {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sent
}

// Recheck does nothing: routes are sent at once.
func (*frr) Recheck([]netip.Prefix) {}

// Look does nothing.
func (*frr) Look() {}

// Looked returns that everything was just seen.
func (*frr) Looked() time.Time { return time.Now() }
