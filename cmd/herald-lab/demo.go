// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
)

func demoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Show Herald end to end, in its own lab",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return runDemo(c.Context(), c.OutOrStdout())
		},
	}
}

// demoConfig has a session with each router, and a pool for each protocol.
const demoConfig = `peers:
- {my-asn: 64512, peer-asn: 64513, peer-address: 10.10.0.254}   # r1, the ToR: FRR
- {my-asn: 64512, peer-asn: 64512, peer-address: 10.10.0.200}   # g1: GoBGP
address-pools:
- {name: wan, protocol: bgp, addresses: [192.0.2.0/24]}
- {name: default, protocol: layer2, addresses: [192.168.1.240-192.168.1.250]}
`

// demoPeers is how many there are.
const demoPeers = 2

// demoEdited is demoConfig with a community on the pool's routes.
var demoEdited = strings.Replace(demoConfig, "[192.0.2.0/24]}",
	"[192.0.2.0/24], bgp-advertisements: [{communities: [65010:7], localpref: 150}]}", 1)

// demoPatience bounds each step.
const demoPatience = 20 * time.Second

// A demo shows one step after the other; a step that is not seen to work is an
// error.
type demo struct {
	*lab.Stack
	out       io.Writer
	routes    *lab.RouteWatch
	gobgp     *lab.GoBGP
	neighbors *lab.NeighborWatch // on the nodes' LAN
}

func runDemo(ctx context.Context, out io.Writer) (err error) {
	d := &demo{out: out}
	d.say("Starting three nodes with FRR, a ToR router, two clients, GoBGP, a Kubernetes control plane and Herald …")
	start := time.Now()
	if d.Stack, err = lab.UpStack(ctx, lab.StackOptions{}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Down(context.WithoutCancel(ctx))) }()
	if d.gobgp, err = d.StartGoBGP(ctx, lab.GoBGPOptions{ASN: 64512}); err != nil {
		return err
	}
	if d.routes, err = d.Router.WatchRoutes(); err != nil {
		return err
	}
	defer d.routes.Close()
	if d.neighbors, err = d.LANClient.WatchNeighbors(); err != nil {
		return err
	}
	defer d.neighbors.Close()
	for _, n := range d.Nodes {
		if _, err := n.StartBackend(ctx); err != nil {
			return err
		}
	}
	if err := d.pods(ctx); err != nil {
		return err
	}
	d.say("… up after %.1f s: n1, n2, n3 on 10.10.0.0/24, r1 at 10.10.0.254, client c1 behind r1, c2 on the LAN", time.Since(start).Seconds())
	for _, step := range []func(context.Context) error{d.configure, d.service, d.traffic, d.edit, d.layer2, d.crash, d.change, d.remove} {
		ctx, cancel := context.WithTimeout(ctx, demoPatience)
		err := step(ctx)
		cancel()
		if err != nil {
			return err
		}
	}
	d.say("Every step was seen to work.")
	return nil
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.out, "\n"+format+"\n", args...) }

// show prints output of the lab, indented.
func (d *demo) show(text string) {
	for line := range strings.Lines(strings.TrimRight(text, "\n") + "\n") {
		fmt.Fprint(d.out, "    ", line)
	}
}

// demoService is the Service of the demonstration.
var demoService = controlplane.ServiceOptions{Namespace: "shop", Name: "web"}

func (d *demo) configure(ctx context.Context) error {
	d.say("The ConfigMap metallb-system/config, key config:")
	d.show(demoConfig)
	if err := d.Configure(ctx, demoConfig); err != nil {
		return err
	}
	start := time.Now()
	if err := d.sessions(ctx); err != nil {
		return err
	}
	d.say("All three nodes have their BGP sessions after %d ms. On n1:", time.Since(start).Milliseconds())
	out, err := d.Nodes[0].FRR.Vtysh(ctx, "show bgp ipv4 unicast summary")
	d.show(out)
	return err
}

