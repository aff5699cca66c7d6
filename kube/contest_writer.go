// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
)

// statusWriter returns the field manager that wrote the status of an object last
// and is not Herald, empty if there is none, and the object's UID, empty if
// there is no such object.
func (c *Client) statusWriter(ctx context.Context, s subject) (writer string, uid types.UID, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	one := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", s.name).String()}
	if s.kind == serviceSubject {
		list, err := c.services(s.namespace).List(ctx, one)
		if err != nil {
			return "", "", fmt.Errorf("list services: %w", err)
		}
		for _, o := range list.Items {
			writer, uid = otherWriter(o.ManagedFields), o.UID
		}
		return writer, uid, nil
	}
	list, err := c.customResources(s.kind, s.namespace).List(ctx, one)
	if err != nil {
		return "", "", fmt.Errorf("list %s: %w", customKinds[s.kind].plural, err)
	}
	for _, o := range list.Items {
		writer, uid = otherWriter(o.ManagedFields), o.UID
	}
	return writer, uid, nil
}

// otherWriter returns the manager of the newest entry about a status that is not
// Herald.
func otherWriter(managed []metav1.ManagedFieldsEntry) string {
	var last metav1.ManagedFieldsEntry
	for _, m := range managed {
		if m.Subresource != "status" || slices.Contains([]string{fieldManager, agentManager}, m.Manager) {
			continue
		}
		if last.Manager == "" || last.Time == nil || m.Time != nil && last.Time.Before(m.Time) {
			last = m
		}
	}
	return last.Manager
}
