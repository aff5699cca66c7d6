// SPDX-License-Identifier: Apache-2.0

package sidecar_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/heraldlb/herald/frr/contract"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
)

// buildPrevious builds the agent and herald-frr of the commit before this one in a folder
// and returns where they are. It is empty if this checkout has no such commit, as one
// without history has none: make test says so, as the log of a test that passes is not
// read.
func buildPrevious(t *testing.T, dir string) (bin string, err error) {
	run := func(name string, args ...string) error {
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = "../.."
		cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
		out, err := cmd.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%s: %w: %s", name, err, bytes.TrimSpace(out))
		}
		return err
	}
	// Git does not trust a checkout of another user otherwise.
	trust := []string{"-c", "safe.directory=*"}
	if err := run("git", append(trust, "rev-parse", "--verify", "HEAD~1^{commit}")...); err != nil {
		t.Log("no previous version, so both programs are of this commit:", err)
		return "", nil
	}
	archive := filepath.Join(dir, "previous.tar")
	for _, command := range [][]string{
		append(append([]string{"git"}, trust...), "archive", "--output", archive, "HEAD~1"),
		{"tar", "-C", dir, "-xf", archive},
		// Paths are left out, as in bin/: most packages are compiled already.
		{"go", "build", "-C", dir, "-trimpath", "-ldflags=-s -w", "-o", "bin/", "./cmd/herald-agent", "./cmd/herald-frr"},
	} {
		if err := run(command[0], command[1:]...); err != nil {
			return "", err
		}
	}
	return filepath.Join(dir, "bin"), nil
}

// An agent works with the herald-frr of the commit before, and the other way round:
// docs/frr-contract.md. Without one both are of this commit, and that the version
// before is understood is left to the golden files of the contract in package frr. It is
// so with each version of FRR.
func TestPreviousVersion(t *testing.T) {
	lab.Need(t, "zebra", "bgpd", "bfdd", "staticd", "nft", "python3", "git", "tar")
	dir := t.TempDir()
	build := sync.OnceValues(func() (string, error) { return buildPrevious(t, dir) })
	var builder sync.WaitGroup
	defer builder.Wait()
	builder.Go(func() { _, _ = build() }) // while pods start
	for _, test := range []struct {
		name       string
		agent, frr bool // is of the previous version
	}{
		{name: "agent", agent: true},
		{name: "herald-frr", frr: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := newSidecarE2E(t)
			previous, err := build()
			if err != nil {
				t.Fatal(err)
			}
			bin := map[bool]string{true: previous} // otherwise with the others
			nodes, _ := e.VersionNodes("matchLabels")
			each := func(do func(agent *lab.Daemon, n *lab.Node) error) {
				t.Helper()
				var g errgroup.Group
				for _, n := range nodes {
					g.Go(func() error { return do(e.Agent(n), n) })
				}
				if err := g.Wait(); err != nil {
					t.Fatal(err)
				}
			}
			t.Cleanup(func() {
				for _, n := range nodes {
					e.Agent(n).Bin, n.Sidecar.Bin = "", ""
				}
			})
			e.Configure(e2e.BGPPools("- {name: p, protocol: bgp, addresses: [192.0.2.0/26]}"))
			each(func(agent *lab.Daemon, n *lab.Node) error {
				agent.Stop()
				n.Sidecar.Stop()
				agent.Bin, n.Sidecar.Bin = bin[test.agent], bin[test.frr]
				return nil
			})
			start := time.Now()
			each(func(agent *lab.Daemon, n *lab.Node) error {
				return errors.Join(n.Sidecar.Empty(), n.Sidecar.Start(), agent.Start())
			})
			addr := e.Expose(controlplane.ServiceOptions{Name: "web-" + test.name})[0]
			e.Announced(e2e.Route(addr))
			for _, n := range nodes {
				e.Eventually("both are ready on "+n.Name, func(ctx context.Context) error {
					_, err1 := n.Sidecar.Get(ctx, "/readyz")
					_, err2 := e.Agent(n).Get(ctx, "/readyz")
					return errors.Join(err1, err2)
				})
				if at, err := contract.LastBeat(n.FRR.EtcDir); err != nil || at.Before(start) {
					t.Errorf("the last sign of life of the agent on %s is of %v, %v", n.Name, at, err)
				}
			}
			for _, n := range nodes {
				if r := extras(e, n, "ip prefix-list "+test.name+" seq 5 permit 198.51.100.0/24\n"); !r.Applied {
					t.Errorf("%s: raw configuration refused: %+v", n.Name, r)
				}
			}
			for _, n := range nodes {
				if r := extras(e, n, "ip prefix-lost x\n"); r.Applied || !strings.Contains(r.Error, "prefix-lost") {
					t.Errorf("%s: a mistake is answered by %+v", n.Name, r)
				}
			}
			before := e.Connections()
			each(func(agent *lab.Daemon, _ *lab.Node) error { return agent.Restart() })
			e.Announced(e2e.Route(e.Expose(controlplane.ServiceOptions{Name: "second-" + test.name})[0]))
			if diff := cmp.Diff(before, e.Connections()); diff != "" {
				t.Errorf("sessions were reset (-before +after):\n%s", diff)
			}
			// Without the agent, FRR comes back with what was left for it.
			each(func(agent *lab.Daemon, n *lab.Node) error {
				agent.Stop()
				return n.Sidecar.Restart()
			})
			e.Announced(e2e.Route(addr))
			each(func(agent *lab.Daemon, _ *lab.Node) error { return agent.Start() })
			for _, n := range nodes {
				if page, err := n.Sidecar.Get(t.Context(), "/metrics"); err != nil || !strings.Contains(page, "\nherald_frr_withdrawn 0\n") {
					t.Errorf("/metrics of %s: %v: %s", n.Name, err, page)
				}
			}
		})
	}
}
