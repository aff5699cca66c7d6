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

// carryOut writes one object.
func (s *ServiceStatus) carryOut(ctx context.Context, t serviceStatusTask) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	c := s.opts.Client
	if t.want == "" {
		if err := c.deleteCustom(ctx, t.kind, s.opts.Namespace, t.name); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("delete %s: %w", t.name, err)
		}
		if t.stray {
			have, _ := s.seen.get(t.kind, t.name)
			s.opts.Contests.wrote(s.strays(t), have.version, "")
		}
		s.forget(t)
		return nil
	}
	if t.create {
		if err := s.create(ctx, t); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("create %s: %w", t.name, err)
		}
	}
	if t.adopt {
		patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"ownerReferences": s.owners()}})
		if err != nil {
			return err
		}
		if err := c.patchCustom(ctx, agentManager, t.kind, s.opts.Namespace, t.name, patch); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("patch %s: %w", t.name, err)
		}
	}
	if !t.patch {
		return nil
	}
	now, err := c.patchCustomStatus(ctx, agentManager, t.kind, s.opts.Namespace, t.name, []byte(`{"status":`+t.want+`}`))
	switch {
	case apierrors.IsNotFound(err): // somebody deleted it, and the next round creates it
		delete(s.tried, t.name)
		return nil
	case apierrors.IsInvalid(err): // it was another Service's, which cannot be changed
		err = c.deleteCustom(ctx, t.kind, s.opts.Namespace, t.name)
	}
	if err != nil {
		return fmt.Errorf("patch %s: %w", t.name, err)
	}
	s.tried[t.name] = attempt{t.want, time.Now()}
	if now.ResourceVersion != "" {
		s.opts.Contests.wrote(s.subject(t.kind, t.name), now.ResourceVersion, objectSeen(now).content)
	}
	if t.create && t.kind == kindL2Status && s.opts.Gone != nil {
		return s.succeed(ctx, t)
	}
	return nil
}

// forget takes note that an object was deleted.
func (s *ServiceStatus) forget(t serviceStatusTask) {
	delete(s.unwanted, t.name)
	delete(s.tried, t.name)
	s.opts.Contests.forget(s.subject(t.kind, t.name))
	s.seen.forget(t.kind, t.name)
}

// create makes an object, without a status.
func (s *ServiceStatus) create(ctx context.Context, t serviceStatusTask) error {
	body, err := json.Marshal(customResource{
		TypeMeta: metav1.TypeMeta{APIVersion: customGroup + "/v1beta1", Kind: t.kind},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: s.opts.Namespace,
			Name:      t.name,
			Labels: map[string]string{
				labelNode: labelValue(s.opts.Node), labelServiceName: t.service.Name, labelServiceNamespace: t.service.Namespace,
			},
			OwnerReferences: s.owners(),
		},
	})
	if err != nil {
		return err
	}
	return s.opts.Client.createCustom(ctx, t.kind, s.opts.Namespace, body)
}

// succeed deletes what agents that are not alive any more have left behind about
// a Service that this one now answers for.
func (s *ServiceStatus) succeed(ctx context.Context, t serviceStatusTask) error {
	others, err := s.opts.Client.customResources(t.kind, s.opts.Namespace).List(ctx, metav1.ListOptions{
		LabelSelector: labelServiceName + "=" + t.service.Name + "," + labelServiceNamespace + "=" + t.service.Namespace,
	})
	if err != nil {
		return fmt.Errorf("list statuses of %s: %w", t.service, err)
	}
	for _, o := range others.Items {
		var have serviceStatus
		_ = json.Unmarshal(o.Status, &have) // nobody's, then
		if o.Name == t.name || have.Node == s.opts.Node || !s.opts.Gone(have.Node) {
			continue
		}
		if err := s.opts.Client.deleteCustom(ctx, t.kind, s.opts.Namespace, o.Name); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("delete %s: %w", o.Name, err)
		}
	}
	return nil
}

// owners returns what the objects go with.
func (s *ServiceStatus) owners() []metav1.OwnerReference {
	if s.owner == nil || s.owner.UID == "" {
		return nil
	}
	return []metav1.OwnerReference{*s.owner}
}

// findOwner looks for the agent's pod, or for the Node if that is nowhere to be
// seen.
func (s *ServiceStatus) findOwner(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	owner, err := s.opts.Client.agentOwner(ctx, s.opts.Namespace, s.opts.Pod, s.opts.Node)
	if err != nil {
		return err
	}
	if owner == nil {
		owner = &metav1.OwnerReference{} // nobody
	}
	s.owner = owner
	return nil
}
