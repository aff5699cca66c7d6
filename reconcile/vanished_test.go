// SPDX-License-Identifier: Apache-2.0

package reconcile_test

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/reconcile"
)

// The router ID stays while the cluster does not have the Node, when the agent starts and
// long after the Node is gone: another one ends all sessions.
func TestAgentRouterIDWithoutNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const want = "bgp router-id 10.0.0.7\n"
		address := netip.MustParseAddr("10.0.0.7")
		node := &cluster.Node{Name: "n1", Addrs: []netip.Addr{address}}
		worker := reconcile.NewWorker()
		w := &scene{wake: worker.Wake, synced: true}
		a := reconcile.NewAgent(reconcile.AgentOptions{
			Node: "n1", Worker: worker, Cluster: w, Documents: w, FRR: router{w}, Routers: routers{w},
			Reporter: reporter{w}, Announce: announce.Options{Address: address}, Logger: slog.New(slog.DiscardHandler),
		})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- a.Run(ctx) }()
		w.write(goodConfig)
		has := func(when string) {
			t.Helper()
			synctest.Wait()
			w.mu.Lock()
			conf := string(w.conf)
			w.mu.Unlock()
			if !strings.Contains(conf, want) {
				t.Errorf("%s, FRR does not have %q:\n%s", when, want, conf)
			}
		}
		has("before there is a Node")
		w.change(func() { w.snapshot.Nodes = []*cluster.Node{node} })
		has("with a Node")
		w.change(func() { w.snapshot.Nodes = nil })
		has("when the Node has gone")
		time.Sleep(time.Hour)
		has("an hour later")
		stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}
