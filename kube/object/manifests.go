// SPDX-License-Identifier: Apache-2.0

package object

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/manifest"
)

// Read reads Services, Nodes, Namespaces and EndpointSlices from
// manifests, as kubectl prints them: YAML documents or JSON, lists too. It
// ignores other kinds. The Snapshot has no configuration. Its error is a
// manifest.Errors with all mistakes.
func Read(r io.Reader) (cluster.Snapshot, error) {
	s, err := readText(r, false)
	sortSnapshot(&s)
	return s, err
}

// readText reads the objects of a text, in its order.
func readText(r io.Reader, draft bool) (cluster.Snapshot, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return cluster.Snapshot{}, err
	}
	objects, mistakes := manifest.Read("", text)
	s, findings := ReadManifests(objects, draft)
	if err := manifest.ErrorsIn(append(mistakes, findings...)); err != nil {
		return cluster.Snapshot{}, err
	}
	return s, nil
}

// sortSnapshot orders objects by name, as those of a cluster are.
func sortSnapshot(s *cluster.Snapshot) {
	slices.SortFunc(s.Services, func(a, b *cluster.Service) int { return a.Key.Compare(b.Key) })
	slices.SortFunc(s.Nodes, func(a, b *cluster.Node) int { return strings.Compare(a.Name, b.Name) })
}

// ReadManifests selects Services, Nodes, Namespaces and EndpointSlices from objects, in
// their order. Findings name what the API server would refuse. An object with findings
// is read as far as possible; of two objects with one name the first counts. In a draft,
// no API server has seen the Services yet: they get the cluster IPs that they ask for.
func ReadManifests(objects []*manifest.Object, draft bool) (cluster.Snapshot, []manifest.Finding) {
	m := &manifests{
		snapshot: cluster.Snapshot{Namespaces: map[string]map[string]string{}, Endpoints: map[cluster.Key][]cluster.Endpoint{}},
		seen:     map[string]bool{},
		draft:    draft,
	}
	for _, o := range objects {
		m.read(o)
	}
	return m.snapshot, m.findings
}

// manifests collects the result.
type manifests struct {
	snapshot cluster.Snapshot
	findings []manifest.Finding
	seen     map[string]bool // names that identify returned
	draft    bool
}

func (m *manifests) find(o *manifest.Object, severity manifest.Severity, id, field, format string, args ...any) {
	f := o.Finding(severity, id, field, format, args...)
	f.Object = identify(o)
	m.findings = append(m.findings, f)
}

// identify returns "Node n1", or "Service shop/web".
func identify(o *manifest.Object) string {
	if o.Name == "" {
		return o.Kind
	}
	if o.Kind == "Service" || o.Kind == "EndpointSlice" {
		return o.Kind + " " + namespace(o.Namespace) + "/" + o.Name
	}
	return o.Kind + " " + o.Name
}

// namespace returns the namespace that kubectl would put an object into.
func namespace(said string) string {
	if said == "" {
		return metav1.NamespaceDefault
	}
	return said
}

// read adds an object if it is of one of the kinds.
func (m *manifests) read(o *manifest.Object) {
	var add func(*manifest.Object) (metav1.Object, []string, error)
	switch schema.FromAPIVersionAndKind(o.APIVersion, o.Kind) {
	case corev1.SchemeGroupVersion.WithKind("Service"):
		add = m.service
	case corev1.SchemeGroupVersion.WithKind("Node"):
		add = m.node
	case corev1.SchemeGroupVersion.WithKind("Namespace"):
		add = m.namespace
	case discoveryv1.SchemeGroupVersion.WithKind("EndpointSlice"):
		add = m.slice
	default:
		return
	}
	for _, f := range o.Mistakes {
		f.Object = identify(o)
		m.findings = append(m.findings, f)
	}
	if o.Name == "" {
		m.find(o, manifest.Error, manifest.IDMetadata, "metadata.name", "missing")
		return
	}
	if m.seen[identify(o)] {
		m.find(o, manifest.Error, manifest.IDDuplicate, "", "defined twice")
		return
	}
	m.seen[identify(o)] = true
	decoded, unknown, err := add(o)
	if err != nil {
		var at fieldMistake
		if !errors.As(err, &at) {
			at = fieldMistake{"", err.Error()}
		}
		m.find(o, manifest.Error, manifest.IDField, at.field, "%s", at.reason)
	}
	if decoded == nil || decoded.GetUID() != "" {
		return // the API server may know newer fields than Herald
	}
	for _, field := range unknown {
		m.find(o, manifest.Warning, manifest.IDField, field, "unknown field")
	}
}

// A fieldMistake is a mistake in a field.
type fieldMistake struct{ field, reason string }

// Error returns "spec.type: unknown type …".
func (e fieldMistake) Error() string { return e.field + ": " + e.reason }

