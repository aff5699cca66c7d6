// SPDX-License-Identifier: Apache-2.0

package condition_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/heraldlb/herald/announce/announcetest"
	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/cluster/clustertest"
	"github.com/heraldlb/herald/condition"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/table"
)

// A history is what a controller sees from pass to pass: a random cluster, what nodes say,
// and the Plans that are written or not.
type history struct {
	*announcetest.History
	objects map[cluster.Key][2]*cluster.Service // of the cluster, and the same with conditions
	updates map[cluster.Key]assign.Update       // of the plan without the condition
	o       condition.Observed
	late    []assign.Update // that are written, and not seen yet
}

// services returns the Services with the conditions that were written.
func (h *history) services(all []*cluster.Service) []*cluster.Service {
	out := make([]*cluster.Service, len(all))
	for i, svc := range all {
		known := h.objects[svc.Key]
		if known[0] != svc {
			next := *svc
			next.Conditions = nil
			if h.IntN(8) > 0 {
				next.Conditions = []cluster.Condition{{Type: assign.ConditionAddressAssigned, True: len(svc.Ingress) > 0}}
			}
			known = [2]*cluster.Service{svc, &next}
			h.objects[svc.Key] = known
		}
		out[i] = known[1]
	}
	return out
}

// plan returns updates of some of the Services.
func (h *history) plan(all []*cluster.Service) assign.Plan {
	var p assign.Plan
	for _, svc := range all {
		u, ok := h.updates[svc.Key]
		if ok && u.Service != svc || h.IntN(10) == 0 {
			delete(h.updates, svc.Key)
			ok = false
		}
		if !ok && h.IntN(10) == 0 && svc.LoadBalancer {
			u = assign.Update{Service: svc, Ingress: cluster.ParseIngress(svc.Ingress), Events: []cluster.Event{{Reason: fmt.Sprint(h.IntN(9))}}}
			if h.IntN(4) > 0 {
				u.Condition = &cluster.Condition{Type: assign.ConditionAddressAssigned, True: h.IntN(2) == 0}
				if h.IntN(6) == 0 {
					u.Condition.Reason = assign.ReasonForeign
				}
			}
			h.updates[svc.Key], ok = u, true
		}
		if ok {
			p.Updates = append(p.Updates, u)
		}
	}
	return p
}

// observe changes what nodes say.
func (h *history) observe(s cluster.Snapshot) {
	e := h.o.Announcers.Edit()
	for range h.IntN(3) {
		key := cluster.Key{Namespace: "a", Name: fmt.Sprintf("s%d", h.IntN(12))}
		if h.IntN(2) == 0 {
			e.Delete(key)
		} else {
			e.Set(key, fmt.Sprintf("bgp from n%d", h.IntN(3)))
		}
	}
	h.o.Announcers = e.Table()
	h.o.Reported = h.o.Reported != (h.IntN(30) == 0)
	if h.o.Reach = nil; h.IntN(30) > 0 {
		h.o.Reach = &condition.Reach{Nodes: s.Nodes, Endpoints: cluster.TablesOf(s).Endpoints}
	}
	if h.IntN(5) == 0 {
		h.o.Sessions = cluster.NodeSessions{}
		for _, n := range s.Nodes {
			h.o.Sessions[n.Name] = []cluster.SessionState{{Peer: "r0", Up: h.IntN(3) == 0, Message: fmt.Sprint(h.IntN(3))}}
		}
	}
	if h.IntN(10) == 0 {
		nowhere := []string{"", "eth0", "eth1"}[h.IntN(3)]
		h.o.Nowhere = func(iface string) bool { return iface == nowhere }
	}
}

// write carries out updates. Some are seen late, when the Plan is another.
func (h *history) write(p assign.Plan) {
	late := h.late
	h.late = nil
	for _, u := range append(late, p.Updates...) {
		known, there := h.objects[u.Service.Key]
		switch h.IntN(4) {
		case 0, 1:
			continue
		case 2:
			h.late = append(h.late, u)
			continue
		}
		if !there {
			continue
		}
		next := *known[1]
		next.Conditions = slices.DeleteFunc(slices.Clone(next.Conditions), func(c cluster.Condition) bool {
			return u.Unannounced || u.Announced != nil && c.Type == condition.TypeAnnounced
		})
		if u.Announced != nil {
			next.Conditions = append(next.Conditions, *u.Announced)
		}
		h.objects[u.Service.Key] = [2]*cluster.Service{known[0], &next}
	}
}

