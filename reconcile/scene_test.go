// SPDX-License-Identifier: Apache-2.0

package reconcile_test

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/cluster/clustertest"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/render"
	"github.com/heraldlb/herald/source"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/table"
)

// A scene is what a loop looks at, and what it did to it.
type scene struct {
	wake func()

	mu       sync.Mutex // guards the fields below
	synced   bool
	snapshot cluster.Snapshot
	doc      *source.Document
	updates  []assign.Update
	writing  bool
	conf     []byte // nil: FRR was given nothing
	report   status.Report
	events   []string
	refresh  func() // what happens in Refresh; nil: nothing
	network  reconcile.Layer2

	found         func() (reconcile.FoundRoutes, bool)
	dataPlane     reconcile.DataPlane
	probes        reconcile.Probes
	serviceEvents func(*cluster.Service, cluster.Event)

	hung    bool // FRR takes a text and does nothing
	hurried int  // how often FRR was asked to hurry

	rechecked []netip.Prefix // that the agent had looked at again
	looked    time.Time      // when the last look at all was begun

	resources map[config.ID]reconcile.ResourceStatus // what was said of resources
}

func (w *scene) Snapshot() (cluster.Snapshot, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.snapshot, w.synced
}

func (w *scene) Tables() (cluster.Tables, bool) {
	s, synced := w.Snapshot()
	return cluster.TablesOf(s), synced
}

// Refresh shows what the leader before wrote last.
func (w *scene) Refresh(context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refresh != nil {
		w.refresh()
	}
	return nil
}

func (w *scene) Document() (source.Document, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.doc == nil {
		return source.Document{}, false
	}
	return *w.doc, true
}

// change changes what a loop looks at, wakes it, and waits until it is quiet.
func (w *scene) change(f func()) {
	w.mu.Lock()
	f()
	w.mu.Unlock()
	w.wake()
	settle()
}

// settle waits, in fake time, until the loop is quiet. What it has done is then
// safe to look at.
func settle() {
	time.Sleep(time.Second)
	synctest.Wait()
}

// write puts another text in the place of the configuration.
func (w *scene) write(text string) {
	w.change(func() { w.doc = &source.Document{Source: "configmap x", Text: []byte(text)} })
}

func (w *scene) configEvent(e cluster.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e.Reason)
}

// A writer is a scene to write to.
type writer struct{ *scene }

func (w writer) Set(updates table.Table[cluster.Key, *assign.Update]) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.updates = assign.PlanTables{Updates: updates}.List().Updates
}

func (w writer) Run(ctx context.Context) error {
	w.setWriting(true)
	<-ctx.Done()
	w.setWriting(false)
	return nil
}

func (w writer) setWriting(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writing = on
}

// A router is a scene with FRR.
type router struct{ *scene }

func (r router) Set(conf render.Text) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conf = conf.Whole()
}

func (r router) Hurry() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hurried++
}

func (r router) Applied() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.hung
}

// routers are a scene's, and were sent everything.
type routers struct{ *scene }

func (routers) Expect(table.Table[netip.Prefix, string]) {}
func (routers) Sent(netip.Prefix) bool                   { return true }

func (routers) AllSent() reconcile.SentRoutes { return reconcile.SentRoutes{} }

func (routers) SentTo(netip.Prefix) []status.PeerID {
	return []status.PeerID{{Address: netip.MustParseAddr("192.0.2.254")}}
}

// Look takes a moment.
func (r routers) Look() {
	begun := time.Now()
	time.AfterFunc(10*time.Millisecond, func() {
		r.mu.Lock()
		r.looked = begun
		r.mu.Unlock()
		r.wake()
	})
}

func (r routers) Looked() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.looked
}

func (r routers) Recheck(routes []netip.Prefix) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rechecked = append(r.rechecked, routes...)
}

// A reporter is a scene that reads reports.
type reporter struct{ *scene }

func (r reporter) Set(report status.Report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if report.Decide != nil {
		report.Decisions = report.Decide()
	}
	r.report = report
}

const (
	goodConfig = `
peers: [{peer-address: 192.0.2.254, peer-asn: 64513, my-asn: 64512}]
address-pools: [{name: web, protocol: bgp, addresses: [198.51.100.1-198.51.100.1]}]`
	badConfig = "address-pools: [{name: web}]"
)

// services returns Services of these names that want an address; a name may be
// followed by = and the address that the Service has.
func services(names ...string) []*cluster.Service {
	var out []*cluster.Service
	for _, name := range names {
		name, addr, has := strings.Cut(name, "=")
		svc := clustertest.Service("default", name)
		if has {
			svc.Ingress = []string{addr}
			svc.Annotations = map[string]string{assign.AnnotationPool: "web"}
			svc.Conditions = []cluster.Condition{{
				Type: assign.ConditionAddressAssigned, True: true,
				Reason: assign.ReasonAssigned, Message: addr + " from pool web",
			}}
		}
		out = append(out, svc)
	}
	return out
}

// ingresses shows updates as "name=addresses".
func ingresses(updates []assign.Update) []string {
	var out []string
	for _, u := range updates {
		var addrs []string
		for _, a := range u.Ingress {
			addrs = append(addrs, a.String())
		}
		out = append(out, u.Service.Name+"="+strings.Join(addrs, ","))
	}
	return out
}

// runAgent runs an agent on node n1 until the test ends it.
func runAgent(t *testing.T, w *scene) (stop func()) {
	w.snapshot.Nodes = []*cluster.Node{{Name: "n1"}}
	return runAgentOn(t, w)
}

// runAgentOn runs the agent of n1 on the cluster as it is.
func runAgentOn(t *testing.T, w *scene) (stop func()) {
	worker := reconcile.NewWorker()
	w.wake = worker.Wake
	a := reconcile.NewAgent(reconcile.AgentOptions{
		Verify: true, Node: "n1", Worker: worker, Cluster: w, Documents: w, FRR: router{w}, Routers: routers{w}, Reporter: reporter{w},
		Layer2: w.network, Found: w.found, DataPlane: w.dataPlane, Probes: w.probes, Events: w.serviceEvents, NodeEvents: w.configEvent, Logger: verifierLog(t),
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- a.Run(ctx) }()
	return func() {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	}
}

// verifierLog returns the log of a loop that verifies its decisions. The test fails if they
// differ.
func verifierLog(t *testing.T) *slog.Logger {
	return slog.New(differs{slog.NewTextHandler(t.Output(), nil), t})
}

type differs struct {
	slog.Handler
	t *testing.T
}

func (d differs) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == reconcile.MessageDiffer {
		d.t.Errorf("remembered decisions differ")
	}
	return d.Handler.Handle(ctx, r)
}
