// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
)

// agentOwner returns what the state of an agent goes with: its pod, or the Node if
// that is nowhere to be seen; nil if neither is.
func (c *Client) agentOwner(ctx context.Context, namespace, pod, node string) (*metav1.OwnerReference, error) {
	o, err := c.ownPod(ctx, namespace, pod)
	if err != nil {
		return nil, err
	}
	if o != nil {
		return &metav1.OwnerReference{APIVersion: "v1", Kind: "Pod", Name: pod, UID: o.UID}, nil
	}
	return c.nodeOwner(ctx, node)
}

// agentsOwner returns what objects go with that outlive the pod of an agent: the owner of
// that pod, a DaemonSet. A pod that nobody owns is the owner itself. Without a pod the Node
// is; nil if that is not there either.
func (c *Client) agentsOwner(ctx context.Context, namespace, pod, node string) (*metav1.OwnerReference, error) {
	o, err := c.ownPod(ctx, namespace, pod)
	if err != nil {
		return nil, err
	}
	if o == nil {
		return c.nodeOwner(ctx, node)
	}
	if of := metav1.GetControllerOfNoCopy(o); of != nil {
		return &metav1.OwnerReference{APIVersion: of.APIVersion, Kind: of.Kind, Name: of.Name, UID: of.UID}, nil
	}
	return &metav1.OwnerReference{APIVersion: "v1", Kind: "Pod", Name: pod, UID: o.UID}, nil
}

// ownPod returns an agent's pod; nil if it has no name, is not there, or may not be read.
func (c *Client) ownPod(ctx context.Context, namespace, name string) (*corev1.Pod, error) {
	if name == "" {
		return nil, nil
	}
	var pod corev1.Pod
	err := c.core.Get().Namespace(namespace).Resource("pods").Name(name).Do(ctx).Into(&pod)
	switch {
	case err == nil:
		return &pod, nil
	case apierrors.IsNotFound(err), apierrors.IsForbidden(err):
		return nil, nil
	}
	return nil, fmt.Errorf("pod %s: %w", name, err)
}

// nodeOwner returns the Node as an owner; nil if it is not there.
func (c *Client) nodeOwner(ctx context.Context, node string) (*metav1.OwnerReference, error) {
	nodes, err := c.nodes().List(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", node).String()})
	if err != nil {
		return nil, fmt.Errorf("node %s: %w", node, err)
	}
	i := slices.IndexFunc(nodes.Items, func(n corev1.Node) bool { return n.Name == node })
	if i < 0 {
		return nil, nil
	}
	return &metav1.OwnerReference{APIVersion: "v1", Kind: "Node", Name: node, UID: nodes.Items[i].UID}, nil
}
