// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"

	"github.com/heraldlb/herald/lab/process"
)

// fieldManager owns the fields that the lab applies.
const fieldManager = "herald-lab"

// servedTimeout bounds the wait for a custom resource to be served after its
// definition was applied.
const servedTimeout = 10 * time.Second

// Apply applies manifests, YAML documents with --- between them, in their order,
// as kubectl apply --server-side --force-conflicts does. A custom resource may
// follow its definition at once.
func (c *Cluster) Apply(ctx context.Context, manifests string) error {
	return c.each(ctx, manifests, func(r dynamic.ResourceInterface, o *unstructured.Unstructured) error {
		_, err := r.Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: fieldManager, Force: true})
		if err != nil {
			return fmt.Errorf("apply %s %s: %w", o.GetKind(), o.GetName(), err)
		}
		return nil
	})
}

// Validate has the API server check manifests as Apply would apply them, without
// applying them. It returns what the API server would have stored, in their order.
func (c *Cluster) Validate(ctx context.Context, manifests string) ([]*unstructured.Unstructured, error) {
	var stored []*unstructured.Unstructured
	err := c.each(ctx, manifests, func(r dynamic.ResourceInterface, o *unstructured.Unstructured) error {
		opts := metav1.ApplyOptions{FieldManager: fieldManager, Force: true, DryRun: []string{metav1.DryRunAll}}
		s, err := r.Apply(ctx, o.GetName(), o, opts)
		if err != nil {
			return fmt.Errorf("validate %s %s: %w", o.GetKind(), o.GetName(), err)
		}
		stored = append(stored, s)
		return nil
	})
	return stored, err
}

// Delete deletes the objects of manifests. Those that do not exist are fine.
func (c *Cluster) Delete(ctx context.Context, manifests string) error {
	return c.each(ctx, manifests, func(r dynamic.ResourceInterface, o *unstructured.Unstructured) error {
		if err := r.Delete(ctx, o.GetName(), metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("delete %s %s: %w", o.GetKind(), o.GetName(), err)
		}
		return nil
	})
}

// each calls fn for every object of manifests, with the client for its kind.
func (c *Cluster) each(ctx context.Context, manifests string, fn func(dynamic.ResourceInterface, *unstructured.Unstructured) error) error {
	documents := yaml.NewYAMLReader(bufio.NewReader(strings.NewReader(manifests)))
	for i := 0; ; i++ {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("document %d: %w", i, err)
		}
		o := new(unstructured.Unstructured)
		if err := yaml.Unmarshal(document, &o.Object); err != nil {
			return fmt.Errorf("document %d: %w", i, err)
		}
		if len(o.Object) == 0 {
			continue // nothing but comments
		}
		resource, err := c.resource(ctx, o.GroupVersionKind(), o.GetNamespace())
		if err != nil {
			return fmt.Errorf("document %d: %s %s: %w", i, o.GetKind(), o.GetName(), err)
		}
		if err := fn(resource, o); err != nil {
			return fmt.Errorf("document %d: %w", i, err)
		}
	}
}

// resource returns the client for a kind, which the API server may have begun to
// serve a moment ago, or be about to.
func (c *Cluster) resource(ctx context.Context, kind schema.GroupVersionKind, namespace string) (dynamic.ResourceInterface, error) {
	ctx, cancel := context.WithTimeout(ctx, servedTimeout)
	defer cancel()
	var mapping *meta.RESTMapping
	err := process.Poll(ctx, pollInterval, func() (err error) {
		mapping, err = c.mapper.RESTMapping(kind.GroupKind(), kind.Version)
		if meta.IsNoMatchError(err) {
			c.mapper.Reset() // forget what was not served
		}
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case mapping.Scope.Name() == meta.RESTScopeNameRoot:
		return c.dynamic.Resource(mapping.Resource), nil
	default:
		return c.dynamic.Resource(mapping.Resource).Namespace(cmp.Or(namespace, corev1.NamespaceDefault)), nil
	}
}

// CreateNamespace creates a namespace. One that exists is fine.
func (c *Cluster) CreateNamespace(ctx context.Context, name string) error {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	_, err := c.client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create namespace %s: %w", name, err)
	}
	return nil
}

// ApplyConfigMap makes a ConfigMap have exactly this data.
func (c *Cluster) ApplyConfigMap(ctx context.Context, namespace, name string, data map[string]string) error {
	configMaps := c.client.CoreV1().ConfigMaps(namespace)
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: data}
	_, err := configMaps.Update(ctx, cm, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		_, err = configMaps.Create(ctx, cm, metav1.CreateOptions{})
	}
	if err != nil {
		return fmt.Errorf("apply ConfigMap %s/%s: %w", namespace, name, err)
	}
	return nil
}
