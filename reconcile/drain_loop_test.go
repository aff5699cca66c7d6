// SPDX-License-Identifier: Apache-2.0

package reconcile_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/announce/announcetest"
	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/handover"
	"github.com/heraldlb/herald/kube/object"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/source"
)

// A network is one that some nodes' agents are alive on.
type network struct {
	faults     []announce.Fault
	toldFaults int
	*scene
	members []announce.Member
	stale   bool
	asks    bool            // the agent does
	asked   bool            // the agent is
	told    []announce.Sent // what it said
	leaving bool            // the agent stops
	alone   []int           // what it said of that
}

func (n *network) Neighborhood() reconcile.Neighborhood {
	n.mu.Lock()
	defer n.mu.Unlock()
	members := slices.Clone(n.members)
	for i := range members {
		members[i].Answered = members[i].Answered && n.asks
	}
	return reconcile.Neighborhood{Membership: announce.Membership{Stale: n.stale, Members: members}, Asked: n.asked, Leaving: n.leaving}
}

func (*network) Set(handover.Answers) {}

func (*network) SetNodes([]*cluster.Node) {}

// Ask has the others answer a moment later.
func (n *network) Ask(on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.asks != on {
		n.asks = on
		time.AfterFunc(time.Millisecond, n.wake)
	}
}

func (n *network) SetFaults(faults []announce.Fault) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults = faults
	n.toldFaults++
}

func (n *network) Alone(count int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.alone = append(n.alone, count)
}

func (n *network) Tell(sent []announce.Sent) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.told = sent
}

// A drainScene is an agent of node n1, whose Node drains or not.
type drainScene struct {
	*scene
	t       *testing.T
	network *network
}

func newDrainScene(t *testing.T) drainScene {
	scene := &scene{synced: true}
	w := drainScene{scene, t, &network{scene: scene, members: []announce.Member{{Node: "n1"}, announcetest.Sends("n2", "peer1", "198.51.100.1")}}}
	scene.network = w.network
	w.scene.doc = &source.Document{Source: "configmap x", Text: []byte(goodConfig)}
	return w
}

// node changes the annotation.
func (w drainScene) node(d cluster.Drain) { w.change(func() { w.set(d) }) }

func (w drainScene) set(d cluster.Drain) {
	w.snapshot.Nodes = []*cluster.Node{{Name: "n1", Drain: d}, {Name: "n2"}}
	w.snapshot.Services = services("web=198.51.100.1")
	w.snapshot.Endpoints = map[cluster.Key][]cluster.Endpoint{w.snapshot.Services[0].Key: {{Node: "n2"}}}
}

// look reads what the agent has done, once it is quiet.
func (w drainScene) look(f func()) {
	w.t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// is compares what FRR was given with the report.
func (w drainScene) is(when string, announced, shutdown, over bool) {
	w.t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	conf := string(w.conf)
	if strings.Contains(conf, "network 198.51.100.1/32") != announced || strings.Contains(conf, "set community graceful-shutdown") != shutdown {
		w.t.Errorf("%s: want announced %t, graceful shutdown %t:\n%s", when, announced, shutdown, conf)
	}
	if got := w.report.Drain != nil && w.report.Drain.Over; got != over {
		w.t.Errorf("%s: the report says over %t, want %t", when, got, over)
	}
}

// A node that drains asks for other paths at once, and withdraws when its time is
// over, though nothing wakes it then. The end of the drain undoes both. What time
// it was where somebody asked for it is no matter.
func TestAgentDrains(t *testing.T) {
	for name, skew := range map[string]time.Duration{"the same clock": 0, "a slow clock": -time.Hour, "a fast clock": time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newDrainScene(t)
				stop := runAgent(t, w.scene)
				defer stop()
				w.node(cluster.Drain{})
				w.is("before", true, false, false)
				d := cluster.Drain{Since: time.Now().Add(skew)}
				w.node(d)
				w.is("at first", true, true, false)
				time.Sleep(cluster.DefaultDrainHold - 2*time.Second)
				w.is("shortly before its time is over", true, true, false)
				time.Sleep(3 * time.Second)
				w.is("after it", false, false, true)
				w.node(cluster.Drain{})
				w.is("undrained", true, false, false)

				d.Hold = time.Minute
				w.node(d)
				time.Sleep(d.Hold - 2*time.Second)
				w.is("shortly before a longer time is over", true, true, false)
				d.Hold = 5 * time.Second
				w.node(d)
				w.is("made shorter", false, false, true)
			})
		})
	}
}