// sessions waits until every session of every node is up.
func (d *demo) sessions(ctx context.Context) error {
	for _, n := range d.Nodes {
		r := frr.NewReader(n.FRR.RunDir)
		defer r.Close()
		for {
			all, err := r.Sessions(ctx)
			if err != nil {
				return err
			}
			if len(all) == demoPeers && !slices.ContainsFunc(all, func(s frr.Session) bool { return !s.Up }) {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("wait for the sessions of %s: %w", n.Name, ctx.Err())
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	return nil
}

// service makes the Service and waits for its address and its routes.
func (d *demo) service(ctx context.Context) error {
	d.say("A Service of type LoadBalancer, shop/web, with a ready backend on each node:")
	if err := d.SetBackends(ctx, demoService); err != nil {
		return err
	}
	start := time.Now()
	if _, err := d.Cluster.CreateService(ctx, demoService); err != nil {
		return err
	}
	addr, err := d.address(ctx)
	if err != nil {
		return err
	}
	d.show(fmt.Sprintf("%4d ms  address %s in the Service's status", time.Since(start).Milliseconds(), addr))
	for _, wait := range []struct {
		what  string
		state lab.RouteState
	}{{"a route", lab.Present()}, {"the route via n1, n2 and n3", lab.Via(d.hops()...)}} {
		at, err := d.routes.Wait(ctx, route(addr), start, wait.state)
		if err != nil {
			return err
		}
		d.show(fmt.Sprintf("%4d ms  %s in r1's kernel", at.Sub(start).Milliseconds(), wait.what))
	}
	if _, err := d.paths(ctx, route(addr), len(d.Nodes)); err != nil {
		return err
	}
	svc, err := d.Cluster.WaitService(ctx, demoService.Namespace, demoService.Name, func(*corev1.Service) bool { return true })
	if err != nil {
		return err
	}
	for _, c := range svc.Status.Conditions {
		d.show(fmt.Sprintf("condition %s=%s %s: %s", c.Type, c.Status, c.Reason, c.Message))
	}
	d.say("r1's routing table (ip route), and what GoBGP has learned:")
	out, err := d.Router.Run(ctx, "ip", "route", "show", addr.String())
	if err != nil {
		return err
	}
	d.show(out)
	return d.showPaths(ctx, route(addr))
}

// traffic asks the Service from behind r1 until each node's backend answered.
func (d *demo) traffic(ctx context.Context) error {
	addr, err := d.address(ctx)
	if err != nil {
		return err
	}
	d.say("Client c1, behind r1, asks http://%s/ — through r1's multipath route and kube-proxy:", addr)
	start := time.Now()
	if err := d.proxied(ctx, d.Client, addr); err != nil {
		return err
	}
	d.show(fmt.Sprintf("kube-proxy on all nodes knows the Service too, %d ms later", time.Since(start).Milliseconds()))
	answers := map[string]int{}
	const requests = 30
	for sent := 0; sent < requests || len(answers) < len(d.Nodes); sent++ {
		a, err := d.Client.Get(ctx, "http://"+addr.String()+"/")
		if err != nil {
			return fmt.Errorf("request %d: %w", sent+1, err)
		}
		answers[a.Backend]++
	}
	for _, n := range d.Nodes {
		d.show(fmt.Sprintf("%2d answers from the backend on %s", answers[n.Name], n.Name))
	}
	return nil
}

// proxied waits until so many requests from a machine in a row are answered that
// each node's kube-proxy must know the Service: it learns of it when Herald does,
// and takes up to a second longer.
func (d *demo) proxied(ctx context.Context, m *lab.Machine, addr netip.Addr) error {
	const inARow = 24
	for answered := 0; answered < inARow; answered++ {
		once, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		_, err := m.Get(once, "http://"+addr.String()+"/")
		cancel()
		if ctx.Err() != nil {
			return err
		}
		if err != nil {
			answered = 0
		}
	}
	return nil
}

// edit changes the pool's advertisement while the route is there.
func (d *demo) edit(ctx context.Context) error {
	addr, err := d.address(ctx)
	if err != nil {
		return err
	}
	d.say("The pool's routes get a community and a local preference: bgp-advertisements: [{communities: [65010:7], localpref: 150}]")
	start := time.Now()
	if err := d.Configure(ctx, demoEdited); err != nil {
		return err
	}
	_, err = d.gobgp.WaitPaths(ctx, func(all []lab.Path) error {
		marked := 0
		for _, p := range all {
			if p.Prefix == route(addr) && len(p.Communities) == 1 && p.Communities[0] == "65010:7" && p.LocalPref != nil && *p.LocalPref == 150 {
				marked++
			}
		}
		if marked < len(d.Nodes) {
			return fmt.Errorf("%d of %d paths have them", marked, len(d.Nodes))
		}
		return nil
	})
	if err != nil {
		return err
	}
	d.show(fmt.Sprintf("%4d ms  GoBGP has them from every node", time.Since(start).Milliseconds()))
	return d.showPaths(ctx, route(addr))
}

// remove deletes the Service and waits until nobody has its route.
func (d *demo) remove(ctx context.Context) error {
	addr, err := d.address(ctx)
	if err != nil {
		return err
	}
	d.say("The Service is deleted:")
	start := time.Now()
	if err := d.Cluster.DeleteService(ctx, demoService.Namespace, demoService.Name); err != nil {
		return err
	}
	at, err := d.routes.Wait(ctx, route(addr), start, lab.Absent())
	if err != nil {
		return err
	}
	d.show(fmt.Sprintf("%4d ms  the route is gone from r1's kernel", at.Sub(start).Milliseconds()))
	if _, err := d.paths(ctx, route(addr), 0); err != nil {
		return err
	}
	d.show("         and from GoBGP's table")
	return nil
}

// address returns the Service's address.
func (d *demo) address(ctx context.Context) (netip.Addr, error) {
	addrs, err := d.Cluster.WaitAddress(ctx, demoService.Namespace, demoService.Name)
	if err != nil {
		return netip.Addr{}, err
	}
	return addrs[0], nil
}

func (d *demo) hops() []netip.Addr {
	var hops []netip.Addr
	for _, n := range d.Nodes {
		hops = append(hops, n.Addr4)
	}
	return hops
}

// paths waits until GoBGP has so many paths to the prefix, and returns them.
func (d *demo) paths(ctx context.Context, p netip.Prefix, want int) (found []lab.Path, err error) {
	_, err = d.gobgp.WaitPaths(ctx, func(all []lab.Path) error {
		found = nil
		for _, path := range all {
			if path.Prefix == p {
				found = append(found, path)
			}
		}
		if len(found) != want {
			return fmt.Errorf("%d paths to %s, want %d", len(found), p, want)
		}
		return nil
	})
	return found, err
}

// showPaths prints GoBGP's paths to the prefix.
func (d *demo) showPaths(ctx context.Context, p netip.Prefix) error {
	found, err := d.paths(ctx, p, len(d.Nodes))
	if err != nil {
		return err
	}
	for _, path := range found {
		line := fmt.Sprintf("%s from %s next hop %s", path.Prefix, path.Peer, path.NextHop)
		if path.LocalPref != nil {
			line += fmt.Sprintf(" local preference %d", *path.LocalPref)
		}
		if len(path.Communities) > 0 {
			line += " communities " + strings.Join(path.Communities, " ")
		}
		d.show(line)
	}
	return nil
}

func route(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }
