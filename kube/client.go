// SPDX-License-Identifier: Apache-2.0

// Package kube reads from the API server and writes to it. A mirror holds rows of what
// was read; a keeper writes statuses until they are as wanted.
package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// NewConfig returns how to reach the API server: by the kubeconfig file, or as a pod in
// the cluster where kubeconfig is empty. Agent is the program's name in the API server's
// audit log.
func NewConfig(kubeconfig, agent string) (*rest.Config, error) {
	if kubeconfig == "" {
		// Clientcmd would do the same, and log advice about flags of its own.
		c, err := rest.InClusterConfig()
		if errors.Is(err, rest.ErrNotInCluster) {
			return nil, errors.New("API server: this is no pod of a cluster; name a kubeconfig file with --kubeconfig")
		}
		if err != nil {
			return nil, fmt.Errorf("API server: %w", err)
		}
		return configure(c, agent), nil
	}
	c, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("API server: %w", err)
	}
	return configure(c, agent), nil
}

// NewUserConfig is NewConfig for users of kubectl, whose files and flags are in a loader.
func NewUserConfig(loader clientcmd.ClientConfig, agent string) (*rest.Config, error) {
	c, err := loader.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("API server: %w", err)
	}
	return configure(c, agent), nil
}

func configure(c *rest.Config, agent string) *rest.Config {
	c.UserAgent = agent
	// A burst of Services must not wait here. The API server's own fairness
	// protects it.
	c.QPS = -1
	c.ContentType = runtime.ContentTypeProtobuf
	c.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	return c
}

// CountWrites sets a function that is called, by any goroutine, for every request that
// writes. Reviews do not: the API server stores nothing. Resource and verb are as RBAC names them.
func CountWrites(c *rest.Config, count func(resource, verb string)) {
	c.Wrap(func(next http.RoundTripper) http.RoundTripper { return counter{next, count} })
}

// A counter counts requests.
type counter struct {
	http.RoundTripper
	count func(resource, verb string)
}

// RoundTrip counts a request and sends it.
func (c counter) RoundTrip(r *http.Request) (*http.Response, error) {
	verb := map[string]string{
		http.MethodPost: "create", http.MethodPut: "update", http.MethodPatch: "patch", http.MethodDelete: "delete",
	}[r.Method]
	if verb != "" && r.URL.Path != tokenReviews && r.URL.Path != accessReviews {
		c.count(resourceOf(r.URL.Path), verb)
	}
	return c.RoundTripper.RoundTrip(r)
}

// resourceOf returns the resource in a path, with its subresource.
func resourceOf(path string) string {
	_, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/") // api or apis
	parts := strings.Split(rest, "/")
	if strings.HasPrefix(path, "/apis/") {
		parts = parts[1:] // the group
	}
	if len(parts) > 0 {
		parts = parts[1:] // the version
	}
	if len(parts) > 2 && parts[0] == "namespaces" {
		parts = parts[2:]
	}
	switch len(parts) {
	case 0:
		return ""
	case 3:
		return parts[0] + "/" + parts[2]
	}
	return parts[0]
}

// A Client reads and writes the few kinds of objects that Herald needs. The library's
// own client knows all kinds of all APIs, which would be most of an agent's memory.
type Client struct {
	core, discovery rest.Interface
	custom          map[string]rest.Interface // MetalLB's resources, by version
	parameters      runtime.ParameterCodec

	reader   atomic.Pointer[readerToken] // for agents whose status needs one
	hearings hearings
	restored restoreLog // lists that were older than what was known
}

// NewClient returns a Client for what NewConfig made.
func NewClient(config *rest.Config) (*Client, error) {
	scheme := runtime.NewScheme()
	scheme.AddKnownTypes(corev1.SchemeGroupVersion,
		&corev1.Service{}, &corev1.ServiceList{},
		&corev1.Node{}, &corev1.NodeList{},
		&corev1.Namespace{}, &corev1.NamespaceList{},
		&corev1.ConfigMap{}, &corev1.ConfigMapList{},
		&corev1.Event{}, &corev1.EventList{},
		&corev1.Secret{}, &corev1.SecretList{},
		&corev1.Pod{}, &corev1.PodList{})
	scheme.AddKnownTypes(discoveryv1.SchemeGroupVersion, &discoveryv1.EndpointSlice{}, &discoveryv1.EndpointSliceList{})
	metav1.AddToGroupVersion(scheme, corev1.SchemeGroupVersion)
	metav1.AddToGroupVersion(scheme, discoveryv1.SchemeGroupVersion)
	addCustomResources(scheme)

	config = rest.CopyConfig(config)
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	h, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("API server: %w", err)
	}
	// All APIs share the connection.
	api := func(path string, version schema.GroupVersion) (rest.Interface, error) {
		c := rest.CopyConfig(config)
		c.APIPath, c.GroupVersion = path, &version
		r, err := rest.RESTClientForConfigAndClient(c, h)
		if err != nil {
			return nil, fmt.Errorf("API server: %s: %w", version, err)
		}
		return r, nil
	}
	c := &Client{parameters: runtime.NewParameterCodec(scheme)}
	if c.core, err = api("/api", corev1.SchemeGroupVersion); err != nil {
		return nil, err
	}
	if c.discovery, err = api("/apis", discoveryv1.SchemeGroupVersion); err != nil {
		return nil, err
	}
	// The API server has custom resources in JSON alone.
	config.ContentType, config.AcceptContentTypes = runtime.ContentTypeJSON, runtime.ContentTypeJSON
	c.custom = make(map[string]rest.Interface)
	for _, version := range customVersions {
		if c.custom[version], err = api("/apis", schema.GroupVersion{Group: customGroup, Version: version}); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *Client) services(namespace string) resource[*corev1.ServiceList] {
	return listOf[corev1.ServiceList](c, c.core, "services", namespace)
}

