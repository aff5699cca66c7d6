// SPDX-License-Identifier: Apache-2.0

package frr_test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/frr/conf"
	"github.com/heraldlb/herald/kube/object"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/e2e"
	"github.com/heraldlb/herald/render"
)

// ours gives the peers of the scenarios addresses on which GoBGP can listen in
// a lab, where r1 has 10.10.0.254 and the LAN another IPv6 network, and n1 its
// address there.
var ours = strings.NewReplacer(
	"10.10.0.254", "10.10.0.214", "10.10.0.253", "10.10.0.213", "10.10.0.252", "10.10.0.212", "10.10.0.251", "10.10.0.211",
	"fd00:10::fe", "fd00:10:10::214", "fd00:10::fd", "fd00:10:10::213", "fd00:99::1", "fd00:10:10::215", "fd00:10::1", "fd00:10:10::1",
)

// TestBGPScenarios takes the scenarios that package reconcile decides, and
// applies each to a real FRR, after the one before: FRR accepts it, a second
// Apply finds nothing to do, and each peer learns exactly the routes that are
// meant for it, with their attributes.
func TestBGPScenarios(t *testing.T) { e2e.VersionsAtOnce(t, testBGPScenarios) }

func testBGPScenarios(t *testing.T, v lab.Version) {
	lab.Need(t, e2e.Network...)
	files, err := filepath.Glob("../../testdata/scenarios/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	top := lab.New(t, lab.Options{Nodes: 3, FRRRoot: v.Root})
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		t.Run(name, func(t *testing.T) {
			desired, node := decide(t, file)
			n := top.Node(node)
			if n == nil {
				n = top.Nodes[0]
			}
			routers := startPeers(t, top, name, desired)
			text, err := render.FRR(desired)
			if err != nil {
				t.Fatal(err)
			}
			applier := frr.New(frr.Options{RunDir: n.FRR.RunDir})
			t.Cleanup(func() {
				// Without its peers the next scenario's sessions start at once.
				ctx, cancel := context.WithTimeout(context.Background(), e2e.Patience)
				defer cancel()
				empty, err := render.FRR(render.Config{Hostname: node})
				if err == nil {
					err = applier.Apply(ctx, frr.PlainText(empty))
				}
				if err != nil {
					t.Error(err)
				}
			})
			if err := applier.Apply(e2e.Deadline(t), frr.PlainText(text)); err != nil {
				t.Fatal(err)
			}
			for _, d := range conf.Daemons {
				rest := conf.Diff(conf.Parse(e2e.Running(t, n.FRR, d)), conf.Parse(string(text)).For(d))
				rest = slices.DeleteFunc(rest, func(c conf.Command) bool { return isDefault(n.FRR, c.Text) })
				if len(rest) > 0 {
					t.Errorf("%s: left to apply: %v", d, rest)
				}
			}
			for _, neighbor := range desired.Neighbors {
				if neighbor.BFDProfile != "" {
					continue // GoBGP speaks no BFD
				}
				g := routers[neighbor.Address]
				if err := g.WaitSession(e2e.Deadline(t), neighborOf(n, neighbor), true); err != nil {
					t.Fatal(err)
				}
				want := expected(desired, neighbor)
				_, err := g.WaitPaths(e2e.Deadline(t), func(paths []lab.Path) error {
					if diff := gocmp.Diff(want, received(paths)); diff != "" {
						return fmt.Errorf("at %s (-want +got):\n%s", neighbor.Address, diff)
					}
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// decide returns what a scenario's node is to do, and its name.
func decide(t *testing.T, file string) (render.Config, string) {
	t.Helper()
	scenario, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	in := map[string][]byte{}
	for _, f := range scenario.Files {
		in[f.Name] = f.Data
	}
	s, err := object.Read(bytes.NewReader(in["objects.yaml"]))
	if err != nil {
		t.Fatal(err)
	}
	if s.Config, err = config.Parse([]byte(ours.Replace(string(in["config.yaml"])))); err != nil {
		t.Fatal(err)
	}
	node := strings.TrimSpace(string(in["node"]))
	return announce.BGP(s, node, announce.Options{}).BGP, node
}

// startPeers starts a GoBGP for each neighbor, by its address.
func startPeers(t *testing.T, top *lab.Topology, scenario string, c render.Config) map[netip.Addr]*lab.GoBGP {
	t.Helper()
	routers := map[netip.Addr]*lab.GoBGP{}
	for i, n := range c.Neighbors {
		g, err := top.StartGoBGP(e2e.Deadline(t), lab.GoBGPOptions{
			Name:     fmt.Sprintf("%s-%d", scenario, i),
			ASN:      n.ASN,
			PeerASN:  cmp.Or(n.LocalASN, c.ASN),
			Port:     n.Port,
			Password: n.Password.Reveal(),
			Listen:   []netip.Addr{n.Address},
			Peers:    nodeAddrs(top, n.Address.Is4()),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := g.Stop(); err != nil {
				t.Error(err)
			}
		})
		routers[n.Address] = g
	}
	return routers
}

// nodeAddrs are the nodes' addresses of a family.
func nodeAddrs(top *lab.Topology, is4 bool) []netip.Addr {
	var all []netip.Addr
	for _, n := range top.Nodes {
		if is4 {
			all = append(all, n.Addr4)
		} else {
			all = append(all, n.Addr6)
		}
	}
	return all
}

// neighborOf is the address from which a node talks to a neighbor.
func neighborOf(n *lab.Node, neighbor render.Neighbor) netip.Addr {
	if neighbor.Address.Is4() {
		return n.Addr4
	}
	return n.Addr6
}

// A learned route is what a scenario is about: a prefix and its attributes.
type learned struct {
	Prefix     string
	Attributes e2e.Attributes
}

// expected returns what a neighbor is to learn.
func expected(c render.Config, n render.Neighbor) []learned {
	var all []learned
	for _, network := range c.Networks {
		if !n.Carries(network.Prefix.Addr().Is4()) {
			continue
		}
		for _, a := range c.Classes[network.Class].Attributes {
			if a.Neighbor != n.ID() {
				continue
			}
			l := learned{Prefix: network.Prefix.String()}
			for _, community := range a.Communities {
				if community.IsLarge() {
					l.Attributes.Large = append(l.Attributes.Large, community.String())
				} else {
					l.Attributes.Communities = append(l.Attributes.Communities, community.String())
				}
			}
			if n.ASN == c.ASN {
				l.Attributes.LocalPref = cmp.Or(a.LocalPref, e2e.DefaultLocalPref)
			}
			slices.Sort(l.Attributes.Communities)
			slices.Sort(l.Attributes.Large)
			all = append(all, l)
		}
	}
	slices.SortFunc(all, func(a, b learned) int { return strings.Compare(a.Prefix, b.Prefix) })
	return all
}

func received(paths []lab.Path) []learned {
	var all []learned
	for _, p := range paths {
		all = append(all, learned{p.Prefix.String(), e2e.AttributesOf(p)})
	}
	slices.SortFunc(all, func(a, b learned) int { return strings.Compare(a.Prefix, b.Prefix) })
	return all
}
