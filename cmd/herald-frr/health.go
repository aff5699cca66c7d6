// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// newHandler serves what Kubernetes and Prometheus ask for. /livez is about each
// daemon that is to run: it answers. /readyz is about each daemon: it answers, has
// read frr.conf, and is not kept from running because no agent is there.
func newHandler(s *supervisor, metrics *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, s.conditions(), func(c condition) bool { return c.Up || c.Withdrawn })
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, s.conditions(), func(c condition) bool { return c.Ready })
	})
	return mux
}

func answer(w http.ResponseWriter, all []condition, good func(condition) bool) {
	var b strings.Builder
	code := http.StatusOK
	for _, c := range all {
		if !good(c) {
			code = http.StatusServiceUnavailable
		}
		fmt.Fprintf(&b, "%s: %s\n", c.Name, c)
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	fmt.Fprint(w, b.String())
}

// String says how the daemon is in a word or two.
func (c condition) String() string {
	switch {
	case c.Withdrawn:
		return "stopped, no agent"
	case !c.Up:
		return "no answer"
	case !c.Ready:
		return "loading"
	}
	return "ok"
}