func (m *manifests) service(o *manifest.Object) (metav1.Object, []string, error) {
	svc := new(corev1.Service)
	unknown, err := o.Decode(svc)
	if err != nil {
		return nil, nil, fieldError(err)
	}
	if err := checkService(svc); err != nil {
		return nil, nil, err
	}
	svc.Namespace = namespace(svc.Namespace)
	if m.draft {
		supposeClusterIPs(svc)
	}
	m.snapshot.Services = append(m.snapshot.Services, FromService(svc))
	return svc, unknown, nil
}

func (m *manifests) node(o *manifest.Object) (metav1.Object, []string, error) {
	n := new(corev1.Node)
	unknown, err := o.Decode(n)
	if err != nil {
		return nil, nil, fieldError(err)
	}
	m.snapshot.Nodes = append(m.snapshot.Nodes, FromNode(n))
	return n, unknown, nil
}

func (m *manifests) namespace(o *manifest.Object) (metav1.Object, []string, error) {
	n := new(corev1.Namespace)
	unknown, err := o.Decode(n)
	if err != nil {
		return nil, nil, fieldError(err)
	}
	m.snapshot.Namespaces[o.Name] = n.Labels
	return n, unknown, nil
}

func (m *manifests) slice(o *manifest.Object) (metav1.Object, []string, error) {
	slice := new(discoveryv1.EndpointSlice)
	unknown, err := o.Decode(slice)
	if err != nil {
		return nil, nil, fieldError(err)
	}
	switch slice.AddressType {
	case discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6, discoveryv1.AddressTypeFQDN:
	default:
		return nil, nil, fieldMistake{"addressType", fmt.Sprintf("%q is none of IPv4, IPv6 and FQDN", slice.AddressType)}
	}
	slice.Namespace = namespace(slice.Namespace)
	if key, endpoints := FromEndpointSlice(slice); key != (cluster.Key{}) {
		m.snapshot.Endpoints[key] = MergeEndpoints(m.snapshot.Endpoints[key], endpoints)
	}
	return slice, unknown, nil
}

// checkService refuses what an API server would refuse, where a mistake would change
// a decision.
func checkService(svc *corev1.Service) error {
	switch svc.Spec.Type {
	case "", corev1.ServiceTypeClusterIP, corev1.ServiceTypeNodePort, corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeExternalName:
	default:
		return fieldMistake{"spec.type", fmt.Sprintf("unknown type %q", svc.Spec.Type)}
	}
	switch svc.Spec.ExternalTrafficPolicy {
	case "", corev1.ServiceExternalTrafficPolicyCluster, corev1.ServiceExternalTrafficPolicyLocal:
	default:
		return fieldMistake{"spec.externalTrafficPolicy", fmt.Sprintf("%q is neither Cluster nor Local", svc.Spec.ExternalTrafficPolicy)}
	}
	for i, p := range svc.Spec.Ports {
		if p.Port < 1 || p.Port > 65535 {
			return fieldMistake{fmt.Sprintf("spec.ports[%d].port", i), fmt.Sprintf("%d is not between 1 and 65535", p.Port)}
		}
	}
	return nil
}

// fieldError adds the field to an error of encoding/json.
func fieldError(err error) error {
	var typeErr *json.UnmarshalTypeError
	if errors.As(err, &typeErr) && typeErr.Field != "" {
		return fieldMistake{typeErr.Field, fmt.Sprintf("want %s, not %s", typeErr.Type, typeErr.Value)}
	}
	return err
}

// ReadDraft reads Services and Namespaces for a Preview, as Read does, but leaves them
// in the order of the text. A Service without cluster IPs gets those that its families
// ask for, since no API server has seen it.
func ReadDraft(r io.Reader) (cluster.Snapshot, error) { return readText(r, true) }

// supposeClusterIPs gives a Service cluster IPs if it has none, as an API
// server would: of spec.ipFamilies, else one of IPv4 and, if the Service is to
// be of two families, one of IPv6.
func supposeClusterIPs(svc *corev1.Service) {
	if svc.Spec.ClusterIP != "" || len(svc.Spec.ClusterIPs) > 0 || svc.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return
	}
	families := slices.Clone(svc.Spec.IPFamilies)
	if len(families) == 0 {
		families = []corev1.IPFamily{corev1.IPv4Protocol}
	}
	if p := svc.Spec.IPFamilyPolicy; p != nil && *p != corev1.IPFamilyPolicySingleStack && len(families) == 1 {
		other := corev1.IPv6Protocol
		if families[0] == corev1.IPv6Protocol {
			other = corev1.IPv4Protocol
		}
		families = append(families, other)
	}
	for _, f := range families {
		ip := cluster.SupposedClusterIPs[0]
		if f == corev1.IPv6Protocol {
			ip = cluster.SupposedClusterIPs[1]
		}
		svc.Spec.ClusterIPs = append(svc.Spec.ClusterIPs, ip.String())
	}
}
