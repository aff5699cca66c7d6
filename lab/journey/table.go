// SPDX-License-Identifier: Apache-2.0

package journey

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// A Row is one step of several ways.
type Row struct {
	Name   string
	N      int           // ways that have it
	Median time.Duration // since the request was sent
	P99    time.Duration
	Since  time.Duration // the median since the step before it on each way
}

// Rows returns a row for each step, in the order of the medians.
func Rows(ways [][]Step) []Row {
	at, since := map[string][]time.Duration{}, map[string][]time.Duration{}
	for _, steps := range ways {
		before := time.Duration(0)
		for _, s := range steps {
			at[s.Name] = append(at[s.Name], s.At)
			since[s.Name] = append(since[s.Name], s.At-before)
			before = s.At
		}
	}
	var rows []Row
	for name, all := range at {
		rows = append(rows, Row{
			Name: name, N: len(all), Median: Quantile(all, 0.5), P99: Quantile(all, 0.99), Since: Quantile(since[name], 0.5),
		})
	}
	slices.SortFunc(rows, func(a, b Row) int { return cmp.Or(cmp.Compare(a.Median, b.Median), cmp.Compare(a.Name, b.Name)) })
	return rows
}

// Quantile returns the q-quantile by the nearest rank; 0 of nothing.
func Quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// Write writes a table of rows, in microseconds.
func Write(w io.Writer, title string, rows []Row) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "median µs\t99th percentile\tsince the step before\tn\t  "+title)
	for _, r := range rows {
		fmt.Fprintf(t, "%d\t%d\t%d\t%d\t  %s\n", r.Median.Microseconds(), r.P99.Microseconds(), r.Since.Microseconds(), r.N, r.Name)
	}
	return t.Flush()
}

// MarshalJSON writes microseconds.
func (r Row) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Step   string `json:"step"`
		N      int    `json:"n"`
		Median int64  `json:"medianMicroseconds"`
		P99    int64  `json:"p99Microseconds"`
		Since  int64  `json:"sinceStepBeforeMicroseconds"`
	}{r.Name, r.N, r.Median.Microseconds(), r.P99.Microseconds(), r.Since.Microseconds()})
}

// MarshalJSON writes microseconds.
func (s Step) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Step string `json:"step"`
		At   int64  `json:"atMicroseconds"`
	}{s.Name, s.At.Microseconds()})
}
