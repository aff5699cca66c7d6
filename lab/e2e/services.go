// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
)

// The families of a Service.
const (
	IPv4 = corev1.IPv4Protocol
	IPv6 = corev1.IPv6Protocol
)

// BGPPools is a configuration of these pools and of sessions with all routers. No two
// tests share an address, so that a route that one leaves behind cannot pass for
// another's.
func BGPPools(pools string) string { return AllPeers + "address-pools:\n" + pools }

// ServicePort is a TCP port that leads to the backends.
func ServicePort(port int32) corev1.ServicePort {
	return corev1.ServicePort{
		Name: fmt.Sprintf("p%d", port), Port: port, TargetPort: intstr.FromInt32(controlplane.BackendPort), Protocol: corev1.ProtocolTCP,
	}
}

// served waits until every node's kube-proxy knows port 80 of an address. It is
// up to a second behind, and whatever comes to a node before goes back to the
// router, in circles.
func (e *Test) served(a netip.Addr) {
	e.T.Helper()
	family := "ip"
	if a.Is6() {
		family = "ip6"
	}
	for _, n := range e.Nodes {
		e.Eventually("kube-proxy of "+n.Name, func(ctx context.Context) error {
			rules, err := n.Run(ctx, "nft", "list table "+family+" kube-proxy")
			if err == nil && !strings.Contains(rules, a.String()+" . tcp . 80 ") {
				err = fmt.Errorf("no rule for port 80 of %s", a)
			}
			return err
		})
	}
}

// Event waits for an event about a Service of the test.
func (e *Test) Event(service, reason, message string) {
	e.T.Helper()
	e.Eventually("event "+reason, func(ctx context.Context) error {
		list, err := e.Cluster.Client().CoreV1().Events(e.Namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		var others []string
		for _, ev := range list.Items {
			if ev.InvolvedObject.Name == service && ev.Reason == reason && strings.Contains(ev.Message, message) {
				return nil
			}
			others = append(others, ev.Reason+": "+ev.Message)
		}
		return fmt.Errorf("only %q", others)
	})
}

// Layer2Pools is a configuration of layer 2 pools on the nodes' LAN, and of
// sessions, which stay as in other tests.
func Layer2Pools(pools string) string { return AllPeers + "address-pools:\n" + pools }

// Layer2Pool is one pool of IPv4 and IPv6 addresses, with a name.
func Layer2Pool(addresses string) string {
	return Layer2Pools("- {name: lan, protocol: layer2, addresses: " + addresses + "}")
}

// ReachedFrom asks the Service from a machine until the answers came from exactly
// these nodes' backends, no nodes meaning all.
func (e *Test) ReachedFrom(m *lab.Machine, a netip.Addr, nodes ...*lab.Node) {
	e.T.Helper()
	if len(nodes) == 0 {
		nodes = e.Nodes
	}
	want := map[string]bool{}
	for _, n := range nodes {
		want[n.Name] = true
	}
	seen := map[string]bool{}
	url := "http://" + netip.AddrPortFrom(a, 80).String() + "/"
	e.Eventually("reach "+url+" from "+m.Name, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		answer, err := m.Get(ctx, url)
		if err != nil {
			return err
		}
		if !want[answer.Backend] {
			e.T.Fatalf("%s answered at %s, want only %v", answer.Backend, url, want)
		}
		seen[answer.Backend] = true
		if len(seen) < len(want) {
			return fmt.Errorf("only %v answered, want %v", seen, want)
		}
		return nil
	})
}

// Address returns the address of a Service that exists.
func (r *Resources) Address(name string) netip.Addr {
	r.T.Helper()
	addrs, err := r.Cluster.WaitAddress(r.T.Context(), r.Namespace, name)
	if err != nil {
		r.T.Fatal(err)
	}
	return addrs[0]
}
