// SPDX-License-Identifier: Apache-2.0

package status

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"sync"
	"time"

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
		r := b.Full()
		now := r.Now
		r.Now = time.Time{}
		writeAt(w, now, e.encode(r))
	})
	return mux
}

// writeAt writes a page that says when it was made. The text is that of a Report without a
// time, so that the same text serves until something else changes.
func writeAt(w io.Writer, now time.Time, text []byte) {
	rest, ok := bytes.CutPrefix(text, []byte("{"))
	if stamp, err := now.MarshalJSON(); ok && err == nil {
		fmt.Fprintf(w, "{\n  \"now\": %s,", stamp)
		text = rest
	}
	w.Write(text)
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
