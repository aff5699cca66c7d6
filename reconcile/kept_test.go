// SPDX-License-Identifier: Apache-2.0

package reconcile_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heraldlb/herald/announce/announcetest"
	"github.com/heraldlb/herald/cluster"
)

// selective is a configuration with a peer for nodes of one rack, and others.
func selective(rack string, others ...string) string {
	return `
peers: [{peer-address: 192.0.2.254, peer-asn: 64513, my-asn: 64512, node-selectors: [{match-labels: {rack: ` + rack + `}}]}` + strings.Join(others, "") + `]
address-pools: [{name: web, protocol: bgp, addresses: [198.51.100.1-198.51.100.1]}]`
}

// rack puts the nodes of a scene into racks of their own.
func (w drainScene) rack() {
	w.set(cluster.Drain{})
	w.snapshot.Nodes[0].Labels = map[string]string{"rack": "a"}
	w.snapshot.Nodes[1].Labels = map[string]string{"rack": "b"}
}

// neighbor reports whether FRR has the peer.
func (w drainScene) neighbor(when string, want bool) {
	w.t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if strings.Contains(string(w.conf), "neighbor 192.0.2.254 remote-as") != want {
		w.t.Errorf("%s: want the session %t:\n%s", when, want, w.conf)
	}
}

// A session with a peer that does not select the node any more stays, with its routes,
// until another node was seen to send these to that peer.
func TestAgentKeepsSessions(t *testing.T) {
	for _, tt := range []struct {
		name string
		then string // the configuration
		sent bool   // the other node has sent the route to the peer
		want bool   // the session and the route are there after two seconds
		last bool   // and after five minutes
	}{
		{"the peer is for the other, which has sent the route", selective("b"), true, false, false},
		{"the peer is for the other, which has not", selective("b"), false, true, false},
		{"the peer is for no node", selective("c"), false, false, false},
		{"the peer is deleted", strings.Replace(goodConfig, "192.0.2.254", "192.0.2.9", 1), false, false, false},
		{"another peer has its address", selective("b", ", {peer-address: 192.0.2.254, peer-asn: 64513, my-asn: 64512, node-selectors: [{match-labels: {rack: a}}]}"), false, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newDrainScene(t)
				w.doc.Text = []byte(selective("a"))
				w.network.members[1].Sent = nil
				stop := runAgent(t, w.scene)
				defer stop()
				w.change(w.rack)
				w.neighbor("before", true)
				w.is("before", true, false, false)
				w.change(func() {
					if tt.sent {
						w.network.members[1] = announcetest.Sends("n2", "peer1", "198.51.100.1")
					}
				})
				w.write(tt.then)
				time.Sleep(2 * time.Second)
				w.neighbor("after two seconds", tt.want)
				if tt.want {
					w.is("after two seconds", true, false, false)
				}
				w.look(func() {
					if p := w.report.Peers[0]; tt.want && !tt.last && !strings.Contains(p.Detail, "does not select the node any more") {
						t.Errorf("the report says of the peer %+v", p)
					}
				})
				time.Sleep(5 * time.Minute)
				w.neighbor("after five minutes", tt.last)
				w.look(func() {
					if w.network.asks {
						t.Error("it asks for ever")
					}
				})
			})
		})
	}
}

// A Node that the cluster has no more, and that may be registered again in a moment,
// leaves its routes to others.
func TestAgentNodeVanishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newDrainScene(t)
		w.doc.Text = []byte(selective("a"))
		w.network.members[1].Sent = nil
		stop := runAgent(t, w.scene)
		defer stop()
		w.change(w.rack)
		vanish := func() {
			w.change(func() {
				w.rack()
				w.snapshot.Nodes = w.snapshot.Nodes[1:]
			})
		}
		vanish()
		time.Sleep(4 * time.Minute)
		w.is("no other node sends the route", true, false, false)
		w.neighbor("no other node sends the route", true)
		w.change(w.rack)
		w.is("the Node is back", true, false, false)
		vanish()
		w.write(strings.Replace(selective("a"), "{rack: a}", "{}", 1))
		w.change(func() { w.network.members[1] = announcetest.Sends("n2", "peer1", "198.51.100.1") })
		time.Sleep(time.Second)
		w.is("another node sends the route", false, false, false)
		w.change(func() { w.network.members[1].Sent = nil })
		w.change(w.rack)
		w.is("the Node is back again", true, false, false)
		vanish()
		time.Sleep(5 * time.Minute)
		w.is("no other node has sent the route", false, false, false)
	})
}
