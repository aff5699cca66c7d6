// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/rest"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/handover"
	"github.com/heraldlb/herald/kube"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/render"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/table"
)

// A patientAPI is an api for tests with fake time: it needs no network. It ends
// watches when they are to end, and refuses every other one that comes then, so that
// its clients have to list all again.
type patientAPI struct {
	*api
	keeps bool          // no watch is refused
	delay time.Duration // of what a write does

	mu      sync.Mutex    // guards the fields below
	cut     chan struct{} // closed to end all watches
	writes  []string
	lists   int
	watches map[string]int // by path and selector
	told    []string       // events
}

// newPatientAPI returns one, and a configuration of clients.
func newPatientAPI(plurals ...string) (*patientAPI, *rest.Config) {
	a := &patientAPI{
		api:     &api{objects: map[string]map[string]map[string]any{}, changed: make(chan struct{})},
		cut:     make(chan struct{}),
		watches: map[string]int{},
	}
	for _, p := range plurals {
		a.objects[p] = map[string]map[string]any{}
	}
	return a, &rest.Config{Host: "http://api", QPS: -1, Transport: a}
}

// RoundTrip has a request answered.
func (a *patientAPI) RoundTrip(r *http.Request) (*http.Response, error) {
	body, w := io.Pipe()
	answer := &answer{header: http.Header{}, body: w, started: make(chan struct{})}
	if r.Body == nil {
		r.Body = http.NoBody
	}
	go func() {
		a.ServeHTTP(answer, r)
		answer.WriteHeader(http.StatusOK)
		w.Close()
	}()
	select {
	case <-answer.started:
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	return &http.Response{
		StatusCode: answer.code, Status: strconv.Itoa(answer.code), Header: answer.header, Body: body,
		Request: r, ProtoMajor: 1, ProtoMinor: 1, ContentLength: -1,
	}, nil
}

// An answer is a response that is being written.
type answer struct {
	header  http.Header
	body    *io.PipeWriter
	once    sync.Once
	code    int
	started chan struct{} // closed when code is known
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(code int) {
	a.once.Do(func() {
		a.code = code
		close(a.started)
	})
}

func (a *answer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(b)
}

// Flush starts the answer.
func (a *answer) Flush() { a.WriteHeader(http.StatusOK) }

// ServeHTTP counts requests, and does what api does not.
func (a *patientAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q, t := r.URL.Query(), parse(r.URL.Path)
	a.mu.Lock()
	id := r.URL.Path + q.Get("labelSelector") + q.Get("fieldSelector")
	switch {
	case t.resource.Resource == "events":
		var e corev1.Event
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
			panic(err)
		}
		a.told = append(a.told, fmt.Sprintf("%s/%s %s: %s", e.InvolvedObject.Kind, e.InvolvedObject.Name, e.Reason, e.Message))
		r.Body = io.NopCloser(strings.NewReader(`{"kind":"Event","apiVersion":"v1"}`))
		fallthrough
	case r.Method != http.MethodGet:
		a.writes = append(a.writes, r.Method+" "+r.URL.Path)
	case q.Get("sendInitialEvents") != "":
	case q.Get("watch") != "":
		a.watches[id]++
	case t.name == "":
		a.lists++
	}
	expired := !a.keeps && q.Get("watch") != "" && q.Get("sendInitialEvents") == "" && a.watches[id]%2 == 0
	cut := a.cut
	a.mu.Unlock()
	if r.Method != http.MethodGet {
		time.Sleep(a.delay)
	}
	switch {
	case expired:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusGone)
		io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","code":410}`)
		return
	case r.Method == http.MethodPatch && t.resource.Resource == "services":
		a.patchService(w, r, t.name)
		return
	}
	if seconds, err := strconv.Atoi(q.Get("timeoutSeconds")); err == nil {
		ctx, cancel := context.WithTimeout(r.Context(), time.Duration(seconds)*time.Second)
		defer cancel()
		go func() {
			select {
			case <-cut:
				cancel()
			case <-ctx.Done():
			}
		}()
		r = r.WithContext(ctx)
	}
	a.api.ServeHTTP(w, r)
}

// patchService carries out a strategic merge patch.
func (a *patientAPI) patchService(w http.ResponseWriter, r *http.Request, name string) {
	patch, err := io.ReadAll(r.Body)
	if err != nil {
		panic(err)
	}
	a.api.mu.Lock()
	defer a.api.mu.Unlock()
	before, err := json.Marshal(a.objects["services"][name])
	if err != nil {
		panic(err)
	}
	after, err := strategicpatch.StrategicMergePatch(before, patch, corev1.Service{})
	if err != nil {
		panic(err)
	}
	var o map[string]any
	if err := json.Unmarshal(after, &o); err != nil {
		panic(err)
	}
	a.put("services", name, o)
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(o)
}

// counts returns the writes since the last call, sorted, and how many lists there
// were.
func (a *patientAPI) counts() (writes []string, lists int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	writes, lists = a.writes, a.lists
	a.writes, a.lists = nil, 0
	slices.Sort(writes)
	return writes, lists
}

// An obedient FRR has sent its routers whatever it was told to.
type obedient struct{}

func (obedient) Hurry()                                   {}
func (obedient) Applied() bool                            { return true }
func (obedient) Set(render.Text)                          {}
func (obedient) Expect(table.Table[netip.Prefix, string]) {}
func (obedient) Recheck([]netip.Prefix)                   {}

func (obedient) SentTo(netip.Prefix) []status.PeerID {
	return []status.PeerID{{Address: netip.MustParseAddr("10.0.0.1")}}
}
func (obedient) AllSent() reconcile.SentRoutes {
	peers := []status.PeerID{{Address: netip.MustParseAddr("10.0.0.1")}}
	return table.Of(func(yield func(netip.Prefix, []status.PeerID) bool) {
		for i := range 256 {
			if !yield(netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}), 32), peers) {
				return
			}
		}
	})
}
func (obedient) Look()                  {}
func (obedient) Looked() time.Time      { return time.Now() }
func (obedient) Sent(netip.Prefix) bool { return true }

// A lonely node knows of no other on its network, and is seen to answer for what it
// answers for in these tests.
type lonely struct{}

func (lonely) Set(handover.Answers)       {}
func (lonely) Ask(bool)                   {}
func (lonely) Tell([]announce.Sent)       {}
func (lonely) Alone(int)                  {}
func (lonely) SetFaults([]announce.Fault) {}
func (lonely) SetNodes([]*cluster.Node)   {}
func (lonely) Neighborhood() reconcile.Neighborhood {
	return reconcile.Neighborhood{Membership: announce.Membership{Disabled: true}, Answered: answered("198.51.100.7")}
}

// answered returns an address that is answered for.
func answered(addr string) reconcile.Answered {
	return table.Of(func(yield func(netip.Addr, []string) bool) { yield(netip.MustParseAddr(addr), nil) })
}

// A listener is told what came of every pass.
type listener func(status.Report)

func (l listener) Set(r status.Report) { l(r) }

// While nothing changes, a controller and an agent write nothing, however often they
// look again at what there is, and are made to read all of it again.
func TestQuiet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, config := newPatientAPI(append([]string{"services", "namespaces", "nodes", "endpointslices", l2Plural, bgpPlural}, allPlurals...)...)
		a.set("namespaces", "ns", "", 1)
		a.set("nodes", "n1", "", 1)
		a.set("ipaddresspools", "p", `{"addresses":["198.51.100.7/32"]}`, 1)
		a.set("ipaddresspools", "wrong", `{"addresses":["198.51.100.7-198.51.100.9"]}`, 1)
		a.set("bgppeers", "tor", `{"myASN":64512,"peerASN":64513,"peerAddress":"10.0.0.1"}`, 1)
		a.set("bgpadvertisements", "ad", `{}`, 1)
		a.set("l2advertisements", "ad", `{}`, 1)
		for _, name := range []string{"web", "without"} {
			a.set("services", name, `{"type":"LoadBalancer","clusterIP":"10.96.0.1","ports":[{"port":80}]}`, 1)
			a.slice(name)
		}
		defer runBoth(t, config)()
		after := func(d time.Duration) ([]string, int) {
			time.Sleep(d)
			synctest.Wait()
			return a.counts()
		}

		writes, _ := after(time.Minute)
		t.Logf("at first: %s", strings.Join(writes, ", "))
		var web corev1.Service
		a.api.mu.Lock()
		b, err := json.Marshal(a.objects["services"]["web"])
		a.api.mu.Unlock()
		if err == nil {
			err = json.Unmarshal(b, &web)
		}
		if err != nil || len(web.Status.LoadBalancer.Ingress) != 1 || len(web.Status.Conditions) != 2 || web.Status.Conditions[1].Message != "bgp from n1 to tor; layer2 from n1" {
			t.Fatalf("the Service has %+v, %v", web.Status, err)
		}
		if got := a.status("ipaddresspools", "wrong"); !strings.Contains(got, "overlaps") {
			t.Errorf("the wrong pool says %s", got)
		}
		if got := a.status("configurationstates", "speaker-n1"); !strings.Contains(got, "Invalid") {
			t.Errorf("the agent's state is %s", got)
		}

		for _, d := range []time.Duration{10 * time.Minute, 2 * time.Hour} {
			writes, lists := after(d)
			if len(writes) > 0 {
				t.Errorf("in %s in which nothing happened they wrote %q", d, writes)
			}
			t.Logf("%d lists in %s", lists, d)
			if kinds := len(a.objects); d > time.Hour && lists < 2*kinds {
				t.Errorf("only %d lists of %d kinds in %s: that shows little", lists, kinds, d)
			}
		}

		// They would have noticed.
		a.api.mu.Lock()
		names := slices.Collect(maps.Keys(a.objects[bgpPlural]))
		a.api.mu.Unlock()
		if len(names) != 1 {
			t.Fatalf("there are %q", names)
		}
		a.api.delete(bgpPlural, names[0])
		writes, _ = after(time.Minute)
		path := "/apis/metallb.io/v1beta1/namespaces/ns/" + bgpPlural
		want := []string{"POST " + path}
		if diff := cmp.Diff(want, writes); diff != "" {
			t.Errorf("after somebody deleted a status (-want +got):\n%s", diff)
		}
	})
}

