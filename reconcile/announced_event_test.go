// SPDX-License-Identifier: Apache-2.0

package reconcile_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/condition"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/source"
	"github.com/heraldlb/herald/table"
)

// eventText shows an event as "a Reason: message", with a ! before a warning.
func eventText(svc *cluster.Service, e cluster.Event) string {
	mark := ""
	if e.Warning {
		mark = "!"
	}
	return svc.Name + " " + mark + e.Reason + ": " + e.Message
}

// heard returns the events since the last call, after time has gone by.
func (s *stage) heard(d time.Duration) []string {
	time.Sleep(d)
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.told
	s.told = nil
	return out
}

// condition returns ConditionAnnounced of the Service a.
func (s *stage) condition() cluster.Condition {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, svc := range s.snapshot.Services {
		for _, c := range svc.Conditions {
			if svc.Name == "a" && c.Type == condition.TypeAnnounced {
				return c
			}
		}
	}
	return cluster.Condition{}
}

// Each change of the condition is one event, and none is repeated by a controller
// that starts.
func TestAnnouncedEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, goodConfig, services("a", "b")...)
		wants(t, "at first", s.heard(100*time.Millisecond),
			`a IPAllocated: Assigned IP ["198.51.100.1"]`,
			`b !AllocationFailed: Failed to allocate IP for "default/b": pool web: 1 of 1 in use`)
		s.tell("bgp from n1 to r")
		wants(t, "announced", s.heard(time.Minute), "a Announced: announced: bgp from n1 to r")
		s.tell("bgp from n1, n2 to r")
		wants(t, "by another node too", s.heard(time.Minute), "a Announced: announced: bgp from n1, n2 to r; before: bgp from n1 to r")
		s.tell("")
		wants(t, "for a moment not", s.heard(time.Second))
		s.tell("bgp from n1, n2 to r")
		wants(t, "and again", s.heard(time.Minute))
		s.tell("")
		wants(t, "no longer", s.heard(time.Minute), "a !NotAnnounced: no longer announced: no node announces it; before: bgp from n1, n2 to r")
		s.stop()
		next := newStage(t, goodConfig, s.snapshot.Services...)
		defer next.stop()
		wants(t, "another controller", next.heard(time.Hour))
		next.tell("layer2 from n1")
		wants(t, "announced again", next.heard(time.Minute), "a Announced: announced: layer2 from n1")
	})
}

// A Service that flaps has some events, then one each minute, and the last event agrees
// with the condition.
func TestAnnouncedEventsFlapping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, goodConfig, services("a")...)
		defer s.stop()
		s.heard(100 * time.Millisecond)
		newest := ""
		hear := func(d time.Duration) int {
			told := s.heard(d)
			if len(told) > 0 {
				newest = told[len(told)-1]
			}
			return len(told)
		}
		count := 0
		for i := range 200 {
			words := ""
			if i%2 == 0 {
				words = fmt.Sprintf("bgp from n%d to r", i)
			}
			s.tell(words)
			count += hear(5 * time.Second)
		}
		if count < 20 || count > 27 {
			t.Errorf("%d events of 200 changes in 1000 s, want 10 and one a minute", count)
		}
		hear(3 * time.Minute)
		c := s.condition()
		if c.True || !strings.Contains(newest, c.Message) {
			t.Errorf("the newest event is %q, the condition says %+v", newest, c)
		}
		if n := hear(time.Hour); n > 0 {
			t.Errorf("%d events while nothing changes", n)
		}
		// What was held back and is over needs no word.
		for i := range 15 {
			s.tell(fmt.Sprintf("bgp from n%d to r", i))
			hear(5 * time.Second)
		}
		told, _, _ := strings.Cut(strings.TrimPrefix(newest, "a Announced: announced: "), ";")
		if told == s.condition().Message {
			t.Fatalf("15 events of 15 changes, the newest %q", newest)
		}
		s.tell(told)
		if n := hear(time.Hour); n > 0 || told != s.condition().Message {
			t.Errorf("%d events, the newest %q, the condition says %q", n, newest, s.condition().Message)
		}
		// After long quiet every change has an event again.
		count = 0
		for i := range 10 {
			s.tell(fmt.Sprintf("layer2 from n%d", i))
			count += hear(5 * time.Second)
		}
		if count != 10 {
			t.Errorf("%d events of 10 changes after an hour", count)
		}
	})
}

