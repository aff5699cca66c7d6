// SPDX-License-Identifier: Apache-2.0

package reconcile_test

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/source"
	"github.com/heraldlb/herald/status"
)

// Passwords of a configuration, accepted or refused for anything, are neither in /status, with
// all that has changed, nor in metrics.
func TestReportShowsNoPassword(t *testing.T) {
	const planted = "pl4nted"
	peer := func(rest string) string {
		return "peers: [{peer-address: 192.0.2.254, peer-asn: 64513, my-asn: 64512, password: " + planted + rest + "}]\n"
	}
	const pools = "address-pools: [{name: web, protocol: bgp, addresses: [198.51.100.1-198.51.100.1]}]\n"
	texts := []string{
		goodConfig,
		peer("") + pools,
		peer("-second") + pools,
		peer(", hold-time: "+planted) + pools,
		peer(", "+planted+": 1") + pools,
		"peers: [{peer-address: " + planted + "-no-address, peer-asn: 64513, my-asn: 64512, password: " + planted + "}]\n" + pools,
		"peers: [{password: [" + planted + "]}]\n" + pools,
		peer("") + pools + "password: " + planted + "\n",
		peer("-third") + pools,
	}
	// What the operator wrote where no secret belongs may be quoted.
	secret := func(text string) bool {
		return strings.Contains(text, planted+"-second") || strings.Contains(text, planted+"-third") || strings.Contains(text, "password: "+planted)
	}
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		journal := &status.Journal{}
		board := status.NewBoard(status.BoardOptions{Identity: status.Identity{Component: "herald-agent", Node: "n1"}, Registerer: registry, Journal: journal})
		worker := reconcile.NewWorker()
		w := &scene{wake: worker.Wake, synced: true}
		a := reconcile.NewAgent(reconcile.AgentOptions{
			Node: "n1", Worker: worker, Cluster: w, Documents: w, FRR: router{w}, Routers: routers{w}, Reporter: board, Logger: verifierLog(t), Journal: journal,
		})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- a.Run(ctx) }()
		handler := status.NewHandler(board, registry)
		for i, text := range texts {
			w.change(func() {
				w.doc = &source.Document{Source: "configmap x", Version: string(rune('a' + i)), Text: []byte(text)}
			})
			for _, path := range []string{"/status", "/metrics"} {
				page := httptest.NewRecorder()
				handler.ServeHTTP(page, httptest.NewRequest("GET", path, nil))
				if body := page.Body.String(); secret(body) || body == "" {
					t.Errorf("text %d: %s shows a password:\n%s", i, path, body)
				}
			}
		}
		if !strings.Contains(string(w.conf), planted+"-third") {
			t.Errorf("the last configuration is not in force:\n%s", w.conf)
		}
		refused := 0
		for _, c := range journal.List() {
			if c.Kind == status.ChangeConfiguration && c.After == "refused" {
				refused++
			}
		}
		if refused < 4 {
			t.Errorf("%d texts were refused: %+v", refused, journal.List())
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
