// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// A namespace is what Herald reads of a Namespace.
type namespace struct {
	name   string
	labels map[string]string
}

var namespaces = kind[*corev1.Namespace, string, namespace]{
	name:    "Namespaces",
	from:    func(c *Client) lister { return c.namespaces() },
	row:     func(n *corev1.Namespace) namespace { return namespace{n.Name, n.Labels} },
	key:     func(n namespace) string { return n.name },
	compare: strings.Compare,
}

// labelsOf returns the labels of namespaces by name.
func labelsOf(all []namespace) map[string]map[string]string {
	out := make(map[string]map[string]string, len(all))
	for _, n := range all {
		out[n.name] = n.labels
	}
	return out
}
