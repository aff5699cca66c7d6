// SPDX-License-Identifier: Apache-2.0

package layer2_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/l2"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
)

// A foreign host that has the address of a Service is reported; the address is
// announced all the same.
func TestLayer2Conflict(t *testing.T) {
	e := e2e.New(t)
	e.Configure(e2e.Layer2Pool("[10.10.0.112/29]"))
	const address = "10.10.0.114"
	if _, err := e.Collector.Run(t.Context(), "ip", "addr", "add", address+"/24", "dev", "eth0"); err != nil {
		t.Fatal(err)
	}
	drop := func() {
		if _, err := e.Collector.Run(context.Background(), "ip", "addr", "del", address+"/24", "dev", "eth0"); err != nil {
			t.Error(err)
		}
	}
	defer drop()
	foreign, err := e.Collector.MAC()
	if err != nil {
		t.Fatal(err)
	}
	e.Expose(controlplane.ServiceOptions{Name: "web", Address: address})
	e.Eventually("the conflict is reported", func(ctx context.Context) error {
		var lines []string
		for _, n := range e.Nodes {
			page, err := e.Agent(n).Get(ctx, "/metrics")
			if err != nil {
				return err
			}
			for line := range strings.Lines(page) {
				if strings.HasPrefix(line, "herald_layer2_conflict{") {
					lines = append(lines, strings.TrimSpace(line))
				}
			}
		}
		want := fmt.Sprintf("herald_layer2_conflict{ip=%q} 1", address)
		if !slices.Equal(lines, []string{want}) {
			return fmt.Errorf("%v, want %s from one agent", lines, want)
		}
		return nil
	})
	e.Event("web", assign.EventConflict, foreign.String()+" on eth0 has the address")
}

// Told to refuse, no node announces an address that a foreign host has, until that
// host is silent.
func TestLayer2ConflictRefused(t *testing.T) {
	e := e2e.New(t)
	restart := func(args ...string) {
		t.Helper()
		for _, a := range e.Agents {
			a.Args = args
			if err := a.Restart(); err != nil {
				t.Error(err)
			}
		}
	}
	restart("--l2-conflict=refuse")
	t.Cleanup(func() { restart() })
	w := e.Neighbors()
	const address = "10.10.0.60"
	a := netip.MustParseAddr(address)
	if _, err := e.Collector.Run(t.Context(), "ip", "addr", "add", address+"/24", "dev", "eth0"); err != nil {
		t.Fatal(err)
	}
	silent := sync.OnceFunc(func() {
		if _, err := e.Collector.Run(context.Background(), "ip", "addr", "del", address+"/24", "dev", "eth0"); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(silent)
	e.Configure("address-pools: [{name: lan, protocol: layer2, addresses: [10.10.0.60/31]}]")
	e.Expose(controlplane.ServiceOptions{Name: "web", Address: address})
	free := e.Expose(controlplane.ServiceOptions{Name: "free", Address: "10.10.0.61"})[0]
	e.Owner(w, free)
	e.Event("web", assign.EventConflict, "has the address")
	foreign, err := e.Collector.MAC()
	if err != nil {
		t.Fatal(err)
	}
	macs, err := w.Ask(t.Context(), a, 500*time.Millisecond)
	if err != nil || !slices.Equal(macs, []l2.MAC{foreign}) {
		t.Errorf("%v answer for %s, %v; want %v alone", macs, a, err, foreign)
	}
	silent()
	// It is asked for again within half a minute, give or take a fifth.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for start := time.Now(); ; {
		_, err := w.WaitClaim(ctx, a, start, func(by l2.MAC) bool { return by != foreign })
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
	e.Owner(w, a)
}
