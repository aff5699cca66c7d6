// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/reconcile"
)

// Read returns the Services and Namespaces that a cluster has now. It is for
// programs that look once; a Watcher is for those that stay.
func Read(ctx context.Context, c *Client) (reconcile.Snapshot, error) {
	s := reconcile.Snapshot{Namespaces: map[string]map[string]string{}}
	for opts := (metav1.ListOptions{Limit: refreshPage}); ; {
		page, err := c.services(metav1.NamespaceAll).List(ctx, opts)
		if err != nil {
			return s, fmt.Errorf("read Services: %w", err)
		}
		for i := range page.Items {
			s.Services = append(s.Services, reconcile.FromService(&page.Items[i]))
		}
		if opts.Continue = page.Continue; opts.Continue == "" {
			break
		}
	}
	for opts := (metav1.ListOptions{Limit: refreshPage}); ; {
		page, err := c.namespaces().List(ctx, opts)
		if err != nil {
			return s, fmt.Errorf("read Namespaces: %w", err)
		}
		for _, n := range page.Items {
			s.Namespaces[n.Name] = n.Labels
		}
		if opts.Continue = page.Continue; opts.Continue == "" {
			break
		}
	}
	slices.SortFunc(s.Services, func(a, b *reconcile.Service) int { return a.Key.Compare(b.Key) })
	return s, nil
}
