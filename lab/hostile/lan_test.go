// SPDX-License-Identifier: Apache-2.0

package hostile_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/mdlayher/arp"

	"github.com/heraldlb/herald/l2"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
)

// While the agent of one node is away, a host of the network says with that node's
// hardware address that the node has the addresses. They go on being answered.
func TestForgedClaims(t *testing.T) {
	e := e2e.New(t)
	w := e.Neighbors()
	e.Configure("address-pools: [{name: lan, protocol: layer2, addresses: [10.10.0.176/28]}]")
	var addrs []netip.Addr
	for i := range 10 {
		addrs = append(addrs, e.Expose(controlplane.ServiceOptions{Name: "web" + strconv.Itoa(i)})...)
	}
	victim := e.Nodes[2]
	away, err := victim.MAC()
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := e.Collector.MAC()
	if err != nil {
		t.Fatal(err)
	}
	wire, err := e.Collector.WatchNeighbors()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(wire.Close)
	agent := e.Agent(victim)
	if err := agent.Kill(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := agent.Restart(); err != nil {
			t.Error(err)
		}
	})
	for _, a := range addrs {
		e.Eventually("another node has "+a.String(), func(context.Context) error {
			if owner := e.Owner(w, a); owner == victim {
				return fmt.Errorf("%s still has it", owner.Name)
			}
			return nil
		})
	}
	for _, src := range []struct {
		name string
		mac  l2.MAC
	}{{"another Ethernet source", foreign}, {"the same Ethernet source", away}} {
		t.Run(src.name, func(t *testing.T) {
			for range 3 {
				for _, a := range addrs {
					if err := wire.Send(claim(t, src.mac, away, a), l2.ARP); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(time.Second) // an agent that believed it has fallen silent by then
				for _, a := range addrs {
					answered(t, w, a)
				}
			}
		})
	}
	e.Eventually("the claims are counted", func(ctx context.Context) error {
		seen := map[string]uint64{}
		for _, n := range e.Nodes[:2] {
			r, err := e.AgentReport(ctx, n)
			if err != nil {
				return err
			}
			for result, n := range r.Layer2.Claims {
				seen[result] += n
			}
		}
		if seen["forged"] == 0 || seen["unanswered"] == 0 || seen["confirmed"] != 0 {
			return fmt.Errorf("claims: %v", seen)
		}
		return nil
	})
}

// answered checks that a node answers for an address. A busy node may need a moment.
func answered(t *testing.T, w *lab.NeighborWatch, a netip.Addr) {
	t.Helper()
	for range 3 {
		macs, err := w.Ask(t.Context(), a, 100*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		if len(macs) > 0 {
			return
		}
	}
	t.Errorf("nobody answers for %s", a)
}

// claim is a gratuitous request.
func claim(t *testing.T, src, mac l2.MAC, a netip.Addr) []byte {
	t.Helper()
	p, err := arp.NewPacket(arp.OperationRequest, mac[:], a, make(net.HardwareAddr, 6), a)
	if err != nil {
		t.Fatal(err)
	}
	body, err := p.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	frame := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, src[:]...)
	return append(append(frame, 0x08, 0x06), body...)
}
