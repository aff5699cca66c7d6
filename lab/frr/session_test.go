// SPDX-License-Identifier: Apache-2.0

package frr_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/e2e"
	"github.com/heraldlb/herald/render"
	"github.com/heraldlb/herald/status"
)

// A sessionTest takes configurations as values to the FRR of the nodes: what
// reconcile decides is rendered and applied, and routers are asked what they
// learned. The Service that is announced has the addresses service and service6,
// and endpoints on every node.
type sessionTest struct {
	*lab.Topology
	t        *testing.T
	appliers map[*lab.Node]*frr.Applier
	log      bytes.Buffer // of the appliers
}

// newSessionTest returns a test on some nodes of a topology. When it ends they
// have no sessions any more.
func newSessionTest(t *testing.T, top *lab.Topology, nodes ...*lab.Node) *sessionTest {
	t.Helper()
	s := &sessionTest{Topology: top, t: t, appliers: map[*lab.Node]*frr.Applier{}}
	log := slog.New(slog.NewTextHandler(&s.log, nil))
	for _, n := range nodes {
		s.appliers[n] = frr.New(frr.Options{RunDir: n.FRR.RunDir, Logger: log})
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), e2e.Patience)
		defer cancel()
		for n, a := range s.appliers {
			empty, err := render.FRR(render.Config{Hostname: n.Name})
			if err == nil {
				err = a.Apply(ctx, frr.PlainText(empty))
			}
			if err != nil {
				t.Error(err)
			}
		}
	})
	return s
}

// decide returns what a node is to do.
func (s *sessionTest) decide(n *lab.Node, c config.Config) announce.Desired {
	s.t.Helper()
	for i, prefix := range []netip.Prefix{e2e.Service, e2e.Service6} {
		r, err := config.ParseRange(prefix.String())
		if err != nil {
			s.t.Fatal(err)
		}
		c.Pools = append(c.Pools, config.Pool{Name: fmt.Sprint("pool", i), Addresses: []config.Range{r}})
	}
	if c.BGPAdvertisements == nil {
		c.BGPAdvertisements = []config.BGPAdvertisement{{Name: "all"}}
	}
	key := cluster.Key{Namespace: "lab", Name: "web"}
	snapshot := cluster.Snapshot{
		Config:    &c,
		Services:  []*cluster.Service{{Key: key, LoadBalancer: true, Ingress: []string{e2e.Service.Addr().String(), e2e.Service6.Addr().String()}}},
		Endpoints: map[cluster.Key][]cluster.Endpoint{},
	}
	for _, node := range s.Nodes {
		snapshot.Nodes = append(snapshot.Nodes, &cluster.Node{
			Name: node.Name, Labels: map[string]string{"kubernetes.io/hostname": node.Name}, Addrs: []netip.Addr{node.Addr4, node.Addr6},
		})
		snapshot.Endpoints[key] = append(snapshot.Endpoints[key], cluster.Endpoint{Node: node.Name}, cluster.Endpoint{Node: node.Name, IPv6: true})
	}
	return announce.BGP(snapshot, n.Name, announce.Options{})
}

// configure has the nodes run a configuration.
func (s *sessionTest) configure(c config.Config) {
	s.t.Helper()
	for n, a := range s.appliers {
		text, err := render.FRR(s.decide(n, c).BGP)
		if err != nil {
			s.t.Fatal(err)
		}
		if err := a.Apply(e2e.Deadline(s.t), frr.PlainText(text)); err != nil {
			s.t.Fatal(err)
		}
	}
}

// gobgp starts a router and stops it when the test ends.
func (s *sessionTest) gobgp(opts lab.GoBGPOptions) *lab.GoBGP {
	s.t.Helper()
	host := opts.Listen[0].AsSlice()
	opts.Name = fmt.Sprintf("gobgp-%d", host[len(host)-1])
	g, err := s.StartGoBGP(e2e.Deadline(s.t), opts)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := g.Stop(); err != nil {
			s.t.Error(err)
		}
	})
	return g
}

// paths waits until a router has these paths, in order of prefix and peer.
func (s *sessionTest) paths(g *lab.GoBGP, want ...lab.Path) {
	s.t.Helper()
	_, err := g.WaitPaths(e2e.Deadline(s.t), func(got []lab.Path) error {
		if diff := cmp.Diff(want, got, e2e.Values); diff != "" {
			return errors.New("paths (-want +got):\n" + diff)
		}
		return nil
	})
	if err != nil {
		s.t.Error(err)
	}
}

// session waits until what a node's FRR says of a neighbor is as it should be.
func (s *sessionTest) session(n *lab.Node, id status.PeerID, check func(frr.Session) error) frr.Session {
	s.t.Helper()
	r := frr.NewReader(n.FRR.RunDir)
	defer r.Close()
	ctx := e2e.Deadline(s.t)
	for {
		all, err := r.Sessions(ctx)
		if err != nil {
			s.t.Fatal(err)
		}
		i := slices.IndexFunc(all, func(f frr.Session) bool { return f.Peer == id })
		if i < 0 {
			err = errors.New("there is none")
		} else if err = check(all[i]); err == nil {
			return all[i]
		}
		select {
		case <-ctx.Done():
			s.t.Fatalf("session of %s with %s: %v", n.Name, id, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// established accepts a session that is.
func established(f frr.Session) error {
	if !f.Up {
		return fmt.Errorf("it is %s: %s", f.State, f.LastError)
	}
	return nil
}

func peerAt(a netip.Addr) status.PeerID { return status.PeerID{Address: a} }

// sent is the path that an external router gets from a node without further ado.
func sent(p netip.Prefix, from, hop netip.Addr, asns ...uint32) lab.Path {
	return lab.Path{Prefix: p, Peer: from, NextHop: hop, ASPath: asns, MED: new(uint32(0))}
}

// sentInside is the path that an internal router gets.
func sentInside(p netip.Prefix, from, hop netip.Addr) lab.Path {
	path := sent(p, from, hop)
	path.LocalPref = new(uint32(e2e.DefaultLocalPref))
	return path
}
