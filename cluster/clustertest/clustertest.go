// SPDX-License-Identifier: Apache-2.0

// Package clustertest has the objects that tests of several packages begin with.
package clustertest

import (
	"net/netip"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/port"
)

func Service(namespace, name string) *cluster.Service {
	return &cluster.Service{
		Key:          cluster.Key{Namespace: namespace, Name: name},
		UID:          name,
		Created:      time.Unix(0, 0),
		Annotations:  map[string]string{},
		LoadBalancer: true,
		ClusterIPs:   []netip.Addr{netip.MustParseAddr("10.96.0.1")},
		Ports:        port.NewSet(port.Port{Protocol: "TCP", Number: 80}, port.Port{Protocol: "TCP", Number: 443}),
	}
}

// Values compares values of net/netip, and sets of ports.
var Values = cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}, port.Set{})