// slice makes a Service have an endpoint on n1.
func (a *patientAPI) slice(service string) {
	a.api.mu.Lock()
	defer a.api.mu.Unlock()
	a.put("endpointslices", service, map[string]any{
		"metadata":    map[string]any{"name": service, "namespace": "ns", "labels": map[string]any{"kubernetes.io/service-name": service}},
		"addressType": "IPv4",
		"endpoints":   []any{map[string]any{"addresses": []any{"10.244.1.1"}, "nodeName": "n1"}},
	})
}

// runBoth runs a controller and the agent of n1 with an API server, until what it returns is
// called.
func runBoth(t *testing.T, config *rest.Config) (stop func()) {
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	client := func() *kube.Client {
		c, err := kube.NewClient(config)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	ctx, cancel := context.WithCancel(t.Context())
	var g errgroup.Group
	for _, task := range slices.Concat(controllerOf(client(), log, nil), agentOf(client(), log, nil)) {
		g.Go(func() error { return task(ctx) })
	}
	return func() {
		cancel()
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
	}
}

// controllerOf returns what a controller that leads runs.
func controllerOf(c *kube.Client, log *slog.Logger, contests *kube.Contests) []func(context.Context) error {
	worker := reconcile.NewWorker()
	watcher := kube.NewWatcher(kube.WatcherOptions{Client: c, Wake: worker.Wake, Certain: true, Namespaces: true})
	events := kube.NewRecorder(c, "controller", log)
	resources := kube.NewResources(kube.ResourcesOptions{Client: c, Namespace: "ns", Wake: worker.Wake, Logger: log})
	controller := reconcile.NewController(reconcile.ControllerOptions{
		Worker: worker, Cluster: watcher, Documents: resources, Logger: log,
		Writer:    kube.NewServiceWriter(kube.ServiceWriterOptions{Client: c, Events: events, Logger: log, Contests: contests}),
		Events:    events.Service,
		Reporter:  listener(func(status.Report) {}),
		Resources: kube.NewResourceStatusWriter(kube.ResourceStatusWriterOptions{Client: c, Resources: resources, Events: events, Logger: log, Contests: contests}),
		Agents:    kube.NewAgentStates(kube.AgentStatesOptions{Client: c, Namespace: "ns", Wake: worker.WakeSoon}),
		State:     kube.NewStateWriter(kube.StateWriterOptions{Client: c, Namespace: "ns", Logger: log, Contests: contests}),
		Announced: kube.NewAnnouncements(kube.AnnouncementsOptions{Client: c, Namespace: "ns", Wake: worker.Wake, Logger: log}),
	})
	return []func(context.Context) error{watcher.Run, resources.Run, events.Run, controller.Lead}
}

// agentOf returns what the agent of n1 runs, if all that it announces is heard.
func agentOf(c *kube.Client, log *slog.Logger, contests *kube.Contests) []func(context.Context) error {
	worker := reconcile.NewWorker()
	watcher := kube.NewWatcher(kube.WatcherOptions{Client: c, Wake: worker.Wake, NoConditions: true, Nodes: true, EndpointSlices: true})
	events := kube.NewRecorder(c, "agent", log)
	resources := kube.NewResources(kube.ResourcesOptions{Client: c, Namespace: "ns", Wake: worker.Wake, Logger: log})
	state := kube.NewStateWriter(kube.StateWriterOptions{Client: c, Namespace: "ns", Node: "n1", Logger: log, Contests: contests})
	statuses := kube.NewServiceStatusWriter(kube.ServiceStatusWriterOptions{
		Client: c, Namespace: "ns", Node: "n1", Logger: log, Contests: contests,
	})
	agent := reconcile.NewAgent(reconcile.AgentOptions{
		Node: "n1", Worker: worker, Cluster: watcher, Documents: resources, FRR: obedient{}, Routers: obedient{}, Layer2: lonely{}, Logger: log,
		Events: events.Service, State: state, Statuses: statuses,
		Reporter: listener(func(status.Report) {}),
	})
	return []func(context.Context) error{watcher.Run, resources.Run, events.Run, state.Run, statuses.Run, agent.Run}
}
