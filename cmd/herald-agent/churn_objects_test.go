// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

// objects makes the cluster and its configuration.
func (c *churn) objects() {
	for i := range 3 {
		c.api.set("nodes", &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("n%d", i+1), UID: types.UID(fmt.Sprintf("node-%d", i+1))},
			Status:     corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: fmt.Sprintf("10.10.0.%d", i+1)}}},
		})
	}
	c.api.set("pods", &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: benchNamespace, Name: benchPod, UID: "pod"}})
	for _, o := range []struct{ resource, name, spec string }{
		{"bgppeers", "r1", `{"myASN":64512,"peerASN":64513,"peerAddress":"10.10.0.253"}`},
		{"bgppeers", "r2", `{"myASN":64512,"peerASN":64513,"peerAddress":"10.10.0.254"}`},
		{"ipaddresspools", "pool", `{"addresses":["10.32.0.0/16"]}`},
		{"ipaddresspools", "lan", `{"addresses":["10.33.0.0/16"]}`},
		{"bgpadvertisements", "routes", `{}`},
		{"l2advertisements", "answers", `{"ipAddressPools":["lan"]}`},
	} {
		var spec map[string]any
		must(c.b, json.Unmarshal([]byte(o.spec), &spec))
		u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": customVersion(o.resource), "kind": customKinds[o.resource], "spec": spec}}
		u.SetNamespace(benchNamespace)
		u.SetName(o.name)
		u.SetGeneration(1)
		c.api.set(o.resource, u)
	}
	for i := range c.services {
		c.api.set("services", c.service(i))
		c.api.set("endpointslices", c.slice(i, 3))
		c.api.set("servicebgpstatuses", bgpStatus(i))
	}
}

// bgpStatus returns what an agent before this one has written about a Service.
func bgpStatus(i int) *unstructured.Unstructured {
	namespace := meta(i, "").Namespace
	sum := sha256.Sum256(fmt.Appendf(nil, "n2\n%s/%s", namespace, serviceName(i)))
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "metallb.io/v1beta1", "kind": "ServiceBGPStatus",
		"status": map[string]any{"node": "n2", "serviceName": serviceName(i), "serviceNamespace": namespace, "peers": []any{"r1", "r2"}},
	}}
	u.SetNamespace(benchNamespace)
	u.SetName("bgp-" + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:])[:20]))
	u.SetLabels(map[string]string{"metallb.io/node": "n2", "metallb.io/service-name": serviceName(i), "metallb.io/service-namespace": namespace})
	u.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: benchPod, UID: "pod"}})
	return u
}

func meta(i int, name string) metav1.ObjectMeta {
	fields := metav1.NewFieldsV1(strings.Repeat(`{"f:metadata":{}}`, 50))
	at := metav1.NewTime(time.Unix(1.7e9, 0))
	return metav1.ObjectMeta{
		Namespace: fmt.Sprintf("team-%02d", i/200), Name: name, UID: types.UID(fmt.Sprintf("0ba9c7bd-0000-4000-8000-%012x", i)), CreationTimestamp: at,
		Labels:        map[string]string{"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": fmt.Sprintf("shop-%d", i%7)},
		ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kube-controller-manager", Operation: "Update", APIVersion: "v1", Time: &at, FieldsV1: fields}},
	}
}

func serviceName(i int) string { return fmt.Sprintf("service-%05d", i) }

func (c *churn) service(i int) *corev1.Service {
	svc := &corev1.Service{
		ObjectMeta: meta(i, serviceName(i)),
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, ClusterIP: clusterIP(i), ClusterIPs: []string{clusterIP(i)}, IPFamilies: []corev1.IPFamily{"IPv4"},
			Ports:    []corev1.ServicePort{{Name: "http", Protocol: "TCP", Port: 80, NodePort: int32(20000 + i)}, {Name: "https", Protocol: "TCP", Port: 443, NodePort: int32(30000 + i)}},
			Selector: map[string]string{"app": serviceName(i)}, ExternalTrafficPolicy: corev1.ServiceExternalTrafficPolicyCluster,
		},
	}
	if i%100 == 0 {
		svc.Spec.ExternalTrafficPolicy, svc.Spec.HealthCheckNodePort = corev1.ServiceExternalTrafficPolicyLocal, int32(20000+i/100)
	}
	svc.Annotations = map[string]string{"metallb.io/ip-allocated-from-pool": "pool"}
	svc.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: serviceAddr(i).String()}}
	return svc
}