// Why nodes do not announce a Service is said where the configuration and the
// Nodes tell.
func TestAnnouncedUnable(t *testing.T) {
	nodes := []*cluster.Node{
		{Name: "n1", Labels: map[string]string{"rack": "a"}},
		{Name: "n2", Labels: map[string]string{"rack": "b", announce.LabelExcludeNode: ""}},
		{Name: "n3", Labels: map[string]string{"rack": "b"}, NetworkUnavailable: true},
	}
	rack := func(name string) string { return `"nodeSelectors":[{"matchLabels":{"rack":"` + name + `"}}]` }
	peer := func(selector string) string {
		return `{"myASN":64512,"peerASN":64513,"peerAddress":"192.0.2.1",` + selector + `}`
	}
	bgp, layer2, tor := config.KindBGPAdvertisement, config.KindL2Advertisement, config.KindPeer
	for _, test := range []struct {
		name    string
		objects [][2]string // kind and spec
		want    string
	}{
		{"no node", [][2]string{{layer2, "{" + rack("z") + "}"}}, "NodeNotSelected: the nodeSelectors of advertisement x1 match 0 of 3 nodes"},
		{"no node of two", [][2]string{{layer2, "{" + rack("y") + "}"}, {bgp, "{" + rack("z") + "}"}},
			"NodeNotSelected: the nodeSelectors of the advertisements x2, x1 match 0 of 3 nodes"},
		{"excluded and without network", [][2]string{{layer2, "{" + rack("b") + "}"}},
			"NodeExcluded: none of the 2 nodes that are selected (of 3) may announce it: the label " + announce.LabelExcludeNode +
				" is on n2; the condition NetworkUnavailable is true on n3"},
		{"no peers", [][2]string{{bgp, "{}"}}, "NoPeers: there are no BGP peers"},
		{"unknown peers", [][2]string{{bgp, `{"peers":["y"]}`}, {tor, peer(rack("a"))}}, "NoPeers: none of the peers of advertisement x1 exists"},
		{"peers elsewhere", [][2]string{{bgp, "{}"}, {tor, peer(rack("b"))}},
			"NoPeers: the nodeSelectors of the peers x2 match none of the 1 nodes that may announce it"},
		{"peers elsewhere, layer 2 as well", [][2]string{{bgp, "{}"}, {tor, peer(rack("b"))}, {layer2, "{}"}}, "NotAnnounced: no node announces it"},
		{"interfaces", [][2]string{{layer2, `{"interfaces":["eth9"],` + rack("a") + "}"}, {layer2, `{"interfaces":["eth0"],` + rack("z") + "}"}},
			"NoInterface: no node has an interface eth9 that layer 2 can use"},
		{"one interface of two", [][2]string{{layer2, `{"interfaces":["eth9","eth0"]}`}}, "NotAnnounced: no node announces it"},
		{"interfaces, and BGP", [][2]string{{layer2, `{"interfaces":["eth9"]}`}, {bgp, "{}"}, {tor, peer(rack("b"))}},
			"NoPeers: the nodeSelectors of the peers x3 match none of the 1 nodes that may announce it; no node has an interface eth9 that layer 2 can use"},
		{"interfaces, and a peer", [][2]string{{layer2, `{"interfaces":["eth9"]}`}, {bgp, "{}"}, {tor, peer(rack("a"))}}, "NotAnnounced: no node announces it"},
		{"a peer", [][2]string{{bgp, "{}"}, {tor, peer(rack("a"))}}, "NotAnnounced: no node announces it"},
		{"an advertisement of other Services", [][2]string{{layer2, `{"serviceSelectors":[{"matchLabels":{"tier":"web"}}]}`}, {bgp, "{" + rack("z") + "}"}},
			"NodeNotSelected: the nodeSelectors of advertisement x2 match 0 of 3 nodes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := services("a")[0]
				s := newStageWith(t, reconcile.ControllerOptions{Agents: lacking{"eth9"}}, unread, a)
				defer s.stop()
				r := poolResources("198.51.100.0/24")
				for i, o := range test.objects {
					r.Objects = append(r.Objects, config.Object{ID: config.ID{Kind: o[0], Name: fmt.Sprint("x", i+1)}, Spec: []byte(o[1])})
				}
				s.nodes.announced.Reach = &condition.Reach{Nodes: nodes, Endpoints: table.Of(maps.All(map[cluster.Key][]cluster.Endpoint{a.Key: {{Node: "n1"}}}))}
				s.change(func() { s.doc = &source.Document{Source: "resources", Resources: r} })
				wants(t, "at first", s.wrote(100*time.Millisecond), "a Assigned")
				told := s.heard(time.Minute)
				wants(t, "then", s.wrote(0), "a Assigned "+test.want)
				reason, text, _ := strings.Cut(test.want, ": ")
				if want := "a !" + reason + ": not announced: " + text; !slices.Equal(told[len(told)-1:], []string{want}) {
					t.Errorf("the events are %q, want %q last", told, want)
				}
			})
		})
	}
}
