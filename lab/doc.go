// SPDX-License-Identifier: Apache-2.0

// Package lab builds networks of real kernels, FRR routers, GoBGP and a real
// Kubernetes API, for tests and for people to try things in.
//
// Nothing in it is simulated. A machine is a network namespace, on a bridge in
// a namespace of its own; a node has a mount namespace too, so that its FRR
// finds in /etc/frr and /run/frr exactly what a pod's volumes would hold. The
// default topology is:
//
//	                 switch, 10.10.0.0/24 and fd00:10:10::/64
//	   +-------+-------+-----+-----+-------------+
//	 .1|     .2|     .3| .100|     |.200         |.254
//	  n1      n2      n3    c2    g1            r1 ------ c1
//	nodes: FRR, pods      client  GoBGP        FRR   10.20.0.0/24
//
// The host reaches the nodes, and they it, over a management bridge that each
// lab has to itself: several labs can run at the same time.
//
// The control plane is package controlplane; tests of the product are in packages
// by area, which share package e2e.
//
// A program that uses the lab calls [Reexec] first, because the lab starts
// that same program again inside its namespaces.
package lab
