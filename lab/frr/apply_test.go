// SPDX-License-Identifier: Apache-2.0

package frr_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/frr/conf"
	"github.com/heraldlb/herald/frr/vty"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/e2e"
	"github.com/heraldlb/herald/render"
)

var (
	applySeed  = flag.Uint64("apply.seed", 0, "seed of TestBGPApplierProperty; 0 means a new one")
	applyCases = flag.Int("apply.cases", 25, "cases of TestBGPApplierProperty")
)

// TestBGPApplierProperty applies one random configuration after the other over
// the sockets, and checks after each that FRR runs what a fresh FRR that
// started with it runs, that there is nothing left to apply, and that no
// session was reset with a peer that was there before and still is.
func TestBGPApplierProperty(t *testing.T) { e2e.EachVersion(t, testBGPApplierProperty) }

func testBGPApplierProperty(t *testing.T, v lab.Version) {
	lab.Need(t, e2e.Network...)
	seed := *applySeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed: -apply.seed=%d", seed)
	top := lab.New(t, lab.Options{Nodes: 2, FRRRoot: v.Root})
	driven, fresh := top.Nodes[0], top.Nodes[1]
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 0)), node: driven, host: host, live: livePeers(t, top)}
	applier := frr.New(frr.Options{RunDir: driven.FRR.RunDir})

	last := render.Config{Hostname: host}
	for i := range *applyCases {
		want := g.next(last)
		text, err := render.FRR(want)
		if err != nil {
			t.Fatal(err)
		}
		before, err := sessionsUp(e2e.Deadline(t), t, driven, g.live, last)
		if err != nil {
			t.Fatalf("case %d: before it: %v", i, err)
		}

		reference := make(chan error, 1)
		go func() { reference <- startFresh(e2e.Deadline(t), fresh, text) }()
		if err := applier.Apply(e2e.Deadline(t), frr.PlainText(text)); err != nil {
			t.Errorf("case %d: apply: %v", i, err)
		}
		if err := <-reference; err != nil {
			t.Fatalf("case %d: %v", i, err)
		}
		for _, d := range conf.Daemons {
			got := e2e.Running(t, driven.FRR, d)
			if diff := cmp.Diff(settings(d, e2e.Running(t, fresh.FRR, d)), settings(d, got)); diff != "" {
				t.Errorf("case %d: %s (-fresh +applied):\n%s", i, d, diff)
			}
			rest := conf.Diff(conf.Parse(got), conf.Parse(string(text)).For(d))
			rest = slices.DeleteFunc(rest, func(c conf.Command) bool {
				return isDefault(driven.FRR, c.Text)
			})
			if len(rest) > 0 {
				t.Errorf("case %d: %s: left to apply: %v", i, d, rest)
			}
		}
		after := sessions(t, driven)
		for _, n := range want.Neighbors {
			if count, ok := before[n.Address]; ok && n.VRF == "" && after[n.Address].Established != count {
				t.Errorf("case %d: session with %s established %d times, want %d as before", i, n.Address, after[n.Address].Established, count)
			}
		}
		if err := applier.Apply(e2e.Deadline(t), frr.PlainText(text)); err != nil {
			t.Errorf("case %d: apply again: %v", i, err)
		}
		if t.Failed() {
			previous, err := render.Redacted(last)
			if err != nil {
				t.Fatal(err)
			}
			wanted, err := render.Redacted(want)
			if err != nil {
				t.Fatal(err)
			}
			t.Fatalf("case %d:\n---- from\n%s\n---- to\n%s", i, previous, wanted)
		}
		last = want
	}
}

