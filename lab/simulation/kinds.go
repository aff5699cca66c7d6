// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"encoding/json"
	"fmt"
	"hash/fnv"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// Plurals of resources.
const (
	services       = "services"
	endpointSlices = "endpointslices"
	nodes          = "nodes"
	states         = "configurationstates"
	l2Statuses     = "servicel2statuses"
	bgpStatuses    = "servicebgpstatuses"
)

const custom = "metallb.io/v1beta1"

// kinds are the resources of the API server.
var kinds = map[string]kind{
	services:       {"Service", "v1", func() runtime.Object { return new(corev1.Service) }},
	nodes:          {"Node", "v1", func() runtime.Object { return new(corev1.Node) }},
	"namespaces":   {"Namespace", "v1", func() runtime.Object { return new(corev1.Namespace) }},
	"secrets":      {"Secret", "v1", func() runtime.Object { return new(corev1.Secret) }},
	"pods":         {"Pod", "v1", func() runtime.Object { return new(corev1.Pod) }},
	"events":       {"Event", "v1", func() runtime.Object { return new(corev1.Event) }},
	endpointSlices: {"EndpointSlice", "discovery.k8s.io/v1", func() runtime.Object { return new(discoveryv1.EndpointSlice) }},

	"ipaddresspools":    {"IPAddressPool", custom, nil},
	"bgpadvertisements": {"BGPAdvertisement", custom, nil},
	"l2advertisements":  {"L2Advertisement", custom, nil},
	"bfdprofiles":       {"BFDProfile", custom, nil},
	"communities":       {"Community", custom, nil},
	"bgppeers":          {"BGPPeer", "metallb.io/v1beta2", nil},
	states:              {"ConfigurationState", custom, nil},
	l2Statuses:          {"ServiceL2Status", custom, nil},
	bgpStatuses:         {"ServiceBGPStatus", custom, nil},
}

func (k kind) gvk() schema.GroupVersionKind {
	return schema.FromAPIVersionAndKind(k.apiVersion, k.name)
}

// uid returns the UID of an object, which depends on its name alone.
func uid(kind, namespace, name string) types.UID {
	h := fnv.New128a()
	fmt.Fprintf(h, "%s/%s/%s", kind, namespace, name)
	b := h.Sum(nil)
	return types.UID(fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]))
}

// parseJSON returns an object of the simulation's own.
func parseJSON(s string) map[string]any {
	out := map[string]any{}
	if err := json.Unmarshal([]byte(s), &out); err != nil {
		panic(err)
	}
	return out
}
