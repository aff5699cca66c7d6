// SPDX-License-Identifier: Apache-2.0

package status

import (
	"encoding/json"
	"io"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// NewHandler serves the Report of a Board: /status as JSON and /metrics for Prometheus.
// /healthz is 200 while the process answers, and /readyz while it does its work.
func NewHandler(b *Board, g prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(g, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "ok\n")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		r := b.Report()
		switch {
		case r.Ready():
			io.WriteString(w, "ok\n")
		case !r.Synced:
			http.Error(w, "not synced with the API server", http.StatusServiceUnavailable)
		default:
			http.Error(w, "configuration not applied to FRR: "+r.FRR.Error, http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		e.Encode(b.Report())
	})
	return mux
}
