// SPDX-License-Identifier: Apache-2.0

package status

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// NewHandler serves the Report of a Board: /status as JSON, and /metrics for Prometheus.
// /healthz is 200 while the process answers, and /readyz while it does its work.
func NewHandler(b *Board, g prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", NewMetricsHandler(g))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "ok\n")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if why := b.Unready(); why != "" {
			http.Error(w, why, http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, "ok\n")
	})
	e := &encoder{}
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(e.encode(b.Report()))
	})
	return mux
}

// An encoder encodes a Report once, however often it is read.
type encoder struct {
	mu   sync.Mutex // guards the fields below
	last Report
	text []byte
}

// encode returns a Report as JSON. The text is not to be changed.
func (e *encoder) encode(r Report) []byte {
	r.Took = 0 // not in the text
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.text != nil && reflect.DeepEqual(r, e.last) {
		return e.text
	}
	var b bytes.Buffer
	j := json.NewEncoder(&b)
	j.SetIndent("", "  ")
	j.Encode(r)
	e.last, e.text = r, b.Bytes()
	return e.text
}
