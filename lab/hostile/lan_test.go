// SPDX-License-Identifier: Apache-2.0

package hostile_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/heraldlb/herald/l2"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
)

// While the agent of one node is away, a host of the network says with that node's
// hardware address that the node has the addresses, by ARP and neighbor discovery. They
// go on being answered, and clients that do not believe it lose nothing.
func TestForgedClaims(t *testing.T) {
	e := e2e.New(t)
	w := e.Neighbors()
	e.Configure(e2e.Layer2Pool(`[10.10.0.176/28, "fd00:10:10::f00/124"]`))
	// The switch takes the attacker for the node whose hardware address it sends with: no
	// request goes there.
	victim, others := e.Nodes[2], e.Nodes[:2]
	addrs := exposeBoth(e, 5, others...)
	calm := e.Expose(controlplane.ServiceOptions{Name: "calm"}, others...)[0]
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
	for _, a := range append(slices.Clone(addrs), calm) {
		e.Eventually("another node has "+a.String(), func(context.Context) error {
			if owner := e.Owner(w, a); owner == victim {
				return fmt.Errorf("%s still has it", owner.Name)
			}
			return nil
		})
	}
	// What others ask for, and who knows the owner for certain.
	stops := []func(){e.LoadOf(50, calm, others...), pinnedLoad(e, w, addrs[0]), pinnedLoad(e, w, addrs[1])}
	for _, src := range []struct {
		name string
		mac  l2.MAC
	}{{"another Ethernet source", foreign}, {"the same Ethernet source", away}} {
		t.Run(src.name, func(t *testing.T) {
			for range 3 {
				for _, a := range addrs {
					if err := wire.Forge(lab.Forgery{Addr: a, MAC: away, Source: src.mac}); err != nil {
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
	for _, stop := range stops {
		stop()
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

// exposeBoth makes Services with an address of each family, and backends on the nodes.
// The addresses of the first Service come first.
func exposeBoth(e *e2e.Test, services int, nodes ...*lab.Node) (addrs []netip.Addr) {
	e.T.Helper()
	for i := range services {
		addrs = append(addrs, e.Expose(controlplane.ServiceOptions{
			Name: "web" + strconv.Itoa(i), Families: []corev1.IPFamily{e2e.IPv4, e2e.IPv6}, FamilyPolicy: corev1.IPFamilyPolicyRequireDualStack,
		}, nodes...)...)
	}
	return addrs
}

// pinnedLoad is load from c2, which believes nobody who claims the address: it has the
// owner's hardware address from elsewhere.
func pinnedLoad(e *e2e.Test, w *lab.NeighborWatch, a netip.Addr) (stop func()) {
	e.T.Helper()
	mac, err := e.Owner(w, a).MAC()
	if err != nil {
		e.T.Fatal(err)
	}
	unpin, err := e.LANClient.Pin(a, mac)
	if err != nil {
		e.T.Fatal(err)
	}
	e.T.Cleanup(func() {
		if err := unpin(); err != nil {
			e.T.Error(err)
		}
	})
	return loadFromLAN(e, a)
}

// loadFromLAN is load from c2.
func loadFromLAN(e *e2e.Test, a netip.Addr) (stop func()) {
	load := e.LANClient.StartLoad(lab.LoadOptions{URL: "http://" + netip.AddrPortFrom(a, 80).String() + "/", PerSecond: 50, Timeout: 5 * time.Second})
	return func() {
		e.T.Helper()
		r := load.Stop()
		e.T.Logf("load on %s: %s", a, r)
		if r.Lost > 0 || r.OK == 0 {
			e.T.Errorf("%d of %d requests to %s were lost, the last because of: %v", r.Lost, r.Sent, a, r.LastError)
		}
	}
}

// A host answers for addresses that others have: with its own hardware address, and with
// that of a node that is dead, whose claims it confirms to agents and to nobody else.
// ARP cannot keep it from being believed by who asks. The owner goes on answering, and
// serves who has its hardware address.
func TestImpostor(t *testing.T) {
	e := e2e.New(t)
	w := e.Neighbors()
	e.Configure(e2e.Layer2Pool(`[10.10.0.192/28, "fd00:10:10::f10/124"]`))
	dead, alive := e.Nodes[2], e.Nodes[:2]
	addrs := exposeBoth(e, 4, alive...)
	for _, a := range addrs[:2] {
		e.ReachedFrom(e.LANClient, a, alive...)
	}
	var macs [3]l2.MAC
	for i, n := range e.Nodes {
		var err error
		if macs[i], err = n.MAC(); err != nil {
			t.Fatal(err)
		}
	}
	own, err := e.Collector.MAC()
	if err != nil {
		t.Fatal(err)
	}
	wire, err := e.Collector.WatchNeighbors()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(wire.Close)
	if err := e.SetCable(t.Context(), dead.Machine, false); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.SetCable(context.Background(), dead.Machine, true); err != nil {
			t.Error(err)
		}
	})
	owners := map[netip.Addr]l2.MAC{}
	for _, a := range addrs {
		e.Eventually("another node has "+a.String(), func(context.Context) error {
			owner := e.Owner(w, a)
			if owner == dead {
				return fmt.Errorf("%s still has it", owner.Name)
			}
			owners[a] = macs[slices.Index(e.Nodes, owner)]
			return nil
		})
	}

	t.Run("its own hardware address", func(t *testing.T) {
		stops := []func(){pinnedLoad(e, w, addrs[0]), pinnedLoad(e, w, addrs[1])}
		impostor, err := e.Collector.Impersonate(own, func(l2.MAC) bool { return true }, addrs[0], addrs[1])
		if err != nil {
			t.Fatal(err)
		}
		defer impostor.Close()
		for range 3 {
			for _, a := range addrs[:2] {
				if err := wire.Forge(lab.Forgery{Addr: a, MAC: own, Source: own}); err != nil {
					t.Fatal(err)
				}
				answeredBy(t, w, a, owners[a], own)
			}
		}
		e.Event("web0", "AddressConflict", own.String())
		for _, stop := range stops {
			stop()
		}
	})

	t.Run("that of a dead node", func(t *testing.T) {
		agent := func(asker l2.MAC) bool { return asker == macs[0] || asker == macs[1] }
		stops := []func(){pinnedLoad(e, w, addrs[2]), loadFromLAN(e, addrs[4]), loadFromLAN(e, addrs[5])}
		impostor, err := e.Collector.Impersonate(macs[2], agent, addrs...)
		if err != nil {
			t.Fatal(err)
		}
		confirmed := 0
		for range 5 {
			for _, a := range addrs {
				if err := wire.Forge(lab.Forgery{Addr: a, MAC: macs[2], Source: macs[2], To: owners[a]}); err != nil {
					t.Fatal(err)
				}
			}
			// Who does not know the owner asks twice, a second apart, if the first
			// question is left to the impostor.
			if err := e.LANClient.FlushNeighbors(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(1500 * time.Millisecond)
		}
		for _, n := range alive {
			r, err := e.AgentReport(t.Context(), n)
			if err != nil {
				t.Fatal(err)
			}
			confirmed += int(r.Layer2.Claims["confirmed"])
		}
		if confirmed == 0 || impostor.Answers.Load() == 0 {
			t.Errorf("%d claims were confirmed by %d answers", confirmed, impostor.Answers.Load())
		}
		for _, stop := range stops {
			stop()
		}
		impostor.Close()
		start := time.Now()
		for _, a := range addrs {
			e.Eventually("the owner of "+a.String()+" answers at once again", func(ctx context.Context) error {
				got, err := w.Ask(ctx, a, 100*time.Millisecond)
				if err == nil && !slices.Equal(got, []l2.MAC{owners[a]}) {
					err = fmt.Errorf("%v answer", got)
				}
				return err
			})
		}
		t.Logf("owners answer at once again %v after the impostor", time.Since(start))
	})
}

// answeredBy checks that hosts answer for an address. A busy node may need a moment.
func answeredBy(t *testing.T, w *lab.NeighborWatch, a netip.Addr, want ...l2.MAC) {
	t.Helper()
	slices.SortFunc(want, func(a, b l2.MAC) int { return slices.Compare(a[:], b[:]) })
	var got []l2.MAC
	for range 3 {
		var err error
		if got, err = w.Ask(t.Context(), a, 200*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		if slices.Equal(got, want) {
			return
		}
	}
	t.Errorf("%v answer for %s, want %v", got, a, want)
}
