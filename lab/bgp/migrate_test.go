// SPDX-License-Identifier: Apache-2.0

package bgp_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
	"github.com/heraldlb/herald/status"
)

// Sessions that another FRR on each node holds, as that of frr-k8s does for MetalLB, go to
// Herald node by node, each once the node before has its session. No request is lost.
func TestBGPMigration(t *testing.T) {
	e := e2e.New(t)
	e.Configure(`
peers: [{my-asn: 64512, peer-asn: 64513, peer-address: 10.10.0.254}]
address-pools: [{name: p, protocol: bgp, addresses: [198.51.100.32/28]}]
`)
	addr := e.Expose(controlplane.ServiceOptions{Name: "web"})[0]
	p := e2e.Route(addr)
	e.InKernel(p, e.Nodes)

	restore := func(ctx context.Context, n *lab.Node) error {
		n.FRR.Stop()
		if err := n.FRR.Configure(nil); err != nil {
			return err
		}
		if err := n.FRR.StartEmpty(ctx); err != nil {
			return err
		}
		return e.Agent(n).Restart()
	}
	changed := map[*lab.Node]bool{}
	t.Cleanup(func() {
		for _, n := range e.Nodes {
			if !changed[n] {
				if err := restore(context.Background(), n); err != nil {
					t.Error(err)
				}
			}
		}
	})
	for _, n := range e.Nodes {
		e.Agent(n).Stop()
		n.FRR.Stop()
		conf := fmt.Sprintf(`frr defaults traditional
router bgp 64512
 bgp router-id %s
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor 10.10.0.254 remote-as 64513
 neighbor 10.10.0.254 timers connect 1
 address-family ipv4 unicast
  network %s
 exit-address-family
exit
`, n.Addr4, p)
		if err := n.FRR.Configure([]byte(conf)); err != nil {
			t.Fatal(err)
		}
		if err := n.FRR.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	e.InKernel(p, e.Nodes)
	stop := e.Load(addr)

	for _, n := range e.Nodes {
		if err := restore(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		changed[n] = true
		e.Eventually("the agent on "+n.Name+" has the session", func(ctx context.Context) error {
			return e.Decided(ctx, n, addr, status.BGP, status.Announced)
		})
		// What the guide waits for: heraldctl sessions exits with 0.
		e.Eventually("the session of "+n.Name, func(context.Context) error {
			if s := e.Sessions(n)["10.10.0.254"]; s.State != "Established" {
				return fmt.Errorf("it is %q", s.State)
			}
			return nil
		})
		e.InKernel(p, e.Nodes)
	}
	stop()
	if again, err := e.Cluster.WaitAddress(t.Context(), e.Namespace, "web"); err != nil || again[0] != addr {
		t.Errorf("the Service has %v, %v; want %s as before", again, err, addr)
	}
}
