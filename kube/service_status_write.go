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
	status, err := newContent(want.content)
	if err != nil {
		return result{}, err
	}
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
		Status: status,
	})
	if err != nil {
		return result{}, err
	}
	now, err := w.opts.Client.createCustom(ctx, agentManager, id.kind, w.opts.Namespace, body)
	switch {
	case apierrors.IsAlreadyExists(err):
		return w.patch(ctx, id, want.content)
	case err != nil:
		return result{}, fmt.Errorf("create %s: %w", id.name, err)
	case len(now.Status) == 0:
		w.setApart(id.kind, true)
		return w.patch(ctx, id, want.content)
	}
	w.setApart(id.kind, false)
	return result{version: now.ResourceVersion, has: objectSeen(now).content}, nil
}

// adopt makes an object belong to who owns those that are made now.
func (w *ServiceStatusWriter) adopt(ctx context.Context, id serviceStatusID) error {
	owners, err := w.owners(ctx)
	if err != nil {
		return err
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"ownerReferences": owners}})
	if err != nil {
		return err
	}
	if _, err := w.opts.Client.patchCustom(ctx, agentManager, id.kind, w.opts.Namespace, id.name, patch); err != nil {
		return fmt.Errorf("patch %s: %w", id.name, err)
	}
	return nil
}

// patch makes an object say what is wanted that says something else.
func (w *ServiceStatusWriter) patch(ctx context.Context, id serviceStatusID, want string) (result, error) {
	now, err := w.patchStatus(ctx, id, want)
	if apierrors.IsInvalid(err) { // it was another Service's, which cannot be changed
		return result{}, w.delete(ctx, id.kind, id.name)
	}
	if err != nil {
		return result{}, fmt.Errorf("patch %s: %w", id.name, err)
	}
	return result{version: now.ResourceVersion, has: objectSeen(now).content}, nil
}

// patchStatus writes the status of an object. With Herald's CRDs it is a part of the object
// like others, and a new object takes one request. With MetalLB's it is a subresource, and a
// request that writes the object leaves it as it is.
func (w *ServiceStatusWriter) patchStatus(ctx context.Context, id serviceStatusID, want string) (*customResource, error) {
	patch := []byte(`{"status":` + want + `}`)
	if !w.isApart(id.kind) {
		now, err := w.opts.Client.patchCustom(ctx, agentManager, id.kind, w.opts.Namespace, id.name, patch)
		if err != nil || len(now.Status) > 0 && objectSeen(now).content == want {
			return now, err
		}
		w.setApart(id.kind, true)
	}
	now, err := w.opts.Client.patchCustomStatus(ctx, agentManager, id.kind, w.opts.Namespace, id.name, patch)
	if !apierrors.IsNotFound(err) {
		return now, err
	}
	// There is no such object, or no subresource any more.
	w.setApart(id.kind, false)
	return w.opts.Client.patchCustom(ctx, agentManager, id.kind, w.opts.Namespace, id.name, patch)
}

// isApart reports whether the status of a kind is a subresource, as far as is known.
func (w *ServiceStatusWriter) isApart(kind string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.apart[kind]
}

func (w *ServiceStatusWriter) setApart(kind string, apart bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.apart[kind] = apart
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

// findOwner returns the owner of objects, as agentsOwner does; a zero one if there is none.
// It looks again if it last did so longer ago than that.
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
	owner, err := w.opts.Client.agentsOwner(ctx, w.opts.Namespace, w.opts.Pod, w.opts.Node)
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
