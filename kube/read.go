// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/reconcile"
)

// Read returns the Services and Namespaces that a cluster has now. It is for
// programs that look once; a Watcher is for those that stay.
func Read(ctx context.Context, c *Client) (cluster.Snapshot, error) {
	s := cluster.Snapshot{Namespaces: map[string]map[string]string{}}
	err := pages(ctx, c.services(metav1.NamespaceAll), "Services", func(page *corev1.ServiceList) {
		for i := range page.Items {
			s.Services = append(s.Services, reconcile.FromService(&page.Items[i]))
		}
	})
	if err != nil {
		return s, err
	}
	err = pages(ctx, c.namespaces(), "Namespaces", func(page *corev1.NamespaceList) {
		for _, n := range page.Items {
			s.Namespaces[n.Name] = n.Labels
		}
	})
	slices.SortFunc(s.Services, func(a, b *cluster.Service) int { return a.Key.Compare(b.Key) })
	return s, err
}

// ReadAll returns what an agent decides by: what Read does, and the Nodes and the
// endpoints.
func ReadAll(ctx context.Context, c *Client) (cluster.Snapshot, error) {
	s, err := Read(ctx, c)
	if err != nil {
		return s, err
	}
	err = pages(ctx, c.nodes(), "Nodes", func(page *corev1.NodeList) {
		for i := range page.Items {
			s.Nodes = append(s.Nodes, reconcile.FromNode(&page.Items[i]))
		}
	})
	if err != nil {
		return s, err
	}
	s.Endpoints = map[cluster.Key][]cluster.Endpoint{}
	err = pages(ctx, c.endpointSlices(), "EndpointSlices", func(page *discoveryv1.EndpointSliceList) {
		for i := range page.Items {
			if key, endpoints := reconcile.FromEndpointSlice(&page.Items[i]); key != (cluster.Key{}) {
				s.Endpoints[key] = reconcile.MergeEndpoints(s.Endpoints[key], endpoints)
			}
		}
	})
	slices.SortFunc(s.Nodes, func(a, b *cluster.Node) int { return strings.Compare(a.Name, b.Name) })
	return s, err
}

// NodeNames returns the names of all Nodes.
func NodeNames(ctx context.Context, c *Client) ([]string, error) {
	var names []string
	err := pages(ctx, c.nodes(), "Nodes", func(page *corev1.NodeList) {
		for _, n := range page.Items {
			names = append(names, n.Name)
		}
	})
	return names, err
}

// NamespaceNames returns the names of all Namespaces.
func NamespaceNames(ctx context.Context, c *Client) ([]string, error) {
	var names []string
	err := pages(ctx, c.namespaces(), "Namespaces", func(page *corev1.NamespaceList) {
		for _, n := range page.Items {
			names = append(names, n.Name)
		}
	})
	return names, err
}

// ReadManifests returns the objects of a namespace that a configuration may be
// in, as lists in JSON: custom resources, ConfigMaps, and Secrets of the type that
// passwords are in. Custom resources that are not installed are left out.
func ReadManifests(ctx context.Context, c *Client, namespace string) ([][]byte, error) {
	var lists [][]byte
	for _, kind := range config.ResourceKinds {
		k := customKinds[kind]
		text, err := c.custom[k.version].Get().Namespace(namespace).Resource(k.plural).Do(ctx).Raw()
		switch {
		case apierrors.IsNotFound(err):
		case err != nil:
			return nil, fmt.Errorf("read %s: %w", k.plural, err)
		default:
			lists = append(lists, text)
		}
	}
	add := func(list any) error {
		text, err := json.Marshal(list)
		lists = append(lists, text)
		return err
	}
	maps, err := c.configMaps(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("read ConfigMaps: %w", err)
	}
	maps.TypeMeta = metav1.TypeMeta{Kind: "ConfigMapList", APIVersion: "v1"}
	if err := add(maps); err != nil {
		return nil, err
	}
	secrets, err := c.secrets(namespace).List(ctx, metav1.ListOptions{FieldSelector: "type=" + config.PasswordSecretType})
	if err != nil {
		return nil, fmt.Errorf("read Secrets: %w", err)
	}
	secrets.TypeMeta = metav1.TypeMeta{Kind: "SecretList", APIVersion: "v1"}
	return lists, add(secrets)
}

// pages reads all objects of a kind, some at a time.
func pages[L interface {
	runtime.Object
	GetContinue() string
}](ctx context.Context, r resource[L], kind string, each func(L)) error {
	for opts := (metav1.ListOptions{Limit: refreshPage}); ; {
		page, err := r.List(ctx, opts)
		if err != nil {
			return fmt.Errorf("read %s: %w", kind, err)
		}
		each(page)
		if opts.Continue = page.GetContinue(); opts.Continue == "" {
			return nil
		}
	}
}
