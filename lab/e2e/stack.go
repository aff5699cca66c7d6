// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/heraldlb/herald/lab"
)

// What the tests of an area share, one after the other: starting it takes longer than
// most tests. The first test that needs it starts it.
var (
	standard shared[*lab.Standard] // three nodes, two controllers, two GoBGPs
	pods     shared[*lab.Standard] // three nodes with agents and FRR in containers
	control  shared[*lab.Stack]    // a control plane with a controller, and no network
)

// A shared lab is started once in a process.
type shared[L interface{ Down(context.Context) error }] struct {
	once sync.Once
	lab  L
	err  error
	up   bool
}

// get returns the lab, which the first call starts with programs as new as the source.
func (s *shared[L]) get(t *testing.T, start func(ctx context.Context, bin string) (L, error)) L {
	t.Helper()
	bin := Build(t)
	s.once.Do(func() {
		s.lab, s.err = start(context.Background(), bin)
		s.up = s.err == nil
	})
	if s.err != nil {
		t.Fatal(s.err)
	}
	return s.lab
}

func (s *shared[L]) down(ctx context.Context) error {
	if !s.up {
		return nil
	}
	return s.lab.Down(ctx)
}

// stop takes down what tests have started.
func stop(ctx context.Context) error {
	return errors.Join(standard.down(ctx), pods.down(ctx), control.down(ctx))
}

// New returns a test on three nodes, which run different versions of FRR, with two
// controllers and two GoBGPs.
func New(t *testing.T) *Test {
	t.Helper()
	lab.Need(t, "zebra", "bgpd", "bfdd", "nft")
	versions := lab.Versions(t)
	return on(t, standard.get(t, func(ctx context.Context, bin string) (*lab.Standard, error) {
		if lab.Attached() {
			return attach(ctx, bin)
		}
		return lab.UpStandard(ctx, lab.StackOptions{Network: lab.Mixed(versions, versions[0]), Controllers: 2, Bin: bin, Gate: true, Verify: true})
	}))
}

// NewInPods returns a test on three nodes on which agents and herald-frr run as the
// containers of their pod. r1 runs the last version of FRR.
func NewInPods(t *testing.T) *Test {
	t.Helper()
	lab.NotAttached(t)
	lab.Need(t, "zebra", "bgpd", "bfdd", "staticd", "nft", "python3")
	versions := lab.Versions(t)
	return on(t, pods.get(t, func(ctx context.Context, bin string) (*lab.Standard, error) {
		network := lab.Mixed(versions, versions[len(versions)-1])
		network.Sidecar, network.SmallConf = true, true
		return lab.UpStandard(ctx, lab.StackOptions{Network: network, Bin: bin, Verify: true})
	}))
}

// on returns a test on a lab.
func on(t *testing.T, s *lab.Standard) *Test {
	t.Helper()
	e := &Test{Stack: s.Stack, T: t, IBGP: s.IBGP, EBGP: s.EBGP, Namespace: namespaceOf(t)}
	e.watch()
	return e
}

// NewControl returns a test that has an API server and a controller, and neither
// nodes nor routers. MetalLB's kinds are installed, and there is no object of them.
func NewControl(t *testing.T) *Resources {
	t.Helper()
	lab.Need(t, "ip")
	s := control.get(t, func(ctx context.Context, bin string) (*lab.Stack, error) {
		return lab.UpStack(ctx, lab.StackOptions{Network: lab.Options{NoMachines: true}, Bin: bin})
	})
	r := (&Test{Stack: s, T: t, Namespace: namespaceOf(t)}).Resources()
	r.Clear(t.Context())
	t.Cleanup(func() { r.Clear(context.Background()) })
	return r
}

// namespaceOf is the test's name as that of a Kubernetes namespace.
func namespaceOf(t *testing.T) string {
	return strings.ToLower(strings.NewReplacer("/", "-", "_", "-", "#", "-", ".", "-").Replace(t.Name()))
}

// labDir matches the directory of a lab in the file that `make lab-up` leaves.
var labDir = regexp.MustCompile(`(?m)^export LAB_DIR="(.*)"$`)

// attach borrows the lab that `make lab-up` holds.
func attach(ctx context.Context, bin string) (*lab.Standard, error) {
	env, err := os.ReadFile(filepath.Join(bin, "lab/env"))
	if err != nil {
		return nil, fmt.Errorf("attach to a lab: %w; start one with make lab-up", err)
	}
	dir := labDir.FindSubmatch(env)
	if dir == nil {
		return nil, errors.New("attach to a lab: no LAB_DIR in bin/lab/env")
	}
	return lab.Borrow(ctx, string(dir[1]))
}