func (c *Client) nodes() resource[*corev1.NodeList] {
	return listOf[corev1.NodeList](c, c.core, "nodes", "")
}

func (c *Client) namespaces() resource[*corev1.NamespaceList] {
	return listOf[corev1.NamespaceList](c, c.core, "namespaces", "")
}

func (c *Client) configMaps(namespace string) resource[*corev1.ConfigMapList] {
	return listOf[corev1.ConfigMapList](c, c.core, "configmaps", namespace)
}

// configMapNamed returns a ConfigMap.
func (c *Client) configMapNamed(ctx context.Context, namespace, name string) (*corev1.ConfigMap, error) {
	m := new(corev1.ConfigMap)
	return m, c.core.Get().Namespace(namespace).Resource("configmaps").Name(name).Do(ctx).Into(m)
}

func (c *Client) secrets(namespace string) resource[*corev1.SecretList] {
	return listOf[corev1.SecretList](c, c.core, "secrets", namespace)
}

func (c *Client) pods(namespace string) resource[*corev1.PodList] {
	return listOf[corev1.PodList](c, c.core, "pods", namespace)
}

func (c *Client) endpointSlices() resource[*discoveryv1.EndpointSliceList] {
	return listOf[discoveryv1.EndpointSliceList](c, c.discovery, "endpointslices", "")
}

// createEvent writes an event.
func (c *Client) createEvent(ctx context.Context, e *corev1.Event) (*corev1.Event, error) {
	now := new(corev1.Event)
	return now, c.core.Post().Namespace(e.Namespace).Resource("events").Body(e).Do(ctx).Into(now)
}

// patchEvent applies a strategic merge patch to an event.
func (c *Client) patchEvent(ctx context.Context, namespace, name string, patch []byte) (*corev1.Event, error) {
	now := new(corev1.Event)
	return now, c.core.Patch(types.StrategicMergePatchType).Namespace(namespace).Resource("events").Name(name).Body(patch).Do(ctx).Into(now)
}

// patchServiceStatus applies a strategic merge patch to the status subresource of a
// Service, and returns the patched Service. What is written has no unknown fields, and the
// API server need not look for any.
func (c *Client) patchServiceStatus(ctx context.Context, namespace, name string, patch []byte) (*corev1.Service, error) {
	svc := new(corev1.Service)
	return svc, c.core.Patch(types.StrategicMergePatchType).Namespace(namespace).Resource("services").Name(name).SubResource("status").
		VersionedParams(&metav1.PatchOptions{FieldManager: fieldManager, FieldValidation: metav1.FieldValidationIgnore}, c.parameters).Body(patch).Do(ctx).Into(svc)
}

// A resource is all objects of one kind, in one namespace or in all.
type resource[L runtime.Object] struct {
	client    *Client
	api       rest.Interface
	name      string // in paths
	namespace string // empty: all
	newList   func() L

	fields, labels string // selectors; empty: all
}

// listOf returns the objects whose lists are of type T.
func listOf[T any, L interface {
	*T
	runtime.Object
}](c *Client, api rest.Interface, name, namespace string) resource[L] {
	return resource[L]{client: c, api: api, name: name, namespace: namespace, newList: func() L { return new(T) }}
}

// named returns the object of a name alone.
func (r resource[L]) named(name string) resource[L] {
	r.fields = fields.OneTermEqualSelector("metadata.name", name).String()
	return r
}

// labelled returns the objects that a label selector selects.
func (r resource[L]) labelled(selector string) resource[L] {
	r.labels = selector
	return r
}

// kind returns the name of the kind, as RBAC has it.
func (r resource[L]) kind() string { return r.name }

// list returns the objects that there are, for a mirror.
func (r resource[L]) list(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
	return r.List(ctx, opts)
}

// List returns the objects that there are.
func (r resource[L]) List(ctx context.Context, opts metav1.ListOptions) (L, error) {
	list := r.newList()
	return list, r.get(opts).Do(ctx).Into(list)
}

// Watch returns what happens to the objects.
func (r resource[L]) Watch(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
	opts.Watch = true
	return r.get(opts).Watch(ctx)
}

func (r resource[L]) get(opts metav1.ListOptions) *rest.Request {
	opts.FieldSelector, opts.LabelSelector = cmp.Or(opts.FieldSelector, r.fields), cmp.Or(opts.LabelSelector, r.labels)
	var timeout time.Duration // none
	if opts.TimeoutSeconds != nil {
		timeout = time.Duration(*opts.TimeoutSeconds) * time.Second
	}
	return r.api.Get().NamespaceIfScoped(r.namespace, r.namespace != "").Resource(r.name).
		VersionedParams(&opts, r.client.parameters).Timeout(timeout)
}
