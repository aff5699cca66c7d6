// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// namespace is where Herald runs, and where its resources are.
const namespace = "metallb-system"

// edgeLabel marks the nodes that announce over BGP.
const edgeLabel = "edge"

// A world is the cluster that the agents run in. Half of the Services are announced over
// BGP, by the node at the edge that has their endpoint. The others are on layer 2: a half of
// them on any node, the other half on the one that has the endpoint.
type world struct {
	api   *API
	nodes int
	edge  int // nodes that announce over BGP: the first ones
}

func nodeName(i int) string { return fmt.Sprintf("node-%04d", i) }

func nodeAddr(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}) }

func serviceKey(i int) (ns, name string) {
	return fmt.Sprintf("team-%02d", i/200), fmt.Sprintf("service-%05d", i)
}

// routed reports whether a Service is announced over BGP.
func routed(i int) bool { return i%2 == 0 }

// elected reports whether any node may answer for a Service.
func elected(i int) bool { return i%4 == 1 }

// serviceAddr returns the address that a Service has from the beginning.
func serviceAddr(i int) netip.Addr {
	block := byte(32)
	if !routed(i) {
		block = 48
	}
	return netip.AddrFrom4([4]byte{10, block + byte(i>>16), byte(i >> 8), byte(i)})
}

// home returns the node that has the endpoint of a Service: one at the edge if it is
// announced over BGP. Moved tells how often the endpoint has moved.
func (w world) home(i, moved int) int {
	if routed(i) {
		return (i/2 + moved) % w.edge
	}
	return (i*7919 + moved) % w.nodes
}

// fill makes all objects.
func (w world) fill(count int) {
	for i := range w.nodes {
		w.api.Put(nodes, nodeObject(i, i < w.edge))
		w.api.Put("pods", podObject(i, 0))
	}
	for i := range count {
		ns, _ := serviceKey(i)
		if i%200 == 0 {
			w.api.Put("namespaces", &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}})
		}
		w.api.Put(services, serviceObject(i))
		w.place(i, 0)
	}
	for _, o := range []struct{ plural, name, spec string }{
		{"ipaddresspools", "routes", `{"addresses":["10.32.0.0/14"]}`},
		{"ipaddresspools", "answers", `{"addresses":["10.48.0.0/14"]}`},
		{"bgpadvertisements", "routes", `{"ipAddressPools":["routes"],"nodeSelectors":[{"matchLabels":{"edge":"true"}}]}`},
		{"l2advertisements", "answers", `{"ipAddressPools":["answers"]}`},
		{"bgppeers", "tor", `{"myASN":64512,"peerASN":64513,"peerAddress":"10.0.0.1","nodeSelectors":[{"matchLabels":{"edge":"true"}}]}`},
	} {
		w.api.PutCustom(o.plural, map[string]any{
			"metadata": map[string]any{"name": o.name, "namespace": namespace, "generation": 1},
			"spec":     parseJSON(o.spec),
		})
	}
}

// place puts the endpoint of a Service onto its home.
func (w world) place(i, moved int) {
	ns, name := serviceKey(i)
	on := nodeName(w.home(i, moved))
	ready := true
	w.api.Put(endpointSlices, &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: ns, Name: name + "-x7k2p", GenerateName: name + "-",
			Labels:          map[string]string{discoveryv1.LabelServiceName: name, discoveryv1.LabelManagedBy: "endpointslice-controller.k8s.io", "app": name},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Service", Name: name, UID: uid("Service", ns, name)}},
			ManagedFields:   managed("kube-controller-manager", 600),
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: new(""), Port: new(int32(8080)), Protocol: new(corev1.ProtocolTCP)}},
		Endpoints: []discoveryv1.Endpoint{{
			Addresses: []string{fmt.Sprintf("10.244.%d.%d", i>>8&255, i&255)}, NodeName: &on,
			Conditions: discoveryv1.EndpointConditions{Ready: &ready, Serving: &ready, Terminating: new(false)},
			TargetRef:  &corev1.ObjectReference{Kind: "Pod", Namespace: ns, Name: name + "-6c9b5d7f4-x2v9q", UID: uid("Pod", ns, name)},
		}},
	})
}

