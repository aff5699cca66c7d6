// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Writes returns how many requests Herald's daemons have sent to the API server that
// were to change something, by the labels of the metric that counts them. Those that
// are due by time alone, for the Lease, are left out.
func (s *Stack) Writes(ctx context.Context) (map[string]int, error) {
	by := map[string]int{}
	for _, d := range slices.Concat(s.Controllers, s.Agents) {
		page, err := d.Get(ctx, "/metrics")
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(page) {
			labels, ok := strings.CutPrefix(line, "herald_api_writes_total{")
			if !ok || strings.Contains(labels, `"leases"`) {
				continue
			}
			labels, value, _ := strings.Cut(strings.TrimSpace(labels), "} ")
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return nil, fmt.Errorf("metrics of %s: %w", d.Name, err)
			}
			by[labels] += int(n)
		}
	}
	return by, nil
}
