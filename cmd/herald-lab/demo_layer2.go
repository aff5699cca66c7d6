// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/heraldlb/herald/l2"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
)

// layer2Range is the network of demoConfig's layer 2 pool, which r1 and c2 take
// to be on the nodes' LAN.
const layer2Range = "192.168.1.0/24"

// demoSwitched is demoConfig with the layer 2 pool announced over BGP.
var demoSwitched = strings.Replace(demoConfig, "protocol: layer2", "protocol: bgp", 1)

// homeService is the Service that gets an address of the layer 2 pool.
var homeService = controlplane.ServiceOptions{
	Namespace: "shop", Name: "home", Backends: demoService.Name,
	Annotations: map[string]string{"metallb.io/address-pool": "default"},
}

// layer2 makes a Service in the layer 2 pool and asks who has its address.
func (d *demo) layer2(ctx context.Context) error {
	d.say("Layer 2: a Service in the pool default. c2 is on the nodes' LAN, and asks by ARP who has its address:")
	for _, m := range []*lab.Machine{d.LANClient, d.Router.Machine} {
		if _, err := m.Run(ctx, "ip", "route", "replace", layer2Range, "dev", "eth0"); err != nil {
			return err
		}
	}
	start := time.Now()
	if _, err := d.Cluster.CreateService(ctx, homeService); err != nil {
		return err
	}
	addr, err := d.home(ctx)
	if err != nil {
		return err
	}
	d.show(fmt.Sprintf("%4d ms  address %s in the Service's status", time.Since(start).Milliseconds(), addr))
	claim, err := d.neighbors.WaitClaim(ctx, addr, start, func(l2.MAC) bool { return true })
	if err != nil {
		return err
	}
	owner := d.Owner(claim.MAC)
	if owner == nil {
		return fmt.Errorf("%s has the address, which is no node", claim.MAC)
	}
	d.show(fmt.Sprintf("%4d ms  gratuitous ARP: %s is at %s, which is %s", claim.Time.Sub(start).Milliseconds(), addr, claim.MAC, owner.Name))
	macs, err := d.neighbors.Ask(ctx, addr, 200*time.Millisecond)
	if err != nil {
		return err
	}
	if len(macs) != 1 || macs[0] != claim.MAC {
		return fmt.Errorf("%v answer for %s, want %s alone", macs, addr, claim.MAC)
	}
	d.show(fmt.Sprintf("         one answer to ARP, from %s", owner.Name))
	if err := d.proxied(ctx, d.LANClient, addr); err != nil {
		return err
	}
	answer, err := d.LANClient.Get(ctx, "http://"+addr.String()+"/")
	if err != nil {
		return err
	}
	d.show(fmt.Sprintf("         c2 asks http://%s/ and the backend on %s answers", addr, answer.Backend))
	return nil
}

// crash takes the power from the owner's network card.
func (d *demo) crash(ctx context.Context) error {
	addr, err := d.home(ctx)
	if err != nil {
		return err
	}
	macs, err := d.neighbors.Ask(ctx, addr, 200*time.Millisecond)
	if err != nil || len(macs) != 1 {
		return errors.Join(err, fmt.Errorf("%v answer for %s", macs, addr))
	}
	owner := d.Owner(macs[0])
	d.say("The owner, %s, is cut off:", owner.Name)
	start := time.Now()
	if err := d.SetCable(ctx, owner.Machine, false); err != nil {
		return err
	}
	claim, err := d.neighbors.WaitClaim(ctx, addr, start, func(by l2.MAC) bool { return by != macs[0] })
	if err != nil {
		return err
	}
	d.show(fmt.Sprintf("%4d ms  gratuitous ARP: %s is at %s, which is %s", claim.Time.Sub(start).Milliseconds(), addr, claim.MAC, d.Owner(claim.MAC).Name))
	if err := d.diagnose(ctx, owner.Name); err != nil {
		return err
	}
	if err := d.SetCable(ctx, owner.Machine, true); err != nil {
		return err
	}
	if err := d.sessions(ctx); err != nil {
		return err
	}
	d.say("%s is back, and all is well:", owner.Name)
	return d.asks(ctx, 0, "", "status")
}

// change switches the layer 2 pool to BGP and back while c1 asks.
func (d *demo) change(ctx context.Context) error {
	addr, err := d.home(ctx)
	if err != nil {
		return err
	}
	d.say("c1 asks http://%s/ a hundred times a second, while the pool default is switched from layer2 to bgp and back:", addr)
	load := d.Client.StartLoad(lab.LoadOptions{URL: "http://" + addr.String() + "/", PerSecond: 100})
	defer load.Stop()
	start := time.Now()
	if err := d.Configure(ctx, demoSwitched); err != nil {
		return err
	}
	at, err := d.routes.Wait(ctx, route(addr), start, lab.Via(d.hops()...))
	if err != nil {
		return err
	}
	d.show(fmt.Sprintf("%4d ms  the route via n1, n2 and n3 in r1's kernel", at.Sub(start).Milliseconds()))
	if err := d.unanswered(ctx, addr); err != nil {
		return err
	}
	d.show(fmt.Sprintf("%4d ms  nobody answers to ARP any more", time.Since(start).Milliseconds()))
	start = time.Now()
	if err := d.Configure(ctx, demoConfig); err != nil {
		return err
	}
	claim, err := d.neighbors.WaitClaim(ctx, addr, start, func(l2.MAC) bool { return true })
	if err != nil {
		return err
	}
	d.show(fmt.Sprintf("%4d ms  gratuitous ARP by %s", claim.Time.Sub(start).Milliseconds(), d.Owner(claim.MAC).Name))
	if at, err = d.routes.Wait(ctx, route(addr), start, lab.Absent()); err != nil {
		return err
	}
	d.show(fmt.Sprintf("%4d ms  the route is gone from r1's kernel", at.Sub(start).Milliseconds()))
	report := load.Stop()
	d.show(fmt.Sprintf("         %d requests, %d lost, the slowest took %d ms; %d were on their way when the path changed, and sent again",
		report.Sent, report.Lost, report.Slowest.Milliseconds(), report.Again))
	if report.Lost > 0 {
		return fmt.Errorf("%d requests were lost: %w", report.Lost, report.LastError)
	}
	return nil
}

// unanswered waits until nobody answers for an address.
func (d *demo) unanswered(ctx context.Context, addr netip.Addr) error {
	for {
		macs, err := d.neighbors.Ask(ctx, addr, 100*time.Millisecond)
		if err != nil || len(macs) == 0 {
			return err
		}
	}
}

// home returns the address of homeService.
func (d *demo) home(ctx context.Context) (netip.Addr, error) {
	addrs, err := d.Cluster.WaitAddress(ctx, homeService.Namespace, homeService.Name)
	if err != nil {
		return netip.Addr{}, err
	}
	return addrs[0], nil
}