func clusterIP(i int) string { return netip.AddrFrom4([4]byte{10, 96, byte(i >> 8), byte(i)}).String() }

// serviceAddr returns the address of a Service. Each fifth is announced on layer 2, too.
func serviceAddr(i int) netip.Addr {
	block := byte(32)
	if i%5 == 0 {
		block = 33
	}
	return netip.AddrFrom4([4]byte{10, block, byte(i >> 8), byte(i)})
}

// slice returns the EndpointSlice of a Service with that many endpoints.
func (c *churn) slice(i, endpoints int) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{ObjectMeta: meta(i, serviceName(i)+"-abcde"), AddressType: discoveryv1.AddressTypeIPv4}
	s.Labels[discoveryv1.LabelServiceName] = serviceName(i)
	yes := true
	for j := range endpoints {
		node := fmt.Sprintf("n%d", j+1)
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{fmt.Sprintf("10.24%d.%d.%d", j, i>>8, i&255)}, NodeName: &node,
			Conditions: discoveryv1.EndpointConditions{Ready: &yes, Serving: &yes},
			TargetRef:  &corev1.ObjectReference{Kind: "Pod", Namespace: s.Namespace, Name: fmt.Sprintf("%s-%d", s.Name, j), UID: types.UID(fmt.Sprintf("pod-%d-%d", i, j))},
		})
	}
	return s
}

var customKinds = map[string]string{
	"ipaddresspools": "IPAddressPool", "bfdprofiles": "BFDProfile", "communities": "Community", "bgppeers": "BGPPeer",
	"bgpadvertisements": "BGPAdvertisement", "l2advertisements": "L2Advertisement", "configurationstates": "ConfigurationState",
	"servicel2statuses": "ServiceL2Status", "servicebgpstatuses": "ServiceBGPStatus",
}

func customVersion(resource string) string {
	if resource == "bgppeers" {
		return "metallb.io/v1beta2"
	}
	return "metallb.io/v1beta1"
}

func newObject(resource string) object {
	switch resource {
	case "services":
		return &corev1.Service{}
	case "nodes":
		return &corev1.Node{}
	case "endpointslices":
		return &discoveryv1.EndpointSlice{}
	case "configmaps":
		return &corev1.ConfigMap{}
	case "pods":
		return &corev1.Pod{}
	case "namespaces":
		return &corev1.Namespace{}
	}
	return &corev1.Secret{}
}

func listOf(resource string, objects []object, version int) k8sruntime.Object {
	meta := metav1.ListMeta{ResourceVersion: strconv.Itoa(version)}
	switch resource {
	case "services":
		l := &corev1.ServiceList{ListMeta: meta}
		for _, o := range objects {
			l.Items = append(l.Items, *o.(*corev1.Service))
		}
		return l
	case "nodes":
		l := &corev1.NodeList{ListMeta: meta}
		for _, o := range objects {
			l.Items = append(l.Items, *o.(*corev1.Node))
		}
		return l
	case "endpointslices":
		l := &discoveryv1.EndpointSliceList{ListMeta: meta}
		for _, o := range objects {
			l.Items = append(l.Items, *o.(*discoveryv1.EndpointSlice))
		}
		return l
	case "configmaps":
		return &corev1.ConfigMapList{ListMeta: meta}
	case "pods":
		return &corev1.PodList{ListMeta: meta}
	case "namespaces":
		return &corev1.NamespaceList{ListMeta: meta}
	}
	return &corev1.SecretList{ListMeta: meta}
}
