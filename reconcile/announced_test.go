// SPDX-License-Identifier: Apache-2.0

package reconcile_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/cluster/clustertest"
	"github.com/heraldlb/herald/condition"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/source"
	"github.com/heraldlb/herald/table"
)

// tellers are nodes that report what they announce.
type tellers struct {
	mu        sync.Mutex // guards the fields below
	announced condition.Observed
	read      bool
}

func (a *tellers) Announced() (condition.Observed, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.announced, a.read
}

func (*tellers) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// A stage is a controller and Services that are written as it wants them.
type stage struct {
	*scene
	nodes  *tellers
	writes []string
	told   []string // events, with and without a write
	stop   func()
}

// unread is a configuration that a stage is yet to be given.
const unread = "unread"

// newStage starts a controller.
func newStage(t *testing.T, config string, services ...*cluster.Service) *stage {
	return newStageWith(t, reconcile.ControllerOptions{}, config, services...)
}

// newStageWith starts a controller with options.
func newStageWith(t *testing.T, opts reconcile.ControllerOptions, config string, services ...*cluster.Service) *stage {
	worker := reconcile.NewWorker()
	s := &stage{scene: &scene{wake: worker.Wake, synced: true}, nodes: &tellers{read: true, announced: condition.Observed{Reported: true}}}
	s.snapshot.Services = services
	if config != unread {
		s.doc = &source.Document{Source: "configmap x", Text: []byte(config)}
	}
	opts.Worker, opts.Cluster, opts.Documents, opts.Writer, opts.Reporter = worker, s, s, stageWriter{s}, reporter{s.scene}
	opts.Events = func(svc *cluster.Service, e cluster.Event) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.told = append(s.told, eventText(svc, e))
	}
	opts.Announced, opts.Verify = s.nodes, true
	if opts.Logger == nil {
		opts.Logger = verifierLog(t)
	}
	c := reconcile.NewController(opts)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- c.Lead(ctx) }()
	s.stop = func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	return s
}

// tell changes what nodes report about the Service a.
func (s *stage) tell(words string) {
	s.nodes.mu.Lock()
	s.nodes.announced.Announcers = table.Of(maps.All(map[cluster.Key]string{{Namespace: "default", Name: "a"}: words}))
	s.nodes.mu.Unlock()
	s.wake()
}

// wrote returns the conditions that were written since the last call, after time
// has gone by.
func (s *stage) wrote(d time.Duration) []string {
	time.Sleep(d)
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.writes
	s.writes = nil
	return out
}

// A stageWriter carries out Plans at once.
type stageWriter struct{ *stage }

func (w stageWriter) Set(all table.Table[cluster.Key, *assign.Update]) {
	w.mu.Lock()
	defer w.mu.Unlock()
	updates := assign.PlanTables{Updates: all}.List().Updates
	if len(updates) == 0 {
		return
	}
	next := append([]*cluster.Service(nil), w.snapshot.Services...)
	for _, u := range updates {
		for i, svc := range next {
			if svc != u.Service {
				continue
			}
			changed := *svc
			changed.Ingress, changed.Conditions, changed.Annotations = nil, nil, nil
			for _, a := range u.Ingress {
				changed.Ingress = append(changed.Ingress, a.String())
			}
			if u.Pool != "" {
				changed.Annotations = map[string]string{assign.AnnotationPool: u.Pool}
			}
			text := "nothing"
			if u.Condition != nil {
				changed.Conditions = append(changed.Conditions, *u.Condition)
				text = string(u.Condition.Reason)
			}
			for _, c := range svc.Conditions {
				if c.Type == condition.TypeAnnounced && u.Announced == nil && !u.Unannounced && u.Condition != nil {
					changed.Conditions = append(changed.Conditions, c)
				}
			}
			if u.Announced != nil {
				changed.Conditions = append(changed.Conditions, *u.Announced)
				text += " " + string(u.Announced.Reason) + ": " + u.Announced.Message
			}
			if u.Unannounced {
				text += " unknown"
			}
			next[i] = &changed
			w.writes = append(w.writes, svc.Name+" "+text)
			for _, e := range u.Events {
				w.told = append(w.told, eventText(svc, e))
			}
		}
	}
	w.snapshot.Services = next
	w.wake()
}

func (stageWriter) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

