// SPDX-License-Identifier: Apache-2.0

package sidecar_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
)

// The ports of BFD, as the kernel lists them: 3784 of single-hop sessions, 3785 of echo
// packets, 4784 of multihop sessions. RFC 5881, Section 4, and RFC 5883, Section 5.
const (
	singleHopPort = "0EC8"
	echoPort      = "0EC9"
	multihopPort  = "12B0"
)

// listensForBFD returns which of the ports of BFD a process of the node has bound.
func listensForBFD(ctx context.Context, n *lab.Node) ([]string, error) {
	out, err := n.Run(ctx, "cat", "/proc/net/udp", "/proc/net/udp6")
	if err != nil {
		return nil, err
	}
	var ports []string
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		_, port, _ := strings.Cut(f[1], ":")
		if slices.Contains([]string{singleHopPort, echoPort, multihopPort}, port) && !slices.Contains(ports, port) {
			ports = append(ports, port)
		}
	}
	return ports, nil
}

// runsOnDemand reports an error unless these daemons run on a node, out of those that run
// on demand, and both containers are ready and say so.
func runsOnDemand(ctx context.Context, e *e2e.Test, n *lab.Node, wanted ...string) error {
	health, err1 := n.Sidecar.Get(ctx, "/readyz")
	_, err2 := n.Sidecar.Get(ctx, "/livez")
	_, err3 := e.Agent(n).Get(ctx, "/readyz")
	metrics, err4 := n.Sidecar.Get(ctx, "/metrics")
	ports, err5 := listensForBFD(ctx, n)
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return err
	}
	for _, d := range []string{"bfdd", "staticd"} {
		want := slices.Contains(wanted, d)
		word := map[bool]string{true: "ok", false: "not needed"}[want]
		if pid := n.Sidecar.PID(d); (pid != 0) != want || !strings.Contains(health, d+": "+word+"\n") {
			return fmt.Errorf("%s is process %d, wanted %v; the health is %q", d, pid, want, health)
		}
		if has := strings.Contains(metrics, fmt.Sprintf("\nherald_frr_process_up{daemon=%q} 1\n", d)); has != want ||
			strings.Contains(metrics, fmt.Sprintf("\nherald_frr_process_up{daemon=%q} 0\n", d)) {
			return fmt.Errorf("%s, wanted %v, has a wrong metric", d, want)
		}
		if !strings.Contains(metrics, fmt.Sprintf("\nherald_frr_process_restarts_total{daemon=%q} 0\n", d)) {
			return fmt.Errorf("%s was restarted", d)
		}
	}
	switch bfd := slices.Contains(wanted, "bfdd"); {
	case !bfd && len(ports) > 0:
		return fmt.Errorf("ports %q are bound", ports)
	case bfd && !(slices.Contains(ports, singleHopPort) && slices.Contains(ports, multihopPort)):
		return fmt.Errorf("ports %q are bound, and not both others", ports)
	}
	return nil
}

// Bfdd and staticd run while the configuration has something for them. Without them the
// ports of BFD are closed, nothing is wrong, and no route is lost as they come and go.
func TestSidecarDemand(t *testing.T) {
	whole := newSidecarE2E(t)
	r := whole.Resources()
	peer := func(more ...string) string {
		return e2e.RouterPeer("four", "10.10.0.254", append([]string{"connectTime: 1s"}, more...)...)
	}
	const profile = "\n---\n{apiVersion: metallb.io/v1beta1, kind: BFDProfile, metadata: {name: fast}, spec: {receiveInterval: 100, transmitInterval: 100}}\n"
	r.Apply(peer() + `
---
{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: p}, spec: {addresses: [192.0.2.0/26]}}
---
{apiVersion: metallb.io/v1beta1, kind: BGPAdvertisement, metadata: {name: ad}}` + profile)
	nodes, _ := whole.VersionNodes("matchLabels")
	route := e2e.Route(whole.Expose(controlplane.ServiceOptions{Name: "web"})[0])
	whole.InKernel(route, whole.Nodes)
	onAll := func(what string, wanted ...string) {
		t.Helper()
		start := time.Now()
		whole.Eventually(what, func(ctx context.Context) error {
			for _, n := range nodes {
				if err := runsOnDemand(ctx, whole, n, wanted...); err != nil {
					return fmt.Errorf("%s: %w", n.Name, err)
				}
			}
			return nil
		})
		t.Logf("%s: %v", what, time.Since(start).Round(time.Millisecond))
	}
	onAll("nothing is needed")
	before := whole.Connections()
	since := time.Now()

	// r1's BFD is not that of its BGP sessions, which are to survive all that follows.
	far := []string{"configure terminal", "bfd"}
	for _, n := range whole.Nodes {
		far = append(far, "peer "+n.Addr4.String(), "receive-interval 100", "transmit-interval 100", "exit")
	}
	if _, err := whole.Router.FRR.Vtysh(t.Context(), far...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		undo := []string{"configure terminal", "bfd"}
		for _, n := range whole.Nodes {
			undo = append(undo, "no peer "+n.Addr4.String())
		}
		if _, err := whole.Router.FRR.Vtysh(context.Background(), undo...); err != nil {
			t.Error(err)
		}
	})
	r.Apply(peer("bfdProfile: fast"))
	onAll("a peer has BFD", "bfdd")
	whole.Eventually("BFD is up", func(ctx context.Context) error {
		for _, n := range nodes {
			all, err := e2e.BFDSessions(ctx, n.FRR)
			if err != nil {
				return err
			}
			if s := all[whole.Router.Addr4]; s.Status != "up" || s.ReceiveInterval != 100 {
				return fmt.Errorf("%s: %+v", n.Name, s)
			}
		}
		return nil
	})
	for _, n := range nodes {
		if got := extras(whole, n, "ip route 198.51.100.0/24 blackhole\n"); !got.Applied || got.Remark != "" {
			t.Errorf("raw configuration on %s: %+v", n.Name, got)
		}
	}
	onAll("raw configuration has a route", "bfdd", "staticd")
	kernel := func(want bool) {
		t.Helper()
		whole.Eventually("the static route", func(ctx context.Context) error {
			for _, n := range nodes {
				out, err := n.Run(ctx, "ip", "route", "show", "198.51.100.0/24")
				if err == nil && strings.Contains(out, "blackhole") != want {
					err = fmt.Errorf("%s has %q", n.Name, out)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	kernel(true)

	r.Apply(peer())
	for _, n := range nodes {
		if got := extras(whole, n, ""); !got.Applied {
			t.Errorf("raw configuration on %s: %+v", n.Name, got)
		}
	}
	kernel(false)
	onAll("nothing is needed any more")
	if away := e2e.Absence(whole.Routes.History(route), since); away > time.Millisecond {
		t.Errorf("r1 had no route for %v", away)
	}
	for name, n := range whole.Connections() {
		if n != before[name] {
			t.Errorf("the session of %s came up %d times, before %d", name, n, before[name])
		}
	}

	// Raw configuration can have BFD of its own.
	for _, n := range nodes {
		if got := extras(whole, n, "bfd\n profile own\n  receive-interval 200\n exit\nexit\n"); !got.Applied || got.Remark != "" {
			t.Errorf("raw configuration on %s: %+v", n.Name, got)
		}
	}
	onAll("raw configuration has a profile", "bfdd")
	for _, n := range nodes {
		text, err := n.FRR.Vtysh(t.Context(), "show running-config")
		if err != nil || !strings.Contains(text, "profile own") {
			t.Errorf("%s does not run the profile: %v", n.Name, err)
		}
	}
}
