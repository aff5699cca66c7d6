// SPDX-License-Identifier: Apache-2.0

package sidecar

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/heraldlb/herald/status"
)

// NewHandler serves health and metrics. /livez is 200 if each daemon that is to run
// answers. /readyz is 200 if each daemon that the configuration needs answers and has
// read frr.conf, which bgpd does not while all routes are withdrawn.
func NewHandler(s *Supervisor, metrics *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", status.NewMetricsHandler(metrics))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		writeHealth(w, s.Health(), func(h Health) bool { return h.Up || h.Withdrawn || h.Idle })
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		writeHealth(w, s.Health(), func(h Health) bool { return h.Ready || h.Idle })
	})
	return mux
}

func writeHealth(w http.ResponseWriter, all []Health, good func(Health) bool) {
	var b strings.Builder
	code := http.StatusOK
	for _, h := range all {
		if !good(h) {
			code = http.StatusServiceUnavailable
		}
		fmt.Fprintf(&b, "%s: %s\n", h.Name, h)
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	fmt.Fprint(w, b.String())
}

// String returns the daemon's health in a word or two.
func (h Health) String() string {
	switch {
	case h.Withdrawn:
		return "stopped, no agent"
	case h.Idle:
		return "not needed"
	case !h.Up:
		return "no answer"
	case !h.Ready:
		return "loading"
	}
	return "ok"
}
