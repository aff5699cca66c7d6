// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/condition"
	"github.com/heraldlb/herald/lab/process"
	"github.com/heraldlb/herald/status"
)

// addressesOf returns the addresses in a Service's status, in order.
func addressesOf(svc *corev1.Service) []netip.Addr {
	var all []netip.Addr
	for _, i := range svc.Status.LoadBalancer.Ingress {
		if a, err := netip.ParseAddr(i.IP); err == nil {
			all = append(all, a)
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return all
}

// settled waits until Herald says what the world wants, and routers and hosts see what
// Herald says.
func (w *watch) settled(ctx context.Context, world World, limit time.Duration, pending func(error) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return process.Poll(ctx, 200*time.Millisecond, func() error { return pending(w.compare(ctx, world)) })
}

// compare is one look of settled.
func (w *watch) compare(ctx context.Context, world World) error {
	reports, err := w.reports(ctx)
	if err != nil {
		return err
	}
	list, err := w.rig.Cluster.Client().CoreV1().Services(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	services := map[string]*corev1.Service{}
	for i := range list.Items {
		services[list.Items[i].Name] = &list.Items[i]
	}
	wanted := map[netip.Prefix][]string{} // by route, the nodes that announce it
	for _, name := range slices.Sorted(maps.Keys(world.Services)) {
		want, svc := world.Services[name], services[name]
		if svc == nil {
			return fmt.Errorf("there is no Service %s", name)
		}
		addrs := addressesOf(svc)
		if want.Pool == poolSpare && !world.Spare {
			if len(addrs) == 0 {
				continue
			}
			// A Service that asks for a pool which is not there keeps what another pool gave it.
			if want.Pool = poolOf(addrs[0]); want.Pool == "" {
				return fmt.Errorf("%s has %v of a pool that is gone", name, addrs)
			}
		}
		if len(addrs) != 1 {
			return fmt.Errorf("%s has the addresses %v, want one", name, addrs)
		}
		nodes := world.Announcers(want)
		if err := announcedAs(svc, len(nodes) > 0); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if world.Layer2(want) {
			if err := w.owned(ctx, name, addrs[0], nodes, reports); err != nil {
				return err
			}
			continue
		}
		if len(nodes) > 0 {
			wanted[route(addrs[0])] = nodes
		}
		if macs, err := w.neighbors.Ask(ctx, addrs[0], askWait); err != nil || len(macs) > 0 {
			return errors.Join(err, fmt.Errorf("%v answer for %s, the address of %s, which is not on layer 2", macs, addrs[0], name))
		}
	}
	return w.routed(ctx, wanted, reports)
}

// reports returns what the agents say, all of which are to be well.
func (w *watch) reports(ctx context.Context) (map[string]status.Report, error) {
	all := map[string]status.Report{}
	leaders := 0
	for part, d := range w.rig.daemons() {
		if strings.HasPrefix(part, "frr-") {
			if _, err := d.Get(ctx, "/readyz"); err != nil {
				return nil, err
			}
			continue
		}
		page, err := d.Get(ctx, "/status")
		if err != nil {
			return nil, err
		}
		var r status.Report
		if err := json.Unmarshal([]byte(page), &r); err != nil {
			return nil, fmt.Errorf("status of %s: %w", part, err)
		}
		if r.Leading {
			leaders++
		}
		if err := well(r); err != nil {
			return nil, fmt.Errorf("%s: %w", part, err)
		}
		if r.Node != "" {
			all[r.Node] = r
		}
	}
	if leaders != 1 {
		return nil, fmt.Errorf("%d controllers lead", leaders)
	}
	return all, nil
}

// well reports what a process says is wrong.
func well(r status.Report) error {
	switch {
	case !r.Synced:
		return errors.New("it is not synced")
	case r.Error != "":
		return errors.New(r.Error)
	case r.Config.Error != "":
		return errors.New(r.Config.Error)
	case r.FRR != nil && !r.FRR.Applied:
		return fmt.Errorf("FRR does not run what is wanted: %s", r.FRR.Error)
	case r.Layer2 != nil && (r.Layer2.Stale || len(r.Layer2.Members) != len(NodeNames)):
		return fmt.Errorf("it knows of %d agents, stale: %v", len(r.Layer2.Members), r.Layer2.Stale)
	}
	for _, p := range r.Peers {
		if p.Wanted && !p.Session.Up() {
			return fmt.Errorf("its session with %s is %s", p.Name, p.Session.State)
		}
	}
	return nil
}

// announcedAs compares the condition Announced of a Service.
func announcedAs(svc *corev1.Service, want bool) error {
	for _, c := range svc.Status.Conditions {
		if c.Type == condition.TypeAnnounced {
			if (c.Status == metav1.ConditionTrue) != want {
				return fmt.Errorf("its condition is %s, %s: %s", c.Status, c.Reason, c.Message)
			}
			return nil
		}
	}
	return errors.New("it has no condition")
}

// owned compares who answers for an address with who says so.
func (w *watch) owned(ctx context.Context, name string, a netip.Addr, nodes []string, reports map[string]status.Report) error {
	macs, err := w.neighbors.Ask(ctx, a, askWait)
	if err != nil {
		return err
	}
	var heard, said []string
	for _, m := range macs {
		heard = append(heard, w.macs[m])
	}
	slices.Sort(heard)
	for _, node := range NodeNames {
		for _, d := range reports[node].Decisions {
			if d.Addr == a && d.Protocol == status.Layer2 && d.Announce {
				said = append(said, node)
			}
		}
	}
	if !slices.Equal(heard, said) || len(said) != min(1, len(nodes)) || len(said) > 0 && !slices.Contains(nodes, said[0]) {
		return fmt.Errorf("%v answer for %s, the address of %s; %v say so; one of %v should", heard, a, name, said, nodes)
	}
	return nil
}

// routed compares what routers have with what agents say and what is wanted.
func (w *watch) routed(ctx context.Context, wanted map[netip.Prefix][]string, reports map[string]status.Report) error {
	said := map[netip.Prefix][]string{}
	for _, node := range NodeNames {
		for _, d := range reports[node].Decisions {
			if d.Protocol != status.BGP || !d.Announce {
				continue
			}
			for _, p := range d.Routes {
				said[p] = append(said[p], node)
			}
		}
	}
	if err := sameRoutes("the agents announce", said, wanted); err != nil {
		return err
	}
	paths, err := w.rig.IBGP.Paths(ctx)
	if err != nil {
		return err
	}
	learned := map[netip.Prefix][]string{}
	for _, p := range paths {
		for _, n := range w.rig.Nodes {
			if (p.Peer == n.Addr4 || p.Peer == n.Addr6) && !slices.Contains(learned[p.Prefix], n.Name) {
				learned[p.Prefix] = append(learned[p.Prefix], n.Name)
			}
		}
	}
	if err := sameRoutes("the iBGP router has", learned, wanted); err != nil {
		return err
	}
	kernel, err := w.rig.Router.Routes()
	if err != nil {
		return err
	}
	installed := map[netip.Prefix][]string{}
	for p, hops := range kernel {
		for _, n := range w.rig.Nodes {
			if slices.Contains(hops, n.Addr4) || slices.Contains(hops, n.Addr6) || slices.Contains(hops, n.LinkLocal) {
				installed[p] = append(installed[p], n.Name)
			}
		}
	}
	return sameRoutes("r1 has", installed, wanted)
}

// sameRoutes compares which nodes announce which routes.
func sameRoutes(who string, have, want map[netip.Prefix][]string) error {
	for _, all := range []map[netip.Prefix][]string{have, want} {
		for p := range all {
			h, w := slices.Sorted(slices.Values(have[p])), slices.Sorted(slices.Values(want[p]))
			if !slices.Equal(h, w) {
				return fmt.Errorf("%s %s from %v, want %v", who, p, h, w)
			}
		}
	}
	return nil
}
