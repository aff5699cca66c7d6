// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/kube/object"
)

var nodes = kind[*corev1.Node, string, *cluster.Node]{
	name:    "Nodes",
	from:    func(c *Client) lister { return c.nodes() },
	strip:   stripNode,
	row:     object.FromNode,
	key:     func(n *cluster.Node) string { return n.Name },
	compare: strings.Compare,
}

// stripNode drops what the row of a Node does not need. The images of a node are
// most of it.
func stripNode(n *corev1.Node) {
	for key := range n.Annotations {
		if !config.IsAnnotation(key) {
			delete(n.Annotations, key)
		}
	}
	n.Status.Images = nil
	n.Status.VolumesInUse = nil
	n.Status.VolumesAttached = nil
}

// Node returns what Herald needs to know of a Node.
func (c *Client) Node(ctx context.Context, name string) (*cluster.Node, error) {
	var n corev1.Node
	if err := c.core.Get().Resource("nodes").Name(name).Do(ctx).Into(&n); err != nil {
		return nil, fmt.Errorf("node %s: %w", name, err)
	}
	return object.FromNode(&n), nil
}

// Drain asks a node to drain; the zero Drain ends that.
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