// serviceObject returns a Service that has its address.
func serviceObject(i int) *corev1.Service {
	ns, name := serviceKey(i)
	pool := "routes"
	if !routed(i) {
		pool = "answers"
	}
	policy := corev1.ServiceExternalTrafficPolicyLocal
	if elected(i) {
		policy = corev1.ServiceExternalTrafficPolicyCluster
	}
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: ns, Name: name, Labels: map[string]string{"app": name, "team": ns},
			Annotations: map[string]string{
				"metallb.io/address-pool":                          pool,
				"kubectl.kubernetes.io/last-applied-configuration": strings.Repeat("x", 400),
			},
			ManagedFields: managed("kubectl-client-side-apply", 700),
		},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, ExternalTrafficPolicy: policy,
			ClusterIP: fmt.Sprintf("10.96.%d.%d", i>>8&255, i&255), ClusterIPs: []string{fmt.Sprintf("10.96.%d.%d", i>>8&255, i&255)},
			IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol}, Selector: map[string]string{"app": name},
			Ports: []corev1.ServicePort{{Name: "http", Protocol: corev1.ProtocolTCP, Port: 80, TargetPort: intstr.FromInt32(8080), NodePort: int32(30000 + i%2767)}},
		},
		Status: corev1.ServiceStatus{LoadBalancer: corev1.LoadBalancerStatus{Ingress: []corev1.LoadBalancerIngress{{IP: serviceAddr(i).String(), IPMode: new(corev1.LoadBalancerIPModeVIP)}}}},
	}
}

// nodeObject returns a Node as kubelets write it, with the usual number of images.
func nodeObject(i int, edge bool) *corev1.Node {
	n := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: nodeName(i),
			Labels: map[string]string{
				"kubernetes.io/hostname": nodeName(i), "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
				"topology.kubernetes.io/zone": fmt.Sprintf("zone-%d", i%3), "node.kubernetes.io/instance-type": "metal",
			},
			Annotations:   map[string]string{"node.alpha.kubernetes.io/ttl": "300", "volumes.kubernetes.io/controller-managed-attach-detach": "true"},
			ManagedFields: managed("kubelet", 2000),
		},
		Spec: corev1.NodeSpec{PodCIDR: fmt.Sprintf("10.%d.%d.0/24", 128+i>>8, i&255), PodCIDRs: []string{fmt.Sprintf("10.%d.%d.0/24", 128+i>>8, i&255)}},
		Status: corev1.NodeStatus{
			Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: nodeAddr(i).String()}, {Type: corev1.NodeHostName, Address: nodeName(i)}},
			NodeInfo:  corev1.NodeSystemInfo{KernelVersion: "6.12.0", OSImage: "Debian GNU/Linux 13", ContainerRuntimeVersion: "containerd://2.2.0", KubeletVersion: "v1.35.2"},
		},
	}
	if edge {
		n.Labels[edgeLabel] = "true"
	}
	for _, c := range []corev1.NodeConditionType{corev1.NodeMemoryPressure, corev1.NodeDiskPressure, corev1.NodePIDPressure, corev1.NodeReady, corev1.NodeNetworkUnavailable} {
		status := corev1.ConditionFalse
		if c == corev1.NodeReady {
			status = corev1.ConditionTrue
		}
		n.Status.Conditions = append(n.Status.Conditions, corev1.NodeCondition{
			Type: c, Status: status, Reason: "KubeletHasSufficientResources", Message: "kubelet has sufficient resources available", LastHeartbeatTime: metav1.Now(),
		})
	}
	for k := range 50 {
		n.Status.Images = append(n.Status.Images, corev1.ContainerImage{SizeBytes: 1 << 26, Names: []string{
			fmt.Sprintf("registry.example.com/team/image-%02d@sha256:%064d", k, k), fmt.Sprintf("registry.example.com/team/image-%02d:v1.2.3", k),
		}})
	}
	return n
}

func podName(i, life int) string { return fmt.Sprintf("agent-%04d-%d", i, life) }

// podObject returns the pod of an agent: another one after each restart.
func podObject(i, life int) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: podName(i, life), Labels: map[string]string{"app.kubernetes.io/component": "agent"}, ManagedFields: managed("kubelet", 1500),
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "apps/v1", Kind: "DaemonSet", Name: "herald-agent", UID: uid("DaemonSet", namespace, "herald-agent"), Controller: new(true), BlockOwnerDeletion: new(true),
			}},
		},
		Spec:   corev1.PodSpec{NodeName: nodeName(i), Containers: []corev1.Container{{Name: "agent", Image: "registry.example.com/herald-agent:v1"}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
	}
}

// managed returns what the API server notes about who wrote which field.
func managed(by string, size int) []metav1.ManagedFieldsEntry {
	return []metav1.ManagedFieldsEntry{{
		Manager: by, Operation: metav1.ManagedFieldsOperationUpdate, APIVersion: "v1", FieldsType: "FieldsV1", Time: &metav1.Time{Time: time.Unix(1.7e9, 0)},
		FieldsV1: metav1.NewFieldsV1(`{"f:metadata":{"f:labels":{".":{},"` + strings.Repeat("f", size) + `":{}}}}`),
	}}
}
