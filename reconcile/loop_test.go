// SPDX-License-Identifier: Apache-2.0

package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

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

	dataPlane     reconcile.DataPlane
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

func (w writer) Set(updates []assign.Update) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.updates = updates
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

func TestController(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		worker := reconcile.NewWorker()
		w := &scene{wake: worker.Wake}
		c := reconcile.NewController(reconcile.ControllerOptions{
			Worker: worker, Cluster: w, Documents: w, Writer: writer{w}, Reporter: reporter{w},
			ConfigEvents: w.configEvent, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Lead(ctx) }()

		wantUpdates := func(what string, want ...string) {
			t.Helper()
			if diff := cmp.Diff(want, ingresses(w.updates)); diff != "" {
				t.Errorf("%s: updates (-want +got):\n%s", what, diff)
			}
		}
		w.change(func() { w.snapshot.Services = services("a", "b") })
		wantUpdates("nothing is read yet")
		w.write(goodConfig)
		wantUpdates("Services are not read yet")
		w.change(func() { w.synced = true })
		wantUpdates("the first pass", "a=198.51.100.1", "b=")
		if diff := cmp.Diff(map[status.Reason]int{"PoolExhausted": 1}, w.report.Unassigned); diff != "" {
			t.Errorf("unassigned (-want +got):\n%s", diff)
		}
		w.change(func() { w.snapshot.Services = services("a=198.51.100.1", "b") })
		wantUpdates("what is written is wanted no more", "b=")

		w.write(badConfig)
		wantUpdates("a bad configuration changes nothing", "b=")
		if !w.report.Config.Loaded || w.report.Config.Error == "" {
			t.Errorf("the report says %+v of a bad configuration", w.report.Config)
		}
		w.write(badConfig)
		w.change(func() { w.doc = &source.Document{Source: "configmap x", Err: errors.New("not found")} })
		wantUpdates("nor does none", "b=")
		w.write(goodConfig)
		if w.report.Config.Error != "" {
			t.Errorf("the report says %q of a good configuration", w.report.Config.Error)
		}
		want := []string{source.EventConfigRejected, source.EventConfigRejected, source.EventConfigAccepted}
		if diff := cmp.Diff(want, w.events); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}

		stop()
		if err := <-done; err != nil {
			t.Fatalf("lead: %v", err)
		}
		if w.writing || len(w.updates) > 0 {
			t.Error("a controller that does not lead wants something to be written")
		}

		// The new leader knows nothing but what Services say.
		w.refresh = func() { w.snapshot.Services = services("a", "b=198.51.100.1") }
		ctx, stop = context.WithCancel(t.Context())
		go func() { done <- c.Lead(ctx) }()
		settle()
		wantUpdates("leading again", "a=")
		stop()
		if err := <-done; err != nil {
			t.Fatalf("lead: %v", err)
		}
	})
}

// TestControllerGrace wants what a deleted Service had to be given to another
// when the time is over, though nothing happens then.
func TestControllerGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		worker := reconcile.NewWorker()
		w := &scene{wake: worker.Wake, synced: true}
		c := reconcile.NewController(reconcile.ControllerOptions{
			Worker: worker, Cluster: w, Documents: w, Writer: writer{w}, Reporter: reporter{w},
			Logger: slog.New(slog.DiscardHandler), Assign: assign.Options{Grace: time.Minute},
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Lead(ctx) }()
		old, young := clustertest.Service("shop", "old"), clustertest.Service("shop", "young")
		w.write(`address-pools: [{name: web, protocol: layer2, addresses: [192.0.2.1/32]}]`)
		w.change(func() { w.snapshot.Services = []*cluster.Service{old} })
		w.change(func() { w.snapshot.Services = []*cluster.Service{young} })
		// The timer wakes the loop at a time of its own: look with the lock.
		updates := func() ([]assign.Update, int) {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.updates, w.report.Pools[0].RetainedV4
		}
		if u, n := updates(); len(u) != 1 || len(u[0].Ingress) > 0 || u[0].Condition.Reason != "PoolExhausted" || n != 1 {
			t.Errorf("while the address is held the updates are %+v, and %d are retained", u, n)
		}
		time.Sleep(57 * time.Second)
		settle()
		if u, _ := updates(); len(u) != 1 || len(u[0].Ingress) > 0 {
			t.Errorf("before the time is over the updates are %+v", u)
		}
		time.Sleep(time.Second)
		settle()
		if u, n := updates(); len(u) != 1 || len(u[0].Ingress) != 1 || n != 0 {
			t.Errorf("when the time is over the updates are %+v, and %d are retained", u, n)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestControllerFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		worker := reconcile.NewWorker()
		w := &scene{wake: worker.Wake, synced: true, snapshot: cluster.Snapshot{Services: services("a")}}
		c := reconcile.NewController(reconcile.ControllerOptions{
			Worker: worker, Cluster: w, Documents: w, Writer: writer{w}, Reporter: reporter{w},
			ConfigEvents: w.configEvent, Logger: slog.New(slog.DiscardHandler),
		})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Follow(ctx) }()
		w.write(badConfig)
		w.write(goodConfig)
		stop()
		if err := <-done; err != nil {
			t.Fatalf("follow: %v", err)
		}
		if len(w.updates) > 0 || len(w.events) > 0 {
			t.Errorf("updates %v and events %v of a controller that follows", ingresses(w.updates), w.events)
		}
		if !w.report.Synced || !w.report.Config.Loaded || w.report.Leading {
			t.Errorf("the report of a controller that follows is %+v", w.report)
		}
	})
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
		Layer2: w.network, DataPlane: w.dataPlane, Events: w.serviceEvents, NodeEvents: w.configEvent, Logger: agentLog(t),
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

func TestAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &scene{synced: true}
		stop := runAgent(t, w)
		w.change(func() { w.doc = &source.Document{Source: "configmap x", Err: errors.New("not found")} })
		w.write(badConfig)
		if w.conf != nil {
			t.Errorf("FRR was told without a configuration:\n%s", w.conf)
		}
		if !w.report.Synced || w.report.Config.Error == "" {
			t.Errorf("the report without a configuration is %+v", w.report)
		}
		w.write(goodConfig)
		if !strings.Contains(string(w.conf), "neighbor 192.0.2.254 remote-as 64513") {
			t.Errorf("FRR was told:\n%s", w.conf)
		}
		if len(w.report.Peers) != 1 || !w.report.Peers[0].Wanted {
			t.Errorf("the report has peers %+v", w.report.Peers)
		}
		before := string(w.conf)
		w.write(badConfig)
		w.change(func() { w.doc = &source.Document{Source: "configmap x", Err: errors.New("not found")} })
		if string(w.conf) != before {
			t.Errorf("no good configuration changed what FRR was told to:\n%s", w.conf)
		}
		stop()
		if string(w.conf) != before {
			t.Errorf("the end of the agent changed what FRR was told to:\n%s", w.conf)
		}
	})
}

// A route that is announced in another way than before is looked at again, and no
// other.
func TestAgentRepointed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peers := "peers: [{peer-address: 192.0.2.254, peer-asn: 64513, my-asn: 64512}, {peer-address: 192.0.2.253, peer-asn: 64513, my-asn: 64512}]\n"
		pools := "address-pools: [{name: web, protocol: bgp, addresses: [198.51.100.1-198.51.100.1], bgp-advertisements: [{%s}]}, {name: more, protocol: bgp, addresses: [198.51.100.2-198.51.100.2]}]"
		w := &scene{synced: true}
		w.snapshot.Services = services("a=198.51.100.1", "b=198.51.100.2")
		w.snapshot.Endpoints = map[cluster.Key][]cluster.Endpoint{}
		for _, s := range w.snapshot.Services {
			w.snapshot.Endpoints[s.Key] = []cluster.Endpoint{{Node: "n1"}}
		}
		defer runAgent(t, w)()
		w.write(peers + fmt.Sprintf(pools, ""))
		if !strings.Contains(string(w.conf), "network 198.51.100.1/32") || len(w.rechecked) > 0 {
			t.Fatalf("%v are looked at again, with\n%s", w.rechecked, w.conf)
		}
		w.write(peers + fmt.Sprintf(pools, `communities: ["64512:1"]`))
		want := []netip.Prefix{netip.MustParsePrefix("198.51.100.1/32")}
		if !slices.Equal(w.rechecked, want) {
			t.Errorf("%v are looked at again, want %v, with\n%s", w.rechecked, want, w.conf)
		}
		w.write(peers + fmt.Sprintf(pools, `communities: ["64512:1"]`) + " # the same")
		if len(w.rechecked) > 1 {
			t.Errorf("%v are looked at again", w.rechecked)
		}
	})
}

func TestAgentBeforeSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(scene)
		defer runAgent(t, w)()
		w.write(goodConfig)
		if w.conf != nil {
			t.Errorf("FRR was told before everything was read:\n%s", w.conf)
		}
		w.change(func() { w.synced = true })
		if w.conf == nil {
			t.Error("FRR was not told after everything was read")
		}
	})
}

// agentLog returns the log of an agent that verifies its decisions. The test fails if they
// differ.
func agentLog(t *testing.T) *slog.Logger {
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
