// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/reconcile"
)

// Node returns what Herald needs to know of a Node.
func (c *Client) Node(ctx context.Context, name string) (*cluster.Node, error) {
	var n corev1.Node
	if err := c.core.Get().Resource("nodes").Name(name).Do(ctx).Into(&n); err != nil {
		return nil, fmt.Errorf("node %s: %w", name, err)
	}
	return reconcile.FromNode(&n), nil
}

// Drain has a node hand over what it announces; the zero Drain has it announce
// again.
func (c *Client) Drain(ctx context.Context, name string, d cluster.Drain) error {
	var value any // null removes the annotation
	if !d.IsZero() {
		value = d.String()
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"annotations": map[string]any{cluster.AnnotationDrain: value}},
	})
	if err != nil {
		return fmt.Errorf("node %s: %w", name, err)
	}
	err = c.core.Patch(types.MergePatchType).Resource("nodes").Name(name).Body(patch).Do(ctx).Error()
	if err != nil {
		return fmt.Errorf("node %s: %w", name, err)
	}
	return nil
}
