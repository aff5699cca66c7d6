// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"reflect"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/kube/object"
)

// services are the Services of all namespaces.
var services = kind[*corev1.Service, cluster.Key, *cluster.Service]{
	name:    "Services",
	from:    func(c *Client) lister { return c.services(metav1.NamespaceAll) },
	strip:   stripService,
	row:     object.FromService,
	key:     func(s *cluster.Service) cluster.Key { return s.Key },
	compare: cluster.Key.Compare,
}

// announcedServices are the same for agents, who read no conditions: that the controller has
// written one is no news, and nothing is decided again.
var announcedServices = func() kind[*corev1.Service, cluster.Key, *cluster.Service] {
	k := services
	k.row = func(svc *corev1.Service) *cluster.Service {
		s := object.FromService(svc)
		s.Conditions = nil
		return s
	}
	k.same = func(a, b *cluster.Service) bool {
		aged := *a
		aged.ResourceVersion = b.ResourceVersion
		return reflect.DeepEqual(&aged, b)
	}
	return k
}()

// stripService drops the copy of a Service that kubectl keeps in it.
func stripService(s *corev1.Service) { delete(s.Annotations, corev1.LastAppliedConfigAnnotation) }
