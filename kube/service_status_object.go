// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"strings"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/status"
)

// Labels of ServiceL2Status and ServiceBGPStatus, MetalLB's.
const (
	labelNode             = customGroup + "/node"
	labelServiceName      = customGroup + "/service-name"
	labelServiceNamespace = customGroup + "/service-namespace"
)

// serviceStatusKinds are the kinds of which each object is about a Service on a node.
var serviceStatusKinds = map[status.Protocol]string{status.Layer2: kindL2Status, status.BGP: kindBGPStatus}

// A serviceStatusObject is what there is of one object.
type serviceStatusObject struct {
	name    string
	content string // see contentOf
	owner   string // UID
	version string
	service cluster.Key
}

// serviceStatus is the status of either kind.
type serviceStatus struct {
	Node             string            `json:"node"`
	ServiceName      string            `json:"serviceName"`
	ServiceNamespace string            `json:"serviceNamespace"`
	Peers            []string          `json:"peers"` // null removes them
	Interfaces       []interfaceStatus `json:"interfaces"`
}

type interfaceStatus struct {
	Name string `json:"name"`
}

func objectSeen(o *customResource) serviceStatusObject {
	var have serviceStatus
	_ = json.Unmarshal(o.Status, &have) // what is no status is replaced
	out := serviceStatusObject{name: o.Name, content: contentOf(have), version: o.ResourceVersion}
	out.service = cluster.Key{Namespace: o.Labels[labelServiceNamespace], Name: o.Labels[labelServiceName]}
	if len(o.OwnerReferences) == 1 {
		out.owner = string(o.OwnerReferences[0].UID)
	}
	return out
}

// contentOf returns a text that is the same for equal statuses.
func contentOf(s serviceStatus) string {
	if len(s.Peers) == 0 {
		s.Peers = nil
	}
	if len(s.Interfaces) == 0 {
		s.Interfaces = nil
	}
	b, _ := json.Marshal(s) // strings always can be
	return string(b)
}

// newContent returns a content as a new object has it: what is not there is left out.
func newContent(content string) (json.RawMessage, error) {
	var s struct {
		Node             string            `json:"node"`
		ServiceName      string            `json:"serviceName"`
		ServiceNamespace string            `json:"serviceNamespace"`
		Peers            []string          `json:"peers,omitempty"`
		Interfaces       []interfaceStatus `json:"interfaces,omitempty"`
	}
	if err := json.Unmarshal([]byte(content), &s); err != nil {
		return nil, err
	}
	return json.Marshal(s)
}

// statusOf returns the status of the object that publishes w.
func statusOf(w reconcile.ServiceStatus) serviceStatus {
	out := serviceStatus{Node: w.Node, ServiceName: w.Service.Name, ServiceNamespace: w.Service.Namespace, Peers: w.Peers}
	for _, name := range w.Interfaces {
		out.Interfaces = append(out.Interfaces, interfaceStatus{name})
	}
	return out
}

// objectName returns the name of the object for a Service on a node. It is always
// the same, so that no second one can come to be.
func objectName(kind, node string, service cluster.Key) string {
	prefix := "bgp-"
	if kind == kindL2Status {
		prefix = "l2-"
	}
	return prefix + digest(node+"\n"+service.String())
}

// isObjectName reports whether a name may be what objectName returns. Names that other
// load balancers give are shorter.
func isObjectName(name string) bool {
	_, d, _ := strings.Cut(name, "-")
	return len(d) == digestLength && strings.Trim(d, "abcdefghijklmnopqrstuvwxyz234567") == ""
}

// digestLength is the length of a digest.
const digestLength = 20

// digest returns a short text that is another for another input.
func digest(of string) string {
	sum := sha256.Sum256([]byte(of))
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:])[:digestLength])
}

// longestLabel is the longest value that a label may have.
const longestLabel = 63

// labelValue returns a Node's name as far as it fits into a label.
func labelValue(node string) string {
	if len(node) <= longestLabel {
		return node
	}
	d := digest(node)
	return node[:longestLabel-len(d)-1] + "-" + d
}
