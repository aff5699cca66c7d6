// SPDX-License-Identifier: Apache-2.0

package sysdump

import (
	"net/url"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// A kind is where objects of one kind are, and which of them are Herald's business.
type kind struct {
	file    string     // in the archive
	kind    string     // of an object; a list does not repeat it
	version string     // the API's
	paths   []string   // of the list; the next one is asked if the user may not read the one before
	single  []string   // paths of objects that are read one by one, in place of a list
	query   url.Values // selectors
	keep    func(o map[string]any) bool
	trim    func(o map[string]any)
}

// metallb are the kinds of metallb.io. Those of all namespaces count: in another one than
// Herald's they do nothing.
var metallb = []struct {
	version, plural, kind string
	everywhere            bool
}{
	{"v1beta1", "ipaddresspools", "IPAddressPool", true},
	{"v1beta2", "bgppeers", "BGPPeer", true},
	{"v1beta1", "bgpadvertisements", "BGPAdvertisement", true},
	{"v1beta1", "l2advertisements", "L2Advertisement", true},
	{"v1beta1", "bfdprofiles", "BFDProfile", true},
	{"v1beta1", "communities", "Community", true},
	{"v1beta1", "configurationstates", "ConfigurationState", false},
	{"v1beta1", "servicel2statuses", "ServiceL2Status", false},
	{"v1beta1", "servicebgpstatuses", "ServiceBGPStatus", false},
}

// ofHerald selects what the manifests label.
const ofHerald = "app.kubernetes.io/name=herald"

// kinds returns what is read of a Herald in a namespace. Those with passwords come first.
func kinds(namespace string, configMaps []string, services *serviceSet) []kind {
	core, apps := "/api/v1/", "/apis/apps/v1/"
	in := "namespaces/" + namespace + "/"
	labelled := url.Values{"labelSelector": {ofHerald}}
	var out []kind
	for _, m := range metallb {
		k := kind{file: m.plural, kind: m.kind, version: "metallb.io/" + m.version, paths: []string{"/apis/metallb.io/" + m.version + "/" + in + m.plural}}
		if m.everywhere {
			k.paths = append([]string{"/apis/metallb.io/" + m.version + "/" + m.plural}, k.paths...)
		}
		out = append(out, k)
	}
	maps := kind{file: "configmaps", kind: "ConfigMap", version: "v1"}
	for _, name := range configMaps {
		maps.single = append(maps.single, core+in+"configmaps/"+name)
	}
	definitions := kind{file: "customresourcedefinitions", kind: "CustomResourceDefinition", version: "apiextensions.k8s.io/v1", trim: withoutSchema}
	for _, m := range metallb {
		definitions.single = append(definitions.single, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/"+m.plural+".metallb.io")
	}
	events := func(file string, query url.Values, paths ...string) kind {
		return kind{file: file, kind: "Event", version: "v1", paths: paths, query: query}
	}
	ofServices := events("events-of-services", url.Values{"fieldSelector": {"involvedObject.kind=Service"}}, core+"events")
	ofServices.keep = func(o map[string]any) bool {
		return services.has(text(o, "involvedObject", "namespace"), text(o, "involvedObject", "name"))
	}
	return append(out, maps,
		kind{file: "deployments", kind: "Deployment", version: "apps/v1", paths: []string{apps + in + "deployments"}, query: labelled},
		kind{file: "daemonsets", kind: "DaemonSet", version: "apps/v1", paths: []string{apps + in + "daemonsets"}, query: labelled},
		kind{file: "pods", kind: "Pod", version: "v1", paths: []string{core + in + "pods"}, query: labelled},
		kind{file: "leases", kind: "Lease", version: "coordination.k8s.io/v1", single: []string{"/apis/coordination.k8s.io/v1/" + in + "leases/herald-controller"}},
		kind{file: "services", kind: "Service", version: "v1", paths: []string{core + "services"}, keep: isLoadBalancer},
		kind{file: "endpointslices", kind: "EndpointSlice", version: "discovery.k8s.io/v1", paths: []string{"/apis/discovery.k8s.io/v1/endpointslices"}, keep: func(o map[string]any) bool {
			return services.has(text(o, "metadata", "namespace"), text(o, "metadata", "labels", "kubernetes.io/service-name"))
		}},
		kind{file: "nodes", kind: "Node", version: "v1", paths: []string{core + "nodes"}, trim: withoutImages},
		kind{file: "namespaces", kind: "Namespace", version: "v1", paths: []string{core + "namespaces"}},
		events("events", nil, core+in+"events"),
		ofServices,
		events("events-of-nodes", url.Values{"fieldSelector": {"involvedObject.kind=Node"}}, core+"events"),
		definitions,
	)
}

// A serviceSet has the Services of type LoadBalancer. A nil set was not read, and has all.
type serviceSet struct{ names map[string]bool }

func (s *serviceSet) has(namespace, name string) bool {
	return s.names == nil || s.names[namespace+"/"+name]
}

func isLoadBalancer(o map[string]any) bool {
	return text(o, "spec", "type") == string(corev1.ServiceTypeLoadBalancer)
}

// text returns the text at a path in an object; empty if there is none.
func text(o map[string]any, path ...string) string {
	for _, name := range path[:len(path)-1] {
		o, _ = o[name].(map[string]any)
	}
	s, _ := o[path[len(path)-1]].(string)
	return s
}

// withoutImages drops the images that a node has.
func withoutImages(o map[string]any) {
	if status, ok := o["status"].(map[string]any); ok {
		delete(status, "images")
	}
}

// withoutSchema drops what a definition says about each field.
func withoutSchema(o map[string]any) {
	spec, _ := o["spec"].(map[string]any)
	versions, _ := spec["versions"].([]any)
	for _, v := range versions {
		if v, ok := v.(map[string]any); ok {
			delete(v, "schema")
		}
	}
	if metadata, ok := o["metadata"].(map[string]any); ok {
		if annotations, ok := metadata["annotations"].(map[string]any); ok {
			delete(annotations, corev1.LastAppliedConfigAnnotation) // it has the schema, too
		}
	}
}

// fileName returns a name as a part of a file's name.
func fileName(name string) string {
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.", r) {
			return r
		}
		return '_'
	}, name)
	if strings.Trim(name, ".") == "" {
		return "_" + name
	}
	return name
}
