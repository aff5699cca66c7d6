// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// A Standard is the Stack that most tests run on, and that `herald-lab up` holds: with
// a backend on each node, and two GoBGPs.
type Standard struct {
	*Stack
	IBGP *GoBGP // of the nodes' AS
	EBGP *GoBGP // of AS 64514

	loan net.Conn // to the process that holds the lab; nil if this one does
}

// ibgpOptions and ebgpOptions say which routers the GoBGPs are.
func (s *Stack) ibgpOptions() GoBGPOptions {
	return GoBGPOptions{Name: "ibgp", ASN: s.Topology.opts.NodeASN, Listen: []netip.Addr{lan4(200), lan6(200)}}.withDefaults(s.Topology)
}

func (s *Stack) ebgpOptions() GoBGPOptions {
	return GoBGPOptions{Name: "ebgp", ASN: 64514, Listen: []netip.Addr{lan4(201), lan6(201)}}.withDefaults(s.Topology)
}

// UpStandard builds a Standard and returns when all of it runs. What it made until an
// error it removes again.
func UpStandard(ctx context.Context, opts StackOptions) (*Standard, error) {
	stack, err := UpStack(ctx, opts)
	if err != nil {
		return nil, err
	}
	s := &Standard{Stack: stack}
	if err := s.furnish(ctx); err != nil {
		return nil, fmt.Errorf("start stack: %w", errors.Join(err, s.Down(ctx)))
	}
	return s, nil
}

func (s *Standard) furnish(ctx context.Context) (err error) {
	for _, n := range s.Nodes {
		if _, err := n.StartBackend(ctx); err != nil {
			return err
		}
	}
	if s.IBGP, err = s.StartGoBGP(ctx, s.ibgpOptions()); err != nil {
		return err
	}
	s.EBGP, err = s.StartGoBGP(ctx, s.ebgpOptions())
	return err
}

// Down ends what this process has started: everything, or, of a lab that another
// process holds, what tests have put in the place of the lab's own.
func (s *Standard) Down(ctx context.Context) error {
	if s.loan == nil {
		return s.Stack.Down(ctx)
	}
	return s.giveBack()
}
