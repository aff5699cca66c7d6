// SPDX-License-Identifier: Apache-2.0

package object_test

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"

	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/cluster/clustertest"
	"github.com/heraldlb/herald/kube/object"
	"github.com/heraldlb/herald/port"
)

func TestReadObjects(t *testing.T) {
	const manifests = `
apiVersion: v1
kind: Service
metadata:
  name: web
  namespace: shop
  uid: 4f1c
  resourceVersion: "77"
  creationTimestamp: "2026-01-02T03:04:05Z"
  labels: {app: web}
  annotations:
    metallb.io/address-pool: wan
    metallb.universe.tf/allow-shared-ip: key
    heraldlb.io/note: x
    kubectl.kubernetes.io/last-applied-configuration: "{}"
spec:
  type: LoadBalancer
  loadBalancerClass: example.com/mine
  clusterIPs: [10.96.0.1, "fd00:96::1"]
  ipFamilies: [IPv6, IPv4]
  ipFamilyPolicy: PreferDualStack
  loadBalancerIP: 192.0.2.9
  externalTrafficPolicy: Local
  selector: {tier: front, app: web}
  ports: [{port: 80}, {port: 53, protocol: UDP}]
  somethingNew: {of: "a later version"}
status:
  loadBalancer: {ingress: [{ip: 192.0.2.1}, {hostname: web.example.com}]}
  conditions:
  - {type: heraldlb.io/AddressAssigned, status: "True", reason: Assigned, message: from pool wan, lastTransitionTime: "2026-01-02T03:04:05Z"}
  - {type: other, status: "True", reason: "", message: "", lastTransitionTime: "2026-01-02T03:04:05Z"}
---
# Nothing but a comment.
---
{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "headless"}, "spec": {"clusterIP": "None"}}
---
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Node
  metadata: {name: n2}
  status:
    conditions: [{type: NetworkUnavailable, status: "True"}, {type: Ready, status: "True"}]
- apiVersion: v1
  kind: Node
  metadata: {name: n1, labels: {rack: a}}
  status:
    conditions: [{type: NetworkUnavailable, status: "False"}]
    addresses:
    - {type: Hostname, address: n1}
    - {type: ExternalIP, address: 203.0.113.1}
    - {type: InternalIP, address: 10.10.0.1}
    - {type: InternalIP, address: "fd00:10::1"}
- {apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {team: blue}}}
- {apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {nodeName: 7}}
- {apiVersion: serving.knative.dev/v1, kind: Service, metadata: {name: other}, spec: {type: 7}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSliceList
items:
- metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
  addressType: IPv4
  endpoints:
  - {addresses: [10.244.1.1], nodeName: n2}
  - {addresses: [10.244.1.2], nodeName: n1, conditions: {ready: true}}
  - {addresses: [10.244.1.3], nodeName: n1, conditions: {ready: true}}
  - {addresses: [10.244.1.4], nodeName: n3, conditions: {ready: false}}
  - {addresses: [10.244.1.5], nodeName: n4, conditions: {ready: false, serving: true, terminating: true}}
  - {addresses: [10.244.1.6], nodeName: n5, conditions: {ready: false, serving: false, terminating: true}}
- metadata: {name: web-2, namespace: shop, labels: {kubernetes.io/service-name: web}}
  addressType: IPv6
  endpoints: [{addresses: ["fd00:244::1"], nodeName: n1}, {addresses: ["fd00:99::1"]}]
- metadata: {name: web-3, namespace: shop, labels: {kubernetes.io/service-name: web}}
  addressType: FQDN
  endpoints: [{addresses: [web.example.com], nodeName: n9}]
- metadata: {name: nobodys, namespace: shop}
  addressType: IPv4
  endpoints: [{addresses: [10.244.1.9], nodeName: n9}]
`
	got, err := object.Read(strings.NewReader(manifests))
	if err != nil {
		t.Fatal(err)
	}
	web := cluster.Key{Namespace: "shop", Name: "web"}
	want := cluster.Snapshot{
		Services: []*cluster.Service{
			{Key: cluster.Key{Namespace: "default", Name: "headless"}, FamilyPolicy: cluster.SingleStack},
			{
				Key:             web,
				UID:             "4f1c",
				ResourceVersion: "77",
				Created:         time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
				Labels:          map[string]string{"app": "web"},
				Annotations: map[string]string{
					"metallb.io/address-pool":             "wan",
					"metallb.universe.tf/allow-shared-ip": "key",
					"heraldlb.io/note":                    "",
				},
				Unknown:        "heraldlb.io/note is no annotation of MetalLB or Herald",
				LoadBalancer:   true,
				Class:          "example.com/mine",
				ClusterIPs:     []netip.Addr{netip.MustParseAddr("10.96.0.1"), netip.MustParseAddr("fd00:96::1")},
				FamilyPolicy:   cluster.PreferDualStack,
				PreferIPv6:     true,
				LoadBalancerIP: "192.0.2.9",
				Local:          true,
				Selector:       "app=web,tier=front",
				Ports:          port.NewSet(port.Port{Protocol: "TCP", Number: 80}, port.Port{Protocol: "UDP", Number: 53}),
				Wish: cluster.Wish{
					SharingKey: "key",
					Invalid:    "requested loadBalancer IP(s) [192.0.2.9] do not match the ipFamily of the service",
					Deprecated: []string{"metallb.universe.tf/allow-shared-ip"},
				},
				Ingress:    []string{"192.0.2.1", "web.example.com"},
				Conditions: []cluster.Condition{{Type: assign.ConditionAddressAssigned, True: true, Reason: "Assigned", Message: "from pool wan"}},
			},
		},
		Nodes: []*cluster.Node{
			{Name: "n1", Labels: map[string]string{"rack": "a"}, Addrs: []netip.Addr{netip.MustParseAddr("10.10.0.1"), netip.MustParseAddr("fd00:10::1")}},
			{Name: "n2", NetworkUnavailable: true},
		},
		Namespaces: map[string]map[string]string{"shop": {"team": "blue"}},
		Endpoints: map[cluster.Key][]cluster.Endpoint{
			web: {{IPv6: true}, {Node: "n1", More: 1}, {Node: "n1", IPv6: true}, {Node: "n2"}, {Node: "n4", Terminating: true}},
		},
	}
	if diff := cmp.Diff(want, got, clustertest.Values, cmpopts.EquateEmpty(), cmpopts.EquateApproxTime(0)); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
}

