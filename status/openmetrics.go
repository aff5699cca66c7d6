// SPDX-License-Identifier: Apache-2.0

package status

import (
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
)

// OpenMetrics is the media type of OpenMetrics.
const OpenMetrics = "application/openmetrics-text"

// WantsOpenMetrics reports whether a client understands OpenMetrics, as Prometheus does.
func WantsOpenMetrics(h http.Header) bool {
	return strings.Contains(strings.Join(h.Values("Accept"), ","), OpenMetrics)
}

// NewMetricsHandler serves metrics as text, or as OpenMetrics to those who ask for it. Every
// metric has the same name in both.
func NewMetricsHandler(g prometheus.Gatherer) http.Handler {
	text := promhttp.HandlerFor(g, promhttp.HandlerOpts{})
	open := promhttp.HandlerFor(keepNames{g}, promhttp.HandlerOpts{EnableOpenMetrics: true})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if WantsOpenMetrics(r.Header) {
			open.ServeHTTP(w, r)
			return
		}
		text.ServeHTTP(w, r)
	})
}

// keepNames keeps MetalLB's names. A counter of OpenMetrics ends with _total, and the
// exposition would add that where MetalLB's name lacks it: its dashboards would find nothing.
// A metric of unknown type keeps its name.
type keepNames struct{ prometheus.Gatherer }

// Gather returns the metrics.
func (k keepNames) Gather() ([]*dto.MetricFamily, error) {
	all, err := k.Gatherer.Gather()
	for i, family := range all {
		if family.GetType() != dto.MetricType_COUNTER || strings.HasSuffix(family.GetName(), "_total") {
			continue
		}
		untyped := &dto.MetricFamily{Name: family.Name, Help: family.Help, Type: dto.MetricType_UNTYPED.Enum(), Unit: family.Unit}
		for _, m := range family.Metric {
			untyped.Metric = append(untyped.Metric, &dto.Metric{Label: m.Label, TimestampMs: m.TimestampMs, Untyped: &dto.Untyped{Value: m.Counter.Value}})
		}
		all[i] = untyped
	}
	return all, err
}