// Time counts from when FRR sends graceful shutdown, not from when it was given that.
func TestAgentDrainsHungFRR(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newDrainScene(t)
		stop := runAgent(t, w.scene)
		defer stop()
		w.node(cluster.Drain{})
		w.change(func() { w.hung = true; w.set(cluster.Drain{Since: time.Now()}) })
		time.Sleep(time.Hour)
		w.is("FRR hangs", true, true, false)
		w.mu.Lock()
		w.hung = false
		w.mu.Unlock()
		time.Sleep(cluster.DefaultDrainHold - time.Second)
		w.is("shortly before its time is over", true, true, false)
		time.Sleep(2 * time.Second)
		w.is("after it", false, false, true)
	})
}

// An agent that starts on a node that drains starts the hold again, unless that is
// over whichever clock one goes by.
func TestAgentStartsDrained(t *testing.T) {
	for _, tt := range []struct {
		name string
		ago  time.Duration
		d    cluster.Drain
		over bool
	}{
		{"just begun", 5 * time.Second, cluster.Drain{}, false},
		{"a minute ago", time.Minute, cluster.Drain{}, false},
		{"long ago", 2 * time.Minute, cluster.Drain{}, true},
		{"long ago, but to be held for long", 2 * time.Minute, cluster.Drain{Hold: 5 * time.Minute}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newDrainScene(t)
				tt.d.Since = time.Now().Add(-tt.ago)
				w.set(tt.d)
				stop := runAgentOn(t, w.scene)
				defer stop()
				settle()
				w.is("at first", !tt.over, !tt.over, tt.over)
				time.Sleep(max(tt.d.Hold, cluster.DefaultDrainHold) + time.Second)
				w.is("at last", false, false, true)
			})
		})
	}
}

// A node that does not know for a moment who is alive goes on as it did.
func TestAgentDrainsStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newDrainScene(t)
		stop := runAgent(t, w.scene)
		defer stop()
		stale := func(on bool) { w.change(func() { w.network.stale = on }) }
		w.node(cluster.Drain{})
		w.node(cluster.Drain{Since: time.Now()})
		stale(true)
		time.Sleep(cluster.DefaultDrainHold)
		w.is("frozen at the end of the hold", true, true, false)
		stale(false)
		w.is("it knows again", false, false, true)
		stale(true)
		w.is("frozen after it has withdrawn", false, false, true)
		stale(false)
		w.is("it knows once more", false, false, true)
		w.change(func() { w.network.members = w.network.members[:1] })
		w.is("the other is dead", true, true, true)
	})
}

// An agent that starts on a node that was drained long ago waits until it knows who
// is alive, but not for ever.
func TestAgentStartsDrainedStale(t *testing.T) {
	for _, known := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w := newDrainScene(t)
			w.network.stale = true
			w.set(cluster.Drain{Since: time.Now().Add(-time.Hour)})
			stop := runAgentOn(t, w.scene)
			defer stop()
			time.Sleep(9 * time.Second)
			synctest.Wait()
			if w.conf != nil || w.report.Synced {
				t.Errorf("at first FRR is told:\n%s", w.conf)
			}
			if known {
				w.change(func() { w.network.stale = false })
				w.is("it knows", false, false, true)
				return
			}
			w.change(func() {}) // nothing is new to it
			time.Sleep(2 * time.Second)
			w.is("it does not know", true, true, true)
		})
	}
}

