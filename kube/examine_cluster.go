// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/heraldlb/herald/doctor"
)

// reviewsAtOnce is how many rights Examine asks about at once.
const reviewsAtOnce = 16

// webhook reads MetalLB's webhooks of Herald's resources.
func (e *examination) webhook(ctx context.Context) error {
	text, err := e.raw(ctx, "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/"+doctor.WebhookName, nil)
	if apierrors.IsNotFound(err) {
		return nil
	}
	var o struct {
		Webhooks []struct {
			FailurePolicy string
			ClientConfig  struct {
				URL     string
				Service struct{ Namespace, Name string }
			}
			Rules []struct{ APIGroups []string }
		}
	}
	if err == nil {
		err = json.Unmarshal(text, &o)
	}
	if err != nil {
		return may(err, "get", "validatingwebhookconfigurations")
	}
	for _, w := range o.Webhooks {
		about := false
		for _, r := range w.Rules {
			about = about || slices.Contains(r.APIGroups, customGroup) || slices.Contains(r.APIGroups, "*")
		}
		if !about {
			continue
		}
		if e.facts.Webhook == nil {
			e.facts.Webhook = &doctor.Webhook{Service: w.ClientConfig.URL}
			if s := w.ClientConfig.Service; s.Name != "" {
				e.facts.Webhook.Service = "Service " + s.Namespace + "/" + s.Name
			}
		}
		e.facts.Webhook.Fail = e.facts.Webhook.Fail || w.FailurePolicy != "Ignore"
	}
	return nil
}

// definitions reads those that are wanted.
func (e *examination) definitions(ctx context.Context) error {
	for _, want := range e.opts.Wanted {
		text, err := e.raw(ctx, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/"+want.Name, nil)
		if apierrors.IsNotFound(err) {
			continue
		}
		var d doctor.Definition
		if err == nil {
			d, err = doctor.ReadDefinition(text)
		}
		if err != nil {
			return may(err, "get", "customresourcedefinitions")
		}
		e.facts.Definitions = append(e.facts.Definitions, d)
	}
	return nil
}

// proxy reads the configuration of kube-proxy where kubeadm keeps it.
func (e *examination) proxy(ctx context.Context) error {
	m, err := e.client.configMapNamed(ctx, metav1.NamespaceSystem, "kube-proxy")
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return may(err, "get", "it")
	}
	var c struct {
		Mode string
		IPVS struct{ StrictARP bool }
	}
	text, ok := m.Data["config.conf"]
	if !ok {
		return nil
	}
	if err := yaml.Unmarshal([]byte(text), &c); err != nil {
		return fmt.Errorf("config.conf: %w", err)
	}
	e.facts.Proxy = &doctor.Proxy{Mode: c.Mode, StrictARP: c.IPVS.StrictARP}
	return nil
}

// cilium reads the configuration of Cilium, if there is one.
func (e *examination) cilium(ctx context.Context) error {
	for _, w := range e.sets {
		if w.Labels["k8s-app"] != "cilium" {
			continue
		}
		m, err := e.client.configMapNamed(ctx, w.Namespace, "cilium-config")
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return may(err, "get", "it")
		}
		e.facts.Cilium = m.Data
		return nil
	}
	return nil
}

// rights asks the API server what Herald's service accounts may not do.
func (e *examination) rights(ctx context.Context) error {
	type question struct {
		account string
		right   doctor.Right
	}
	var all []question
	for _, r := range e.opts.Rights {
		for _, account := range e.accounts[r.Component] {
			if r.Needed(e.opts.Input.Silent) {
				all = append(all, question{account, r})
			}
		}
	}
	denied := make([]bool, len(all))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(reviewsAtOnce)
	for i, q := range all {
		g.Go(func() error {
			allowed, err := e.allowed(ctx, q.account, q.right)
			denied[i] = !allowed
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return may(err, "create", "subjectaccessreviews")
	}
	for i, q := range all {
		if denied[i] {
			e.facts.Denied = append(e.facts.Denied, doctor.Denied{Account: q.account, Right: q.right})
		}
	}
	return nil
}

// allowed asks whether a service account of Herald's namespace has a right.
func (e *examination) allowed(ctx context.Context, account string, r doctor.Right) (bool, error) {
	namespace := e.opts.Input.Namespace
	resource, subresource, _ := strings.Cut(r.Resource, "/")
	ask := authorizationv1.SubjectAccessReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "authorization.k8s.io/v1", Kind: "SubjectAccessReview"},
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User:   "system:serviceaccount:" + namespace + ":" + account,
			Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"},
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Group: r.Group, Resource: resource, Subresource: subresource, Name: r.Name, Verb: r.Verb,
			},
		},
	}
	if r.Namespaced {
		ask.Spec.ResourceAttributes.Namespace = namespace
	}
	if err := e.client.ask(ctx, accessReviews, &ask); err != nil {
		return false, err
	}
	return ask.Status.Allowed && !ask.Status.Denied, nil
}
