// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// ReadObjects reads Services, Nodes, Namespaces and EndpointSlices from
// manifests, as kubectl prints them: YAML documents or JSON, lists too. It
// ignores other kinds. The Snapshot has no configuration.
func ReadObjects(r io.Reader) (Snapshot, error) {
	s, err := newManifests().readAll(r)
	slices.SortFunc(s.Services, func(a, b *Service) int { return a.Key.Compare(b.Key) })
	slices.SortFunc(s.Nodes, func(a, b *Node) int { return strings.Compare(a.Name, b.Name) })
	return s, err
}

// manifests is what has been read so far.
type manifests struct {
	snapshot Snapshot
	seen     map[string]bool // "Kind namespace/name"
	draft    bool            // Services may be as somebody wrote them: no API server has seen them
}

func newManifests() *manifests {
	return &manifests{
		snapshot: Snapshot{Namespaces: map[string]map[string]string{}, Endpoints: map[Key][]Endpoint{}},
		seen:     map[string]bool{},
	}
}

// readAll reads all documents of a text. Objects are in the order of the text.
func (m *manifests) readAll(r io.Reader) (Snapshot, error) {
	docs := kyaml.NewYAMLReader(bufio.NewReader(r))
	for n := 1; ; n++ {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return Snapshot{}, fmt.Errorf("document %d: %w", n, err)
		}
		text, err := yaml.YAMLToJSONStrict(doc)
		if err != nil {
			return Snapshot{}, fmt.Errorf("document %d: %w", n, err)
		}
		if err := m.read(text, metav1.TypeMeta{}); err != nil {
			return Snapshot{}, fmt.Errorf("document %d: %w", n, err)
		}
	}
	return m.snapshot, nil
}

// read adds one object, or those of a list. The items of a typed list need not
// say what they are: asItem does.
func (m *manifests) read(text []byte, asItem metav1.TypeMeta) error {
	var head struct {
		metav1.TypeMeta   `json:",inline"`
		metav1.ObjectMeta `json:"metadata"`
		Items             []json.RawMessage `json:"items"`
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return fieldError(err)
	}
	if head.Kind == "" {
		head.TypeMeta = asItem
	}
	if item, ok := strings.CutSuffix(head.Kind, "List"); ok {
		for i, text := range head.Items {
			if err := m.read(text, metav1.TypeMeta{Kind: item, APIVersion: head.APIVersion}); err != nil {
				return fmt.Errorf("item %d: %w", i, err)
			}
		}
		return nil
	}
	var add func(name string) error
	switch head.GroupVersionKind() {
	case corev1.SchemeGroupVersion.WithKind("Service"):
		add = func(string) error { return m.service(text) }
	case corev1.SchemeGroupVersion.WithKind("Node"):
		add = func(string) error { return m.node(text) }
	case corev1.SchemeGroupVersion.WithKind("Namespace"):
		add = func(name string) error { m.snapshot.Namespaces[name] = head.Labels; return nil }
	case discoveryv1.SchemeGroupVersion.WithKind("EndpointSlice"):
		add = func(string) error { return m.slice(text) }
	default:
		return nil
	}
	if head.Name == "" {
		return fmt.Errorf("%s: metadata.name: missing", head.Kind)
	}
	name := head.Kind + " " + head.Name
	if head.Kind == "Service" || head.Kind == "EndpointSlice" {
		name = head.Kind + " " + namespace(head.ObjectMeta) + "/" + head.Name
	}
	if m.seen[name] {
		return fmt.Errorf("%s: defined twice", name)
	}
	m.seen[name] = true
	if err := add(head.Name); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// namespace returns the namespace that kubectl would put an object into.
func namespace(o metav1.ObjectMeta) string {
	if o.Namespace == "" {
		return metav1.NamespaceDefault
	}
	return o.Namespace
}

func (m *manifests) service(text []byte) error {
	var svc corev1.Service
	if err := json.Unmarshal(text, &svc); err != nil {
		return fieldError(err)
	}
	if err := checkService(svc); err != nil {
		return err
	}
	svc.Namespace = namespace(svc.ObjectMeta)
	if m.draft {
		supposeClusterIPs(&svc)
	}
	m.snapshot.Services = append(m.snapshot.Services, FromService(&svc))
	return nil
}

func (m *manifests) node(text []byte) error {
	var n corev1.Node
	if err := json.Unmarshal(text, &n); err != nil {
		return fieldError(err)
	}
	m.snapshot.Nodes = append(m.snapshot.Nodes, FromNode(&n))
	return nil
}

func (m *manifests) slice(text []byte) error {
	var slice discoveryv1.EndpointSlice
	if err := json.Unmarshal(text, &slice); err != nil {
		return fieldError(err)
	}
	switch slice.AddressType {
	case discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6, discoveryv1.AddressTypeFQDN:
	default:
		return fmt.Errorf("addressType: %q is none of IPv4, IPv6 and FQDN", slice.AddressType)
	}
	slice.Namespace = namespace(slice.ObjectMeta)
	if key, endpoints := FromEndpointSlice(&slice); key != (Key{}) {
		m.snapshot.Endpoints[key] = MergeEndpoints(m.snapshot.Endpoints[key], endpoints)
	}
	return nil
}

// checkService refuses what an API server would, where a mistake would change
// what is decided.
func checkService(svc corev1.Service) error {
	switch svc.Spec.Type {
	case "", corev1.ServiceTypeClusterIP, corev1.ServiceTypeNodePort, corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeExternalName:
	default:
		return fmt.Errorf("spec.type: unknown type %q", svc.Spec.Type)
	}
	switch svc.Spec.ExternalTrafficPolicy {
	case "", corev1.ServiceExternalTrafficPolicyCluster, corev1.ServiceExternalTrafficPolicyLocal:
	default:
		return fmt.Errorf("spec.externalTrafficPolicy: %q is neither Cluster nor Local", svc.Spec.ExternalTrafficPolicy)
	}
	for i, p := range svc.Spec.Ports {
		if p.Port < 1 || p.Port > 65535 {
			return fmt.Errorf("spec.ports[%d].port: %d is not between 1 and 65535", i, p.Port)
		}
	}
	return nil
}

// fieldError says which field an error of encoding/json is about.
func fieldError(err error) error {
	var typeErr *json.UnmarshalTypeError
	if errors.As(err, &typeErr) && typeErr.Field != "" {
		return fmt.Errorf("%s: want %s, not %s", typeErr.Field, typeErr.Type, typeErr.Value)
	}
	return err
}