func TestReadObjectsMistakes(t *testing.T) {
	const service = "{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}"
	tests := []struct{ name, manifests, want string }{
		{"no YAML", "a: [", "line 1: invalid YAML: "},
		{"a key twice", "a: 1\na: 2\n", `line 2: key "a" already set in map`},
		{"no object", "[1, 2]", "line 1: document 1 is no object"},
		{"no name", "{apiVersion: v1, kind: Service}", "line 1: Service: metadata.name: missing"},
		{"the first of two mistakes", "{apiVersion: v1, kind: Node}\n---\n" + service + ", spec: {type: X}}", "line 1: Node: metadata.name: missing\nline 3: Service shop/web: spec.type: unknown type"},
		{"an annotation that is no string", "{apiVersion: v1, kind: Service, metadata: {name: web, annotations: {a: true}}}", "line 1: Service default/web: metadata.annotations.a: want a string, not a boolean: put it in quotes"},
		{"the same twice", service + "}\n---\n" + service + "}", "line 3: Service shop/web: Duplicate: defined twice"},
		{"a string for a number", service + ", spec: {ports: [{port: eighty}]}}", "line 1: Service shop/web: spec.ports.port: want int32, not string"},
		{"port out of range", service + ", spec: {ports: [{port: 80}, {port: 65616}]}}", "line 1: Service shop/web: spec.ports[1].port: 65616 is not between 1 and 65535"},
		{"unknown type", service + ", spec: {type: Loadbalancer}}", `line 1: Service shop/web: spec.type: unknown type "Loadbalancer"`},
		{"unknown policy", service + ", spec: {externalTrafficPolicy: local}}", `line 1: Service shop/web: spec.externalTrafficPolicy: "local" is neither Cluster nor Local`},
		{
			"in a list",
			"{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Node, metadata: {name: n1}}, {apiVersion: v1, kind: Node, metadata: {name: 7}}]}",
			"line 1: Node 7: metadata.name: want a string, not a number: put it in quotes",
		},
		{
			"slice of no family",
			"{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: web-1}, endpoints: []}",
			`line 1: EndpointSlice default/web-1: addressType: "" is none of IPv4, IPv6 and FQDN`,
		},
		{"node of strange conditions", "{apiVersion: v1, kind: Node, metadata: {name: n1}, status: {conditions: 7}}", "line 1: Node n1: status.conditions: want []v1.NodeCondition, not number"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := object.Read(strings.NewReader(tt.manifests))
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("error: want %q, got %v", tt.want, err)
			}
		})
	}
}

// Whether a Node is Ready is about its kubelet. It does not count for what the agent on
// it does, or may claim: the agent answers for itself.
func TestFromNodeReady(t *testing.T) {
	node := func(is corev1.ConditionStatus) *corev1.Node {
		n := &corev1.Node{}
		n.Name = "n1"
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: is}}
		return n
	}
	ready := object.FromNode(node(corev1.ConditionTrue))
	for _, is := range []corev1.ConditionStatus{corev1.ConditionFalse, corev1.ConditionUnknown} {
		if got := object.FromNode(node(is)); !reflect.DeepEqual(got, ready) {
			t.Errorf("a Node whose condition Ready is %s is %+v, want %+v", is, got, ready)
		}
	}
}

// What is kept of a Service with many pods has room for those of its nodes alone.
func TestMergeEndpointsKeepsLittle(t *testing.T) {
	pods := make([]cluster.Endpoint, 1000)
	for i := range pods {
		pods[i].Node = []string{"n1", "n2"}[i%2]
	}
	got := object.MergeEndpoints(pods)
	if len(got) != 2 || cap(got) > 16 || got[0].More != 499 {
		t.Errorf("%+v, with room for %d", got, cap(got))
	}
}