// A Memory decides as a Judge does, whatever happened before.
func TestMemory(t *testing.T) {
	reasons, events := map[status.Reason]int{}, 0
	for seed := range uint64(6) {
		h := &history{
			History: announcetest.NewHistory(t, seed, seed%2 == 0),
			objects: map[cluster.Key][2]*cluster.Service{}, updates: map[cluster.Key]assign.Update{},
			o: condition.Observed{Reported: true},
		}
		var j condition.Judge
		var m condition.Memory
		now := time.Unix(1_800_000_000, 0)
		for step := range 250 {
			if h.IntN(3) > 0 {
				h.Step()
			}
			s := h.Snapshot()
			s.Services = h.services(s.Services)
			if h.IntN(2) == 0 {
				h.observe(s)
			}
			plan := h.plan(s.Services)
			now = now.Add(time.Duration(h.IntN(12)) * 100 * time.Millisecond)
			tables := assign.PlanTables{Updates: assign.TableOf(plan.Updates)}
			want := j.Complete(plan, s, h.o, "", now)
			got := m.Complete(tables, cluster.TablesOf(s), h.o, "", now).List()
			if diff := cmp.Diff(want, got, clustertest.Values, cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("seed %d, step %d (-Judge +Memory):\n%s", seed, step, diff)
			}
			for _, u := range got.Updates {
				if u.Announced != nil {
					reasons[u.Announced.Reason]++
				}
				events += len(u.Events)
			}
			h.write(got)
		}
	}
	for _, reason := range []status.Reason{
		status.Announced, status.NoAddress, status.NoAdvertisement, status.NoEndpoints, condition.ReasonNotAnnounced,
	} {
		if reasons[reason] < 10 {
			t.Errorf("%d times %s: the histories are too simple", reasons[reason], reason)
		}
	}
	if events < 300 {
		t.Errorf("%d events: the histories are too simple", events)
	}
}

// A condition that is outdated while it is being written, and is seen then, waits again for
// the next one, and is replaced though nothing else happens.
func TestMemoryWritesLate(t *testing.T) {
	s, _ := announcetest.Layer2Cluster(t)
	s.Services, s.Endpoints = nil, map[cluster.Key][]cluster.Endpoint{}
	announcetest.AddService(&s, "web", false, []string{"192.0.2.1"}, "n1")
	unwritten := s.Services[0]
	unwritten.Conditions = []cluster.Condition{{Type: assign.ConditionAddressAssigned, True: true}}
	var m condition.Memory
	now := time.Unix(1_800_000_000, 0)
	complete := func(announcers string, svc *cluster.Service, wait time.Duration) (out []string) {
		now = now.Add(wait)
		s.Services = []*cluster.Service{svc}
		var words table.Editor[cluster.Key, string]
		words.Set(svc.Key, announcers)
		o := condition.Observed{Reported: true, Announcers: words.Table()}
		for _, u := range m.Complete(assign.PlanTables{}, cluster.TablesOf(s), o, "", now).List().Updates {
			out = append(out, u.Announced.Message)
		}
		return out
	}
	complete("n1", unwritten, 0)
	first := complete("n1", unwritten, time.Minute)
	complete("n2", unwritten, 0)
	second := complete("n2", unwritten, time.Second)
	written := *unwritten
	written.Conditions = append(slices.Clone(written.Conditions), cluster.Condition{Type: condition.TypeAnnounced, True: true, Reason: status.Announced, Message: "n1"})
	if now := complete("n2", &written, 0); len(now) > 0 {
		t.Errorf("%q is written at once", now)
	}
	third := complete("n2", &written, time.Minute)
	if diff := cmp.Diff([][]string{{"n1"}, {"n2"}, {"n2"}}, [][]string{first, second, third}); diff != "" {
		t.Errorf("written (-want +got):\n%s", diff)
	}
}

// A node that gets an interface changes what is said of Services that wait for one.
func TestMemoryNowhere(t *testing.T) {
	s, _ := announcetest.Layer2Cluster(t)
	s.Services, s.Endpoints = nil, map[cluster.Key][]cluster.Endpoint{}
	announcetest.AddService(&s, "web", false, []string{"192.0.2.1"}, "n1")
	s.Services[0].Conditions = []cluster.Condition{{Type: assign.ConditionAddressAssigned, True: true}}
	c := *s.Config
	c.L2Advertisements = slices.Clone(c.L2Advertisements)
	for i := range c.L2Advertisements {
		c.L2Advertisements[i].Interfaces = []string{"eth9"}
	}
	s.Config = &c
	lacks := true
	o := condition.Observed{Reported: true, Reach: &condition.Reach{Nodes: s.Nodes, Endpoints: cluster.TablesOf(s).Endpoints}}
	o.Nowhere = func(string) bool { return lacks }
	var m condition.Memory
	now := time.Unix(1_800_000_000, 0)
	for _, want := range []status.Reason{status.NoInterface, condition.ReasonNotAnnounced, status.NoInterface} {
		m.Complete(assign.PlanTables{}, cluster.TablesOf(s), o, "", now)
		now = now.Add(time.Minute)
		plan := m.Complete(assign.PlanTables{}, cluster.TablesOf(s), o, "", now).List()
		if len(plan.Updates) != 1 || plan.Updates[0].Announced.Reason != want {
			t.Fatalf("updates are %+v, want %s", plan.Updates, want)
		}
		lacks = !lacks
	}
}
