// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/kube"
	"github.com/heraldlb/herald/manifest"
	"github.com/heraldlb/herald/reconcile"
)

// overlaps returns findings about pools with addresses that the cluster itself uses. If the
// user may not read these, a note says so.
func (j checkJob) overlaps(cmd *cobra.Command, l loaded) []manifest.Finding {
	var configs []*config.Config
	for _, d := range l.documents {
		configs = append(configs, d.cfg)
	}
	configs = slices.DeleteFunc(append(configs, l.resolved), func(c *config.Config) bool { return c == nil || len(c.Pools) == 0 })
	if len(configs) == 0 {
		return nil
	}
	client, err := j.api.client()
	if err != nil {
		return nil // it was reached a moment ago
	}
	s, err := kube.ReadAll(cmd.Context(), client)
	if err != nil {
		return []manifest.Finding{{Path: clusterName, Severity: manifest.Note, ID: manifest.IDNotRead,
			Message: fmt.Sprintf("whether pools contain addresses of nodes, pods or cluster IPs is not known: %v", err)}}
	}
	var out []manifest.Finding
	for _, c := range configs {
		for _, text := range reconcile.Overlaps(c, s.Nodes, s.Services) {
			f := manifest.Finding{Path: clusterName, Severity: manifest.Warning, ID: manifest.IDUnlikely, Message: text}
			if !slices.Contains(out, f) {
				out = append(out, f)
			}
		}
	}
	return out
}
