// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// create makes an object that says what is wanted.
func (w *ServiceStatusWriter) create(ctx context.Context, id serviceStatusID, want serviceStatusWant) (result, error) {
	owners, err := w.owners(ctx)
	if err != nil {
		return result{}, err
	}
	// Its status is a subresource, which is written after it.
	body, err := json.Marshal(customResource{
		TypeMeta: metav1.TypeMeta{APIVersion: customGroup + "/v1beta1", Kind: id.kind},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: w.opts.Namespace,
			Name:      id.name,
			Labels: map[string]string{
				labelNode: labelValue(w.opts.Node), labelServiceName: want.service.Name, labelServiceNamespace: want.service.Namespace,
			},
			OwnerReferences: owners,
		},
	})
	if err != nil {
		return result{}, err
	}
	if err := w.opts.Client.createCustom(ctx, id.kind, w.opts.Namespace, body); err != nil && !apierrors.IsAlreadyExists(err) {
		return result{}, fmt.Errorf("create %s: %w", id.name, err)
	}
	return w.patch(ctx, id, want.content)
}

// adopt makes an object belong to the agent's pod, or to its Node.
func (w *ServiceStatusWriter) adopt(ctx context.Context, id serviceStatusID) error {
	owners, err := w.owners(ctx)
	if err != nil {
		return err
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"ownerReferences": owners}})
	if err != nil {
		return err
	}
	if err := w.opts.Client.patchCustom(ctx, agentManager, id.kind, w.opts.Namespace, id.name, patch); err != nil {
		return fmt.Errorf("patch %s: %w", id.name, err)
	}
	return nil
}

// patch makes an object say what is wanted.
func (w *ServiceStatusWriter) patch(ctx context.Context, id serviceStatusID, content string) (result, error) {
	now, err := w.opts.Client.patchCustomStatus(ctx, agentManager, id.kind, w.opts.Namespace, id.name, []byte(`{"status":`+content+`}`))
	if apierrors.IsInvalid(err) { // it was another Service's, which cannot be changed
		return result{}, w.delete(ctx, id.kind, id.name)
	}
	if err != nil {
		return result{}, fmt.Errorf("patch %s: %w", id.name, err)
	}
	return result{version: now.ResourceVersion, has: objectSeen(now).content}, nil
}

// delete removes an object.
func (w *ServiceStatusWriter) delete(ctx context.Context, kind, name string) error {
	if err := w.opts.Client.deleteCustom(ctx, kind, w.opts.Namespace, name); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	return nil
}

// owners returns the owners of an object that is written now.
func (w *ServiceStatusWriter) owners(ctx context.Context) ([]metav1.OwnerReference, error) {
	owner, err := w.findOwner(ctx, ownerFresh)
	if err != nil || owner.UID == "" {
		return nil, err
	}
	return []metav1.OwnerReference{*owner}, nil
}

// findOwner returns the agent's pod, or the Node if there is no such pod, or no
// owner. It looks for them if it last did so longer ago than that.
func (w *ServiceStatusWriter) findOwner(ctx context.Context, fresh time.Duration) (*metav1.OwnerReference, error) {
	w.mu.Lock()
	owner, at := w.owner, w.ownerAt
	w.mu.Unlock()
	now := time.Now()
	if owner != nil && now.Sub(at) <= fresh {
		return owner, nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	owner, err := w.opts.Client.agentOwner(ctx, w.opts.Namespace, w.opts.Pod, w.opts.Node)
	if err != nil {
		return nil, err
	}
	if owner == nil {
		owner = &metav1.OwnerReference{} // there is none
	}
	w.mu.Lock()
	w.owner, w.ownerAt = owner, now
	w.mu.Unlock()
	return owner, nil
}