// livePeers starts three routers and returns the six neighbors that they are:
// inside the AS and outside, with a password and without.
func livePeers(t *testing.T, top *lab.Topology) []render.Neighbor {
	t.Helper()
	var all []render.Neighbor
	for i, r := range []struct {
		asn      uint32
		password string
	}{{64512, ""}, {64601, ""}, {64602, "lab-password"}} {
		host := 201 + i
		opts := lab.GoBGPOptions{
			Name:     fmt.Sprintf("gobgp-%d", host),
			ASN:      r.asn,
			Listen:   []netip.Addr{e2e.OnLAN(host), e2e.OnLAN6(host)},
			Password: r.password,
		}
		if _, err := top.StartGoBGP(e2e.Deadline(t), opts); err != nil {
			t.Fatal(err)
		}
		for _, a := range opts.Listen {
			n := render.Neighbor{Address: a, ASN: r.asn, DualStack: i == 1}
			if r.password != "" {
				n.Password = config.NewSecret(r.password)
			}
			all = append(all, n)
		}
	}
	return all
}

// startFresh starts FRR from nothing but a configuration.
func startFresh(ctx context.Context, n *lab.Node, conf []byte) error {
	if err := n.FRR.Kill(); err != nil {
		return err
	}
	if err := n.FRR.Configure(conf); err != nil {
		return err
	}
	return n.FRR.Start(ctx)
}

// isDefault reports whether a line is the default of this FRR, which it does
// not show: FRR 10, the first with mgmtd, resolves next hops by default routes.
func isDefault(f *lab.FRR, line string) bool {
	return strings.HasSuffix(line, " nht resolve-via-default") && slices.Contains(f.Daemons(), "mgmtd")
}

// settings returns a daemon's configuration line by line, each behind the
// contexts that it is in, in order of their text: FRR shows route-maps and BFD
// profiles in the order in which they were made. vtysh gives route-maps to
// every daemon; those of BGP mean nothing to others. A context that is left
// empty means nothing either: "bfd" stays when its last profile goes.
func settings(daemon, conf string) []string {
	var all, path []string
	for line := range strings.Lines(conf) {
		text := strings.TrimSpace(line)
		depth := strings.Index(line, text)
		if text == "" || text == "!" || strings.HasPrefix(text, "exit") {
			continue
		}
		path = append(path[:min(depth, len(path))], text)
		if text == "bfd" || daemon != "bgpd" && strings.HasPrefix(path[0], "route-map ") {
			continue
		}
		all = append(all, strings.Join(path, " / "))
	}
	slices.Sort(all)
	return all
}

// A bgpSession is what bgpd says of a neighbor.
type bgpSession struct {
	State       string `json:"bgpState"`
	Established int    `json:"connectionsEstablished"`
}

// sessions returns what a node's bgpd says of its neighbors.
func sessions(t *testing.T, n *lab.Node) map[netip.Addr]bgpSession {
	t.Helper()
	conn, err := vty.Dial(e2e.Deadline(t), n.FRR.Socket("bgpd"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	replies, err := conn.Batch(e2e.Deadline(t), []string{"show bgp neighbors json"})
	if err != nil {
		t.Fatal(err)
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal([]byte(replies[0].Output), &raw); err != nil {
		return nil // "BGP instance not found"
	}
	all := make(map[netip.Addr]bgpSession)
	for name, text := range raw {
		addr, err := netip.ParseAddr(name)
		if err != nil {
			continue // the router's own lines
		}
		var s bgpSession
		if err := json.Unmarshal(text, &s); err != nil {
			t.Fatal(err)
		}
		all[addr] = s
	}
	return all
}

// sessionsUp waits until a node has a session with each live peer of its
// configuration, and returns how often each was established. It does not wait
// for those with BFD, which GoBGP has not: FRR 8 has a session all the same,
// FRR 10 has none.
func sessionsUp(ctx context.Context, t *testing.T, n *lab.Node, live []render.Neighbor, c render.Config) (map[netip.Addr]int, error) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		counts := make(map[netip.Addr]int)
		var down error
		now := sessions(t, n)
		for _, p := range c.Neighbors {
			if !slices.ContainsFunc(live, func(l render.Neighbor) bool { return l.Address == p.Address }) {
				continue
			}
			switch s := now[p.Address]; {
			case s.State == "Established":
				counts[p.Address] = s.Established
			case p.BFDProfile == "":
				down = fmt.Errorf("session with %s is %s", p.Address, s.State)
			}
		}
		if down == nil {
			return counts, nil
		}
		select {
		case <-ctx.Done():
			return nil, down
		case <-tick.C:
		}
	}
}
