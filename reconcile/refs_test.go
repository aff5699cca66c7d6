// SPDX-License-Identifier: Apache-2.0

package reconcile_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/condition"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/source"
)

// A shelf has the status of resources from a controller.
type shelf struct{ *scene }

func (s shelf) Set(all []reconcile.ResourceStatus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resources = map[config.ID]reconcile.ResourceStatus{}
	for _, r := range all {
		s.resources[r.ID] = r
	}
}

func (shelf) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

func (shelf) Published(config.Verdict) reconcile.PublishedStatus { return reconcile.PublishedStatus{} }

// A lacking agent is the only one, and reports that it lacks these interfaces.
type lacking []string

func (l lacking) States() ([]reconcile.AgentState, bool) {
	return []reconcile.AgentState{{Node: "n1", State: reconcile.State{Known: true, Lacking: l}, Since: time.Now()}}, true
}

func (lacking) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// A controller judges references and selectors once it knows which Nodes there are,
// or that it will not.
func TestControllerRefs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &scene{}
		s := newStageWith(t, reconcile.ControllerOptions{Resources: shelf{w}, Agents: lacking{"eth0"}}, unread)
		defer s.stop()
		objects := []config.Object{{ID: config.ID{Kind: config.KindPool, Name: "web"}, Spec: []byte(`{"addresses":["192.0.2.0/28"]}`)}}
		specs := map[config.ID]string{
			{Kind: config.KindL2Advertisement, Name: "nowhere"}:  `{"nodeSelectors":[{"matchLabels":{"rack":"z"}}]}`,
			{Kind: config.KindL2Advertisement, Name: "eth"}:      `{"ipAddressPools":["wbe"],"interfaces":["eth0"]}`,
			{Kind: config.KindBGPAdvertisement, Name: "nowhere"}: `{"ipAddressPools":["x"],"nodeSelectors":[{"matchLabels":{"rack":"z"}}]}`,
			{Kind: config.KindPeer, Name: "tor"}:                 `{"myASN":1,"peerASN":2,"peerAddress":"10.0.0.1","nodeSelectors":[{"matchLabels":{"rack":"z"}}]}`,
			{Kind: config.KindPeer, Name: "good"}:                `{"myASN":1,"peerASN":2,"peerAddress":"10.0.0.2","nodeSelectors":[{"matchLabels":{"rack":"a"}}]}`,
		}
		for id, spec := range specs {
			objects = append(objects, config.Object{ID: id, Spec: []byte(spec)})
		}
		resolved := func() map[string]string {
			w.mu.Lock()
			defer w.mu.Unlock()
			var out map[string]string
			for id, r := range w.resources {
				if r.Resolved == nil {
					continue
				}
				if out == nil {
					out = map[string]string{}
				}
				out[id.String()] = r.Resolved.Reason + ": " + r.Resolved.Message
			}
			return out
		}
		s.nodes.mu.Lock()
		s.nodes.read = false
		s.nodes.mu.Unlock()
		s.change(func() {
			s.doc = &source.Document{Source: "resources", Resources: &config.Resources{Objects: objects}}
		})
		if got := resolved(); got != nil {
			t.Errorf("before all is read they say %v", got)
		}
		const all = "ResolvedRefs: all that it refers to exists"
		read := func(r *condition.Reach) map[string]string {
			s.nodes.mu.Lock()
			s.nodes.read, s.nodes.announced.Reach = true, r
			s.nodes.mu.Unlock()
			s.wake()
			time.Sleep(time.Second)
			synctest.Wait()
			return resolved()
		}
		eth := `RefNotFound: there is no pool "wbe", did you mean "web"?; no node has an interface "eth0" that layer 2 can use`
		want := map[string]string{
			"BGPPeer/good": all, "BGPPeer/tor": all, "L2Advertisement/nowhere": all, "L2Advertisement/eth": eth,
			"BGPAdvertisement/nowhere": `RefNotFound: there is no pool "x"`,
		}
		same := func(what string, got, want map[string]string) {
			t.Helper()
			if len(got) != len(want) {
				t.Errorf("%s: %v", what, got)
			}
			for id, text := range want {
				if got[id] != text {
					t.Errorf("%s: %s says %q, want %q", what, id, got[id], text)
				}
			}
		}
		same("without a right to read Nodes", read(nil), want)
		const none = "nodeSelectors match 0 of 2 nodes"
		want["BGPPeer/tor"], want["L2Advertisement/nowhere"] = "SelectsNothing: "+none, "SelectsNothing: "+none
		want["BGPAdvertisement/nowhere"] += "; " + none
		nodes := []*cluster.Node{{Name: "n1", Labels: map[string]string{"rack": "a"}}, {Name: "n2"}}
		same("two nodes", read(&condition.Reach{Nodes: nodes}), want)
	})
}

// An interface is nowhere when all agents that are heard of say that they lack it.
func TestFleetLacking(t *testing.T) {
	var f reconcile.Fleet
	start := time.Unix(1e9, 0)
	says := func(node, version string, lacking ...string) {
		f.Hear(node, reconcile.State{Known: true, Version: version, Lacking: lacking}, start)
	}
	is := func(what string, at time.Time, want bool) {
		t.Helper()
		p, _ := f.Rollout("2", at)
		if got := p.Nowhere("eth9"); got != want {
			t.Errorf("%s: nowhere is %t, want %t", what, got, want)
		}
	}
	is("nobody", start, false)
	says("n1", "2", "eth8", "eth9")
	is("one that lacks it", start, true)
	says("n2", "1")
	is("one on its way, that does not", start, false)
	is("which is silent", start.Add(time.Minute), true)
	says("n2", "1", "eth9")
	is("one on its way, that lacks it too", start, true)
	says("n2", "2")
	is("one that has it", start, false)
}
