// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// A Node is a machine as a Node object describes it.
type Node struct {
	Name      string            // required
	Addresses []netip.Addr      // required: internal addresses, the preferred family first
	PodCIDRs  []netip.Prefix    // optional: its pods' addresses, one range a family
	Labels    map[string]string // optional: besides kubernetes.io/hostname
}

// CreateNode creates a Node that is Ready and whose network is available, as its
// kubelet and the network's controller would report.
func (c *Cluster) CreateNode(ctx context.Context, n Node) error {
	labels := map[string]string{corev1.LabelHostname: n.Name, corev1.LabelOSStable: "linux"}
	maps.Copy(labels, n.Labels)
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: n.Name, Labels: labels}}
	for i, p := range n.PodCIDRs {
		if i == 0 {
			node.Spec.PodCIDR = p.String()
		}
		node.Spec.PodCIDRs = append(node.Spec.PodCIDRs, p.String())
	}
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: n.Name}}
	for _, a := range n.Addresses {
		node.Status.Addresses = append(node.Status.Addresses,
			corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: a.String()})
	}
	node.Status.Conditions = []corev1.NodeCondition{
		nodeCondition(corev1.NodeReady, true),
		nodeCondition(corev1.NodeNetworkUnavailable, false),
	}
	if _, err := c.client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create Node %s: %w", n.Name, err)
	}
	return nil
}

// SetNodeCondition makes a condition of a Node, such as [corev1.NodeReady] or
// [corev1.NodeNetworkUnavailable], true or false.
func (c *Cluster) SetNodeCondition(ctx context.Context, node string, kind corev1.NodeConditionType, status bool) error {
	// Conditions are a list with the type as its key: others stay as they are.
	patch := map[string]any{"status": map[string]any{
		"conditions": []corev1.NodeCondition{nodeCondition(kind, status)},
	}}
	return c.patchNode(ctx, node, patch, "status")
}

func nodeCondition(kind corev1.NodeConditionType, status bool) corev1.NodeCondition {
	now := metav1.Now()
	condition := corev1.NodeCondition{
		Type:               kind,
		Status:             corev1.ConditionFalse,
		Reason:             "Lab",
		LastHeartbeatTime:  now,
		LastTransitionTime: now,
	}
	if status {
		condition.Status = corev1.ConditionTrue
	}
	return condition
}

// LabelNode sets a label of a Node.
func (c *Cluster) LabelNode(ctx context.Context, node, key, value string) error {
	return c.patchNodeLabel(ctx, node, key, value)
}

// UnlabelNode removes a label from a Node. One that it does not have is fine.
func (c *Cluster) UnlabelNode(ctx context.Context, node, key string) error {
	return c.patchNodeLabel(ctx, node, key, nil)
}

func (c *Cluster) patchNodeLabel(ctx context.Context, node, key string, value any) error {
	return c.patchNode(ctx, node, map[string]any{
		"metadata": map[string]any{"labels": map[string]any{key: value}},
	})
}

func (c *Cluster) patchNode(ctx context.Context, node string, patch any, subresources ...string) error {
	body, err := json.Marshal(patch)
	if err != nil {
		return fmt.Errorf("patch Node %s: %w", node, err)
	}
	_, err = c.client.CoreV1().Nodes().Patch(ctx, node, types.StrategicMergePatchType, body, metav1.PatchOptions{}, subresources...)
	if err != nil {
		return fmt.Errorf("patch Node %s: %w", node, err)
	}
	return nil
}
