// SPDX-License-Identifier: Apache-2.0

package reconcile_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/condition"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/source"
	"github.com/heraldlb/herald/status"
)

// A Service that nobody announces says which sessions are down where it might be
// announced, and why.
func TestAnnouncedSessions(t *testing.T) {
	up := func(peer string) cluster.SessionState { return cluster.SessionState{Peer: peer, Up: true} }
	down := func(peer, why string) cluster.SessionState {
		return cluster.SessionState{Peer: peer, Reason: status.SessionNoAnswer, Message: why}
	}
	const everywhere, racked = `{}`, `{"peers":["tor"],"nodeSelectors":[{"matchLabels":{"rack":"a"}}]}`
	reach := func(endpoints ...string) *condition.Reach {
		r := &condition.Reach{Nodes: []*cluster.Node{
			{Name: "n1", Labels: map[string]string{"rack": "a"}},
			{Name: "n2", Labels: map[string]string{"rack": "a"}},
			{Name: "n3"},
			{Name: "n4", Labels: map[string]string{"rack": "a", announce.LabelExcludeNode: ""}},
		}}
		e := r.Endpoints.Edit()
		for _, node := range endpoints {
			key := cluster.Key{Namespace: "default", Name: "a"}
			before, _ := e.Get(key)
			e.Set(key, append(slices.Clip(before), cluster.Endpoint{Node: node}))
		}
		r.Endpoints = e.Table()
		return r
	}
	tests := []struct {
		name     string
		bgp      string // an advertisement
		layer2   bool   // and one for layer 2
		local    bool   // externalTrafficPolicy
		reach    *condition.Reach
		sessions cluster.NodeSessions
		want     string // empty: what is said without knowing of sessions
	}{
		{"not known", everywhere, false, false, nil, nil, ""},
		{"agents do not say", everywhere, false, false, nil, cluster.NodeSessions{}, ""},
		{"the same everywhere", everywhere, false, false, nil,
			cluster.NodeSessions{"n1": {down("tor", "no answer")}, "n3": {down("tor", "no answer")}, "n2": {down("tor", "no answer")}},
			"no BGP session is up on n1, n2, n3: tor: no answer"},
		{"different", everywhere, false, false, nil,
			cluster.NodeSessions{"n1": {down("tor", "no answer"), down("tor2", "refused")}, "n2": {down("tor", "no answer")}},
			"no BGP session is up on n1, n2: n1, n2: tor: no answer; n1: tor2: refused"},
		{"one is up", everywhere, false, false, nil,
			cluster.NodeSessions{"n1": {down("tor", "no answer")}, "n2": {up("tor")}}, ""},
		{"one is up, of another peer and on other nodes", racked, false, false, reach("n1"),
			cluster.NodeSessions{"n1": {down("tor", "no answer"), up("tor2")}, "n2": {down("tor", "no answer")}, "n3": {up("tor")}, "n4": {up("tor")}, "gone": {up("tor")}},
			"no BGP session is up on n1, n2: tor: no answer"},
		{"where endpoints are", racked, false, true, reach("n2", "n3"),
			cluster.NodeSessions{"n1": {up("tor")}, "n2": {down("tor", "no answer")}, "n3": {up("tor")}},
			"no BGP session is up on n2: tor: no answer"},
		{"no node has a session", everywhere, false, false, reach("n1"),
			cluster.NodeSessions{"n1": {}, "n2": {}},
			"no BGP peer of the advertisements has a session on n1, n2: check the peers' nodeSelectors, and the names in the advertisements' peers"},
		{"layer 2 too", everywhere, true, false, nil, cluster.NodeSessions{"n1": {down("tor", "no answer")}}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := services("a")[0]
				a.Local = tt.local
				s := newStage(t, "", a)
				defer s.stop()
				r := poolResources("198.51.100.0/24")
				add := func(kind, spec string) {
					r.Objects = append(r.Objects, config.Object{ID: config.ID{Kind: kind, Name: fmt.Sprint(len(r.Objects))}, Spec: []byte(spec)})
				}
				add(config.KindBGPAdvertisement, tt.bgp)
				r.Objects = append(r.Objects, config.Object{
					ID: config.ID{Kind: config.KindPeer, Name: "tor"}, Spec: []byte(`{"myASN":64512,"peerASN":64513,"peerAddress":"10.0.0.1"}`),
				})
				if tt.layer2 {
					add(config.KindL2Advertisement, "{}")
				}
				s.change(func() { s.doc = &source.Document{Source: "resources", Resources: r} })
				s.nodes.mu.Lock()
				s.nodes.announced.Reach, s.nodes.announced.Sessions = tt.reach, tt.sessions
				s.nodes.mu.Unlock()
				s.wake()
				want := tt.want
				if want == "" {
					want = "no node announces it"
				}
				wants(t, "the Service says", s.wrote(time.Minute), "a Assigned", "a Assigned NotAnnounced: "+want)
			})
		})
	}
}
