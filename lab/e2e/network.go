// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/heraldlb/herald/lab"
)

// Eventually polls until a check succeeds, for at most 20 seconds.
func Eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not in 20 seconds: %v", what, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Service and Service6 are routes of a service that nodes serve without Kubernetes.
var (
	Service  = netip.MustParsePrefix("198.51.100.7/32")
	Service6 = netip.MustParsePrefix("2001:db8:7::1/128")
)

// Values compares netip's types, which have unexported fields.
var Values = cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})

// Serve has a node answer at the service addresses, port 80.
func Serve(t *testing.T, n *lab.Node) {
	t.Helper()
	var listen []netip.AddrPort
	for _, p := range []netip.Prefix{Service, Service6} {
		if err := n.AddLocal(p.Addr()); err != nil {
			t.Fatal(err)
		}
		listen = append(listen, netip.AddrPortFrom(p.Addr(), 80))
	}
	if _, err := n.StartBackendAt(Deadline(t), n.Name, listen...); err != nil {
		t.Fatal(err)
	}
}

// ServiceURL is where the service answers.
func ServiceURL(p netip.Prefix) string {
	return "http://" + netip.AddrPortFrom(p.Addr(), 80).String() + "/"
}

// Routed waits for a route of the router, and logs how long it took.
func Routed(t *testing.T, w *lab.RouteWatch, what string, p netip.Prefix, since time.Time, want lab.RouteState) {
	t.Helper()
	at, err := w.Wait(Deadline(t), p, since, want)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	t.Logf("%s: %v", what, at.Sub(since).Round(10*time.Microsecond))
}

// ReadPods reads the pods of the manifest, which the lab runs its containers from.
func ReadPods(t *testing.T) *lab.Pods {
	t.Helper()
	pods, err := lab.ReadPods("../../deploy")
	if err != nil {
		t.Fatal(err)
	}
	return pods
}

// Network is what a lab without GoBGP needs.
var Network = []string{"zebra", "bgpd", "bfdd", "staticd", "vtysh", "ip", "nsenter", "unshare"}

// Deadline bounds one step of a lab test. A step takes far less; a busy machine
// may need a part of it.
func Deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// OnLAN returns an address of the nodes' LAN.
func OnLAN(host int) netip.Addr { return netip.AddrFrom4([4]byte{10, 10, 0, byte(host)}) }

// OnLAN6 returns the IPv6 address of the same host.
func OnLAN6(host int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("fd00:10:10::%d", host)) }
