// SPDX-License-Identifier: Apache-2.0

package reconcile_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/condition"
	"github.com/heraldlb/herald/reconcile"
)

// logged returns the reasons of the lines of a log with a message, one a line.
func logged(t *testing.T, log *bytes.Buffer, message string) string {
	t.Helper()
	var out []string
	for line := range strings.Lines(log.String()) {
		if _, after, found := strings.Cut(line, `msg="`+message+`" `); found {
			out = append(out, strings.TrimSuffix(after, "\n"))
		}
	}
	return strings.Join(out, "\n")
}

// Doubtful parts of a ConfigMap are logged once, also those that only the cluster shows.
func TestDoubtfulConfiguration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const doubtful = `address-pools: [{name: web, protocol: layer2, addresses: [192.168.100.200/28]}]`
		var log bytes.Buffer
		s := newStageWith(t, reconcile.ControllerOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))}, doubtful)
		defer s.stop()
		s.change(func() {})
		s.nodes.mu.Lock()
		s.nodes.announced.Reach = &condition.Reach{Nodes: []*cluster.Node{{Name: "n1", Addrs: []netip.Addr{netip.MustParseAddr("192.168.100.194")}}}}
		s.nodes.mu.Unlock()
		s.change(func() {})
		s.change(func() {})
		if got, want := logged(t, &log, "configuration doubtful"), `reason="pool \"web\": \"192.168.100.200/28\" has bits set behind its length, and stands for 192.168.100.192 to 192.168.100.207; for fewer addresses write FIRST-LAST"`; got != want {
			t.Errorf("logged is\n%s\nwant\n%s", got, want)
		}
		if got, want := logged(t, &log, "pool overlaps the cluster"), `reason="pool \"web\": contains 192.168.100.194, the address of Node n1"`; got != want {
			t.Errorf("logged is\n%s\nwant\n%s", got, want)
		}
	})
}

// A router ID that is no address of the node's is logged once.
func TestMadeRouterID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		worker := reconcile.NewWorker()
		w := &scene{wake: worker.Wake, synced: true}
		w.snapshot.Nodes = []*cluster.Node{{Name: "n1", Addrs: []netip.Addr{netip.MustParseAddr("fd00:10::1")}}}
		a := reconcile.NewAgent(reconcile.AgentOptions{
			Verify: true, Node: "n1", Worker: worker, Cluster: w, Documents: w, FRR: router{w}, Routers: routers{w}, Reporter: reporter{w},
			Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- a.Run(ctx) }()
		w.write(goodConfig)
		w.change(func() {})
		stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		const want = "id=5.53.220.0"
		if got := logged(t, &log, "router ID made from the node's name, as the node has no IPv4 address"); got != want {
			t.Errorf("logged is %q, want %q", got, want)
		}
		if len(w.report.Peers) != 1 || !strings.Contains(w.report.Peers[0].Detail, "router ID 5.53.220.0 is made from the node's name") {
			t.Errorf("peers are %+v", w.report.Peers)
		}
	})
}