func wants(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, goodConfig, services("a", "b")...)
		defer s.stop()
		// Who has no address is told so along with it, and who has one first gets
		// it.
		wants(t, "at first", s.wrote(100*time.Millisecond),
			"a Assigned", "b PoolExhausted NoAddress: the Service has no address")
		// What nodes say within a moment is one write.
		s.tell("bgp from n1 to r")
		wants(t, "one node tells", s.wrote(100*time.Millisecond))
		s.tell("bgp from n1, n2 to r")
		wants(t, "two nodes tell", s.wrote(450*time.Millisecond))
		wants(t, "they have told", s.wrote(100*time.Millisecond), "a Assigned Announced: bgp from n1, n2 to r")
		wants(t, "nothing changes", s.wrote(time.Hour))
		// A moment without anybody is none.
		s.tell("")
		wants(t, "nobody tells", s.wrote(time.Second))
		s.tell("bgp from n1, n2 to r")
		wants(t, "they tell again", s.wrote(time.Minute))
		s.tell("")
		wants(t, "nobody tells for long", s.wrote(3*time.Second), "a Assigned NotAnnounced: no node announces it")
		s.tell("layer2 from n1")
		wants(t, "one tells", s.wrote(time.Second), "a Assigned Announced: layer2 from n1")
		// Who never stops is not waited for for ever.
		writes := 0
		for i := range 26 {
			s.tell(fmt.Sprintf("layer2 from n%d", i+2))
			writes += len(s.wrote(400 * time.Millisecond))
		}
		if writes != 1 {
			t.Errorf("%d writes for 26 changes in 10.4 s, want 1", writes)
		}
		s.wrote(time.Minute)

		// Without reports there is no condition.
		s.nodes.mu.Lock()
		s.nodes.announced = condition.Observed{}
		s.nodes.mu.Unlock()
		s.wake()
		wants(t, "nobody can tell", s.wrote(3*time.Second), "a Assigned unknown")
	})
}

// Until it is known what nodes announce, Services go on saying what they do, and
// addresses do not wait.
func TestAnnouncedUnread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, goodConfig, services("a")...)
		defer s.stop()
		s.nodes.mu.Lock()
		s.nodes.read = false
		s.nodes.mu.Unlock()
		wants(t, "nothing is read", s.wrote(time.Hour), "a Assigned")
	})
}

// Services of others are left alone, and those that are Herald's no more have no
// condition left.
func TestAnnouncedForeign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		other := clustertest.Service("default", "a")
		other.Class = "example.com/other"
		kept := clustertest.Service("default", "k")
		kept.Ingress = []string{"203.0.113.9"} // in no pool, and Herald did not write it
		s := newStage(t, goodConfig, other, kept)
		defer s.stop()
		s.tell("bgp from n1 to r")
		wants(t, "of others", s.wrote(time.Hour), "k Foreign")
	})
}

// What the configuration alone says needs no second write.
func TestAnnouncedNoAdvertisement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, unread, services("a")...)
		defer s.stop()
		pool := poolResources("198.51.100.0/24")
		resources := func(specs ...string) {
			r := &config.Resources{Objects: slices.Clone(pool.Objects)}
			for i, spec := range specs {
				r.Objects = append(r.Objects, config.Object{ID: config.ID{Kind: config.KindL2Advertisement, Name: fmt.Sprint(i)}, Spec: []byte(spec)})
			}
			s.change(func() { s.doc = &source.Document{Source: "resources", Resources: r} })
		}
		resources()
		wants(t, "none at all", s.wrote(time.Minute), "a Assigned NoAdvertisement: pool p0 has no advertisement")
		resources(`{"serviceSelectors":[{"matchLabels":{"tier":"web"}}]}`)
		wants(t, "none for the Service", s.wrote(time.Minute), "a Assigned NoAdvertisement: no advertisement of pool p0 selects the Service")
		resources(`{"ipAddressPools":["other"]}`, `{}`)
		wants(t, "one", s.wrote(time.Minute), "a Assigned NotAnnounced: no node announces it")
		s.tell("layer2 from n1")
		wants(t, "a node", s.wrote(time.Minute), "a Assigned Announced: layer2 from n1")
		// It is announced as long as nodes say so, and a change of two steps is none.
		resources()
		s.tell("")
		resources(`{}`)
		s.tell("layer2 from n1")
		wants(t, "for a moment none", s.wrote(time.Minute))
	})
}

