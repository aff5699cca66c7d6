// SPDX-License-Identifier: Apache-2.0

package reconcile_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heraldlb/herald/reconcile"
)

// A network is one that some nodes' agents are alive on.
type network []reconcile.Member

func (n network) Neighborhood() reconcile.Neighborhood {
	return reconcile.Neighborhood{Membership: reconcile.Membership{Members: n}}
}

func (network) Set([]reconcile.Answer) {}

// A node that drains asks for other paths at once, and withdraws when its time is
// over, though nothing wakes it then. The end of the drain undoes both.
func TestAgentDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &scene{synced: true, network: network{{Node: "n1"}, {Node: "n2"}}}
		stop := runAgent(t, w)
		defer stop()
		node := func(d reconcile.Drain) {
			w.change(func() {
				w.snapshot.Nodes = []*reconcile.Node{{Name: "n1", Drain: d}, {Name: "n2"}}
				w.snapshot.Services = services("web=198.51.100.1")
				w.snapshot.Endpoints = map[reconcile.Key][]reconcile.Endpoint{w.snapshot.Services[0].Key: {{Node: "n2"}}}
			})
		}
		is := func(when string, announced, shutdown bool) {
			t.Helper()
			synctest.Wait()
			w.mu.Lock()
			conf := string(w.conf)
			w.mu.Unlock()
			if strings.Contains(conf, "network 198.51.100.1/32") != announced || strings.Contains(conf, "set community graceful-shutdown") != shutdown {
				t.Errorf("%s: want announced %t, graceful shutdown %t:\n%s", when, announced, shutdown, conf)
			}
		}
		w.write(goodConfig)
		node(reconcile.Drain{})
		is("before", true, false)
		node(reconcile.Drain{Since: time.Now()})
		is("at first", true, true)
		time.Sleep(reconcile.DefaultDrainHold - 2*time.Second)
		is("shortly before its time is over", true, true)
		time.Sleep(3 * time.Second)
		is("after it", false, false)
		node(reconcile.Drain{})
		is("undrained", true, false)
	})
}
