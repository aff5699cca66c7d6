// SPDX-License-Identifier: Apache-2.0

package sidecar_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
)

// Agents, herald-frr and the controller are stopped by SIGTERM and started again, at random
// moments after a change of configuration and Services. No request is lost, all changes are
// carried out in the end, and no file is left half written.
func TestSidecarStoppedMidway(t *testing.T) {
	const seed, rounds = 1, 9
	random := rand.New(rand.NewPCG(seed, 0))
	e := newSidecarE2E(t)
	configure := func(round int) {
		e.Configure(e2e.BGPPools(fmt.Sprintf("- {name: p, protocol: bgp, addresses: [192.0.2.0/26], bgp-advertisements: [{communities: [\"64512:%d\"]}]}\n", round) +
			"- {name: lan, protocol: layer2, addresses: [10.10.0.150-10.10.0.159], auto-assign: false}"))
	}
	configure(0)
	web := e.Expose(controlplane.ServiceOptions{Name: "web"})[0]
	local := e.Expose(controlplane.ServiceOptions{Name: "local", Annotations: map[string]string{"metallb.universe.tf/address-pool": "lan"}})[0]
	e.Announced(e2e.Route(web))
	stops := []func(){e.Load(web), e.LoadFrom(e.LANClient, local)}

	type victim struct {
		*lab.Daemon
		node *lab.Node
	}
	victims := []victim{{Daemon: e.Controllers[0]}}
	for _, n := range e.Nodes {
		victims = append(victims, victim{e.Agent(n), n}, victim{&n.Sidecar.Daemon, n})
	}
	random.Shuffle(len(victims), func(i, j int) { victims[i], victims[j] = victims[j], victims[i] })
	for round := range rounds {
		v := victims[round%len(victims)]
		name := fmt.Sprintf("round-%d", round)
		if err := e.SetBackends(t.Context(), controlplane.ServiceOptions{Namespace: e.Namespace, Name: name}); err != nil {
			t.Fatal(err)
		}
		if _, err := e.Cluster.CreateService(t.Context(), controlplane.ServiceOptions{Namespace: e.Namespace, Name: name}); err != nil {
			t.Fatal(err)
		}
		configure(round + 1)
		moment := time.Duration(random.Int64N(int64(300 * time.Millisecond)))
		<-time.After(moment)
		v.Stop()
		if err := v.Start(); err != nil {
			t.Fatal(err)
		}
		t.Logf("round %d: %s was stopped after %v", round, v.Name, moment.Round(time.Millisecond))
		e.Eventually(v.Name+" is ready", func(ctx context.Context) error {
			_, err := v.Get(ctx, "/readyz")
			return err
		})
		e.Announced(e2e.Route(web))
		addrs, err := e.Cluster.WaitAddress(t.Context(), e.Namespace, name)
		if err != nil {
			t.Fatal(err)
		}
		e.Announced(e2e.Route(addrs[0]))
	}
	want := fmt.Sprintf("64512:%d", rounds)
	e.Eventually("the last configuration is in force", func(ctx context.Context) error {
		paths, err := e.EBGP.Paths(ctx)
		for _, p := range paths {
			if p.Prefix == e2e.Route(web) && (len(p.Communities) != 1 || p.Communities[0] != want) {
				err = errors.Join(err, fmt.Errorf("%s sends the communities %v", p.Peer, p.Communities))
			}
		}
		return err
	})
	for _, stop := range stops {
		stop()
	}
	for _, n := range e.Nodes {
		noRemains(e, n)
	}
}