// A Service without an endpoint where it may be announced says so, and not for what
// is over in a moment.
func TestAnnouncedNoEndpoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, l := services("a")[0], services("l")[0]
		l.Local = true
		s := newStage(t, unread, a, l)
		defer s.stop()
		r := poolResources("198.51.100.0/24")
		for _, spec := range []string{
			`{"nodeSelectors":[{"matchLabels":{"rack":"a"}}]}`,
			`{"serviceSelectors":[{"matchLabels":{"tier":"web"}}]}`,
		} {
			r.Objects = append(r.Objects, config.Object{ID: config.ID{Kind: config.KindL2Advertisement, Name: fmt.Sprint(len(r.Objects))}, Spec: []byte(spec)})
		}
		s.change(func() { s.doc = &source.Document{Source: "resources", Resources: r} })
		nodes := []*cluster.Node{
			{Name: "n1", Labels: map[string]string{"rack": "a"}},
			{Name: "n2"},
			{Name: "n3", Labels: map[string]string{"rack": "a", announce.LabelExcludeNode: ""}},
			{Name: "n4", Labels: map[string]string{"rack": "a"}, NetworkUnavailable: true},
		}
		on := func(endpoints ...cluster.Endpoint) {
			s.nodes.mu.Lock()
			s.nodes.announced.Reach = &condition.Reach{Nodes: nodes, Endpoints: table.Of(maps.All(map[cluster.Key][]cluster.Endpoint{a.Key: endpoints, l.Key: endpoints}))}
			s.nodes.mu.Unlock()
			s.wake()
		}
		const (
			nowhere   = " Assigned NoEndpoints: the Service has no usable endpoint"
			elsewhere = nowhere + " on a node that may announce it"
			nobody    = " Assigned NotAnnounced: no node announces it"
		)
		on()
		wants(t, "no endpoint", s.wrote(time.Minute), "a Assigned", "l Assigned", "a"+nowhere, "l"+nowhere)
		on(cluster.Endpoint{Node: "n2"}, cluster.Endpoint{Node: "n3"}, cluster.Endpoint{Node: "n4"}, cluster.Endpoint{Node: "gone"}, cluster.Endpoint{Node: "n1", IPv6: true})
		wants(t, "some, not on a node that may", s.wrote(time.Minute), "a"+nobody, "l"+elsewhere)
		on(cluster.Endpoint{Node: "n1"})
		wants(t, "one there", s.wrote(time.Minute), "l"+nobody)
		s.tell("layer2 from n1")
		wants(t, "a node tells", s.wrote(time.Minute), "a Assigned Announced: layer2 from n1")
		on(cluster.Endpoint{Node: "n1", IPv6: true})
		wants(t, "it goes on without an endpoint of the family", s.wrote(time.Minute), "l"+nowhere)
		s.tell("")
		on()
		wants(t, "none for a moment", s.wrote(1900*time.Millisecond))
		on(cluster.Endpoint{Node: "n1"})
		s.tell("layer2 from n1")
		wants(t, "and one again", s.wrote(time.Minute), "l"+nobody)
		s.tell("")
		demanding := poolResources("198.51.100.0/24")
		demanding.Objects = append(demanding.Objects, config.Object{ID: config.ID{Kind: config.KindL2Advertisement, Name: "ad"}, Spec: []byte(`{"minReadyEndpoints":3}`)})
		s.change(func() { s.doc = &source.Document{Source: "resources", Resources: demanding} })
		on(cluster.Endpoint{Node: "n1", More: 1}, cluster.Endpoint{Node: "n2", Terminating: true})
		const few = " Assigned TooFewEndpoints: the Service has 2 ready endpoints, and advertisement ad asks for 3"
		wants(t, "not enough", s.wrote(time.Minute), "a"+few, "l"+few)
	})
}

// A node that is excluded from load balancers is as good as others where agents do
// not mind.
func TestAnnouncedIgnoreExclude(t *testing.T) {
	for _, test := range []struct {
		ignore bool
		want   string
	}{
		{false, "a Assigned NodeExcluded: none of the 1 nodes that are selected (of 1) may announce it: the label " + announce.LabelExcludeNode + " is on n1"},
		{true, "a Assigned NotAnnounced: no node announces it"},
	} {
		synctest.Test(t, func(t *testing.T) {
			a := services("a")[0]
			a.Local = true
			s := newStageWith(t, reconcile.ControllerOptions{IgnoreExcludeLB: test.ignore}, goodConfig, a)
			defer s.stop()
			s.nodes.mu.Lock()
			s.nodes.announced.Reach = &condition.Reach{
				Nodes:     []*cluster.Node{{Name: "n1", Labels: map[string]string{announce.LabelExcludeNode: ""}}},
				Endpoints: table.Of(maps.All(map[cluster.Key][]cluster.Endpoint{a.Key: {{Node: "n1"}}})),
			}
			s.nodes.mu.Unlock()
			wants(t, fmt.Sprintf("ignored: %t", test.ignore), s.wrote(time.Minute), "a Assigned", test.want)
		})
	}
}