// A misspelt annotation of the Node has one event for each change.
func TestAgentUnknownAnnotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newDrainScene(t)
		stop := runAgent(t, w.scene)
		defer stop()
		w.node(cluster.Drain{})
		for _, step := range []struct {
			key  string
			want []string
		}{
			{"example.com/drain", nil},
			{"heraldlb.io/drains", []string{assign.EventUnknown}},
			{"heraldlb.io/drains", []string{assign.EventUnknown}},
			{"metallb.io/address-pool", []string{assign.EventUnknown, assign.EventUnknown}},
		} {
			w.change(func() {
				w.set(cluster.Drain{})
				w.snapshot.Nodes[0] = object.FromNode(&corev1.Node{ObjectMeta: metav1.ObjectMeta{
					Name: "n1", Annotations: map[string]string{step.key: "now"},
				}})
			})
			w.is(step.key, true, false, false)
			if !slices.Equal(w.events, step.want) {
				t.Errorf("%s: events %q, want %q", step.key, w.events, step.want)
			}
		}
	})
}

// A Node that is excluded from load balancers has an event, and another one when it is back.
func TestAgentExcluded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newDrainScene(t)
		stop := runAgent(t, w.scene)
		defer stop()
		w.node(cluster.Drain{})
		excluded, included := reconcile.EventExcluded, reconcile.EventIncluded
		for _, step := range []struct {
			name      string
			labels    map[string]string
			noNetwork bool
			want      []string
		}{
			{"another label", map[string]string{"rack": "a"}, false, nil},
			{"the label", map[string]string{announce.LabelExcludeNode: ""}, false, []string{excluded}},
			{"its value does not matter", map[string]string{announce.LabelExcludeNode: "false"}, false, []string{excluded}},
			{"without network", map[string]string{announce.LabelExcludeNode: ""}, true, []string{excluded}},
			{"it is gone", nil, false, []string{excluded, included}},
			{"it is back", map[string]string{announce.LabelExcludeNode: ""}, false, []string{excluded, included, excluded}},
		} {
			w.change(func() {
				w.set(cluster.Drain{})
				n := *w.snapshot.Nodes[0]
				n.Labels, n.NetworkUnavailable = step.labels, step.noNetwork
				w.snapshot.Nodes[0] = &n
			})
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if !slices.Equal(w.events, step.want) {
				t.Errorf("%s: events %q, want %q", step.name, w.events, step.want)
			}
		}
	})
}

// An annotation without a meaning has one event, and changes nothing.
func TestAgentDrainInvalid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newDrainScene(t)
		stop := runAgent(t, w.scene)
		defer stop()
		w.node(cluster.Drain{})
		annotate := func(value string) {
			w.change(func() {
				w.set(cluster.Drain{})
				w.snapshot.Nodes[0] = object.FromNode(&corev1.Node{ObjectMeta: metav1.ObjectMeta{
					Name: "n1", Annotations: map[string]string{cluster.AnnotationDrain: value},
				}})
			})
		}
		says := func(reason string, events int) {
			t.Helper()
			w.is("an annotation that means nothing", true, false, false)
			if got := w.report.Drain; got == nil || !strings.Contains(got.Error, reason) || len(w.events) != events {
				t.Errorf("the report says %+v after events %v, want %q after %d", got, w.events, reason, events)
			}
		}
		annotate("true")
		says(`drain "true": want a time`, 1)
		annotate("true")
		says(`drain "true": want a time`, 1)
		annotate("2026-05-01T12:00:00Z hold=1d")
		says("hold=1d", 2)
		w.node(cluster.Drain{})
		if w.report.Drain != nil {
			t.Errorf("without an annotation the report says %+v", w.report.Drain)
		}
		annotate("true")
		says(`drain "true": want a time`, 3)
		for _, e := range w.events {
			if e != reconcile.EventDrainInvalid {
				t.Errorf("event %s", e)
			}
		}
	})
}
