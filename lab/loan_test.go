// SPDX-License-Identifier: Apache-2.0

package lab_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/e2e"
	"github.com/heraldlb/herald/lab/process"
)

// A borrower of a lab finds Herald's daemons restarted and everything running,
// also after one that has killed things and gone.
func TestLabLend(t *testing.T) {
	lab.Need(t, append(e2e.Network, "nft")...)
	versions := lab.Versions(t)
	held, err := lab.UpStandard(t.Context(), lab.StackOptions{Network: lab.Mixed(versions, versions[0]), Bin: e2e.Build(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := held.Down(context.Background()); err != nil {
			t.Error(err)
		}
	})
	pid := held.Agents[0].Process().PID()
	ctx, cancel := context.WithCancel(t.Context())
	lent := make(chan error)
	go func() { lent <- held.Lend(ctx) }()
	borrow := func() (s *lab.Standard) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), e2e.Patience)
		defer cancel()
		err := process.Poll(ctx, 20*time.Millisecond, func() (err error) {
			s, err = lab.Borrow(t.Context(), held.Dir)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if s.Agents[0].Process().PID() == pid {
			t.Error("the agent of n1 was not restarted")
		}
		pid = s.Agents[0].Process().PID()
		for _, n := range s.Nodes {
			if got := n.FRR.Running(); !slices.Equal(got, n.FRR.Daemons()) {
				t.Errorf("%s runs %v", n.Name, got)
			}
		}
		_, err1 := s.IBGP.Sessions(ctx)
		_, err2 := s.EBGP.Sessions(ctx)
		_, err3 := s.Cluster.Services(ctx, lab.HeraldNamespace)
		if err := errors.Join(err1, err2, err3); err != nil {
			t.Error(err)
		}
		return s
	}
	s := borrow()
	s.Cluster.StopAPIServer()
	// A daemon that the borrower starts is its own, and ends with the loan.
	err = errors.Join(s.Nodes[1].FRR.Kill("bgpd"), s.Agents[0].Kill(), s.Agents[0].Start(), s.Agents[1].Kill(), s.EBGP.Stop(), s.Down(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	if err := borrow().Down(t.Context()); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-lent; err != nil {
		t.Error(err)
	}
}
