// SPDX-License-Identifier: Apache-2.0

package sidecar_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/heraldlb/herald/frr/contract"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
)

// While the folder that agent and FRR share is full, the agent goes on and stays ready, says
// the same of it each time, and nothing is withdrawn: not when the agent restarts, nor when
// bgpd starts again from the last file that could be written. The file is whole when there
// is room again.
func TestSidecarDiskFull(t *testing.T) {
	e := newSidecarE2E(t)
	e.Configure(e2e.BGPPools("- {name: p, protocol: bgp, addresses: [192.0.2.0/26]}"))
	n := e.Nodes[0]
	first := e.Expose(controlplane.ServiceOptions{Name: "first"})[0]
	e.Announced(e2e.Route(first))
	e.Connections() // another session may bring the route once more
	conf := filepath.Join(n.FRR.EtcDir, contract.ConfFile)
	has := func(a netip.Addr) error {
		text, err := os.ReadFile(conf)
		if err == nil && !strings.Contains(string(text), a.String()) {
			err = fmt.Errorf("no %s in %s", a, conf)
		}
		return err
	}
	e.Eventually("the file has the first route", func(context.Context) error { return has(first) })
	junk := filepath.Join(n.FRR.EtcDir, "junk")
	if err := lab.Fill(junk); err != nil {
		t.Fatal(err)
	}
	room := func() { _ = os.Remove(junk) }
	defer room()

	since := time.Now()
	second := e.Expose(controlplane.ServiceOptions{Name: "second"})[0]
	e.Announced(e2e.Route(second))
	says := unsaved(e, n)
	if err := has(second); err == nil {
		t.Fatal("the folder is not full")
	}
	if err := e.Agent(n).Restart(); err != nil {
		t.Fatal(err)
	}
	if now := unsaved(e, n); now != says {
		t.Errorf("it says %q, and said %q", now, says)
	}
	e.Eventually("agent and FRR are ready", func(ctx context.Context) error {
		_, err1 := e.Agent(n).Get(ctx, "/readyz")
		_, err2 := n.Sidecar.Get(ctx, "/readyz")
		return errors.Join(err1, err2)
	})
	for _, a := range []netip.Addr{first, second} {
		for _, c := range e.Routes.History(e2e.Route(a)) {
			if a == first && c.Time.After(since) {
				t.Errorf("r1's route to %s changed: %v", a, c)
			}
		}
	}

	if err := n.Sidecar.Signal("bgpd", unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	e.InKernel(e2e.Route(first), e.Nodes[1:])
	e.Announced(e2e.Route(first))
	e.Announced(e2e.Route(second))
	room()
	e.Eventually("the file has the second route", func(context.Context) error { return has(second) })
	e.Eventually("the agent has saved it", func(ctx context.Context) error {
		r, err := e.AgentReport(ctx, n)
		if err == nil && r.FRR.Unsaved != "" {
			err = errors.New(r.FRR.Unsaved)
		}
		return err
	})
	noRemains(e, n)
}

// unsaved waits until an agent says why it cannot write FRR's file, and returns that.
func unsaved(e *e2e.Test, n *lab.Node) (text string) {
	e.T.Helper()
	e.Eventually("the agent says that the file is not written", func(ctx context.Context) error {
		r, err := e.AgentReport(ctx, n)
		if err == nil && (r.FRR == nil || r.FRR.Unsaved == "") {
			err = errors.New("it does not")
		}
		if err == nil {
			text = r.FRR.Unsaved
		}
		return err
	})
	return text
}

// noRemains fails the test if a file that was half written is left.
func noRemains(e *e2e.Test, n *lab.Node) {
	e.T.Helper()
	files, err := os.ReadDir(n.FRR.EtcDir)
	if err != nil {
		e.T.Fatal(err)
	}
	for _, f := range files {
		if strings.HasPrefix(f.Name(), ".") && !f.IsDir() {
			e.T.Errorf("%s is left in the folder of %s", f.Name(), n.Name)
		}
	}
}
