// SPDX-License-Identifier: Apache-2.0

package status

import "github.com/prometheus/client_golang/prometheus"

// Writes counts the requests to the API server that change something. It does not grow
// while nothing changes.
type Writes struct{ total *prometheus.CounterVec }

// NewWrites returns a Writes at zero, and registers its metric.
func NewWrites(r prometheus.Registerer) *Writes {
	w := &Writes{prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "herald_api_writes_total",
		Help: "Number of requests to the API server that were to change something, by resource and verb.",
	}, []string{"resource", "verb"})}
	r.MustRegister(w.total)
	return w
}

// Count counts a request. Any goroutine may call it.
func (w *Writes) Count(resource, verb string) { w.total.WithLabelValues(resource, verb).Inc() }
