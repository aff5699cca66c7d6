// SPDX-License-Identifier: Apache-2.0

package lab_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/lab"
)

// A node is asked to leave its routes to others whose sessions are down. It goes on
// announcing them, says why, and withdraws them by itself once another session is up.
// No request is lost meanwhile.
func TestBGPDrainUnseen(t *testing.T) {
	e := newDraining(t)
	n1, n2 := e.Nodes[0], e.Nodes[1]
	const peer = "peers: [{my-asn: 64512, peer-asn: 64513, peer-address: 10.10.0.254}]\naddress-pools:\n"
	pool := func(advertisement string) string {
		return peer + "- {name: p, protocol: bgp, addresses: [203.0.113.240/28]" + advertisement + "}\n"
	}
	refuse := e.refusals()
	refuse(n2, e.Nodes[2])
	e.configure(pool(""))
	for _, n := range e.Nodes {
		if err := e.Cluster.LabelNode(t.Context(), n.Name, "kubernetes.io/hostname", n.Name); err != nil {
			t.Fatal(err)
		}
	}
	web := e.expose(lab.ServiceOptions{Name: "web"})[0]
	p := route(web)
	e.inKernel(p, e.Nodes[:1])
	last := fmt.Sprintf("kept %s/web %s bgp the node drains, but no other node's session that carries it is up: n2, n3", e.namespace, web)
	stop := e.load(web)

	t.Run("drain", func(t *testing.T) {
		e.ctl(1, []string{"drain", n1.Name, "--wait", "--hold=1s"}, last, "node n1 still announces what no other node does: 1 of its addresses")
		e.stays(time.Second, func() { e.inKernel(p, e.Nodes[:1]) })
		refuse(e.Nodes[2])
		e.inKernel(p, e.Nodes[1:2])
		e.silent(n1)
		e.ctl(0, []string{"drain", n1.Name, "--wait"}, "node n1 announces nothing any more")
	})
	t.Run("undrain", func(t *testing.T) { // n2 drains, and n1 is not back yet
		refuse(n1, e.Nodes[2])
		e.ctl(0, []string{"undrain", n1.Name})
		e.ctl(1, []string{"drain", n2.Name, "--wait", "--hold=1s"}, strings.Replace(last, "n2, n3", "n1, n3", 1))
		e.stays(time.Second, func() { e.inKernel(p, e.Nodes[1:2]) })
		refuse(e.Nodes[2])
		e.inKernel(p, e.Nodes[:1])
		e.silent(n2)
		e.ctl(0, []string{"undrain", n2.Name})
		e.inKernel(p, e.Nodes[:2])
	})
	stop()
}

// silent waits until a node announces nothing.
func (e draining) silent(n *lab.Node) {
	e.t.Helper()
	e.eventually(n.Name+" announces nothing", func(ctx context.Context) error {
		for _, d := range e.report(ctx, n).Decisions {
			if d.Announce {
				return fmt.Errorf("decision %+v", d)
			}
		}
		return nil
	})
}

// refusals returns what has r1 refuse sessions with exactly the nodes that are named,
// until the test ends. There must be none yet.
func (e draining) refusals() (refuse func(nodes ...*lab.Node)) {
	r1 := func(ctx context.Context, commands ...string) {
		if _, err := e.Router.FRR.Vtysh(ctx, append([]string{"configure terminal", "router bgp 64513"}, commands...)...); err != nil {
			e.t.Error(err)
		}
	}
	for _, n := range e.Nodes {
		r1(e.t.Context(), "neighbor "+n.Addr4.String()+" peer-group nodes")
	}
	e.t.Cleanup(func() {
		for _, n := range e.Nodes {
			r1(context.Background(), "no neighbor "+n.Addr4.String())
		}
	})
	refused := map[*lab.Node]bool{}
	return func(nodes ...*lab.Node) {
		e.t.Helper()
		now := map[*lab.Node]bool{}
		for _, n := range nodes {
			now[n] = true
		}
		for _, n := range e.Nodes {
			switch {
			case now[n] && !refused[n]:
				r1(e.t.Context(), "neighbor "+n.Addr4.String()+" shutdown")
			case !now[n] && refused[n]:
				r1(e.t.Context(), "no neighbor "+n.Addr4.String()+" shutdown")
			}
		}
		refused = now
	}
}
