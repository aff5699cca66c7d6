// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/lab"
)

// BFDPeers are r1's two addresses, watched with the profile fast.
const BFDPeers = `
peers:
- {my-asn: 64512, peer-asn: 64513, peer-address: 10.10.0.254, bfd-profile: fast}
- {my-asn: 64512, peer-asn: 64513, peer-address: "fd00:10:10::254", bfd-profile: fast}
- {my-asn: 64512, peer-asn: 64512, peer-address: 10.10.0.200}
- {my-asn: 64512, peer-asn: 64512, peer-address: "fd00:10:10::200"}
`

// RouterBFD has r1 watch the nodes with BFD until the test ends, with more lines in
// the profile that it uses. r1 knows the nodes by their addresses meanwhile: FRR
// 10.3 opens no session before BFD is up, and so BFD has to begin at both ends.
func (e *Test) RouterBFD(profile ...string) {
	e.T.Helper()
	set := func(ctx context.Context, peer string, lines ...string) error {
		commands := []string{"configure terminal", "bfd", "profile far"}
		commands = append(append(commands, profile...), "exit", "exit", "router bgp 64513")
		for _, n := range e.Nodes {
			for _, a := range []netip.Addr{n.Addr4, n.Addr6} {
				commands = append(commands, fmt.Sprintf(peer, a))
			}
		}
		_, err := e.Router.FRR.Vtysh(ctx, append(commands, lines...)...)
		return err
	}
	e.Configure("peers: []")
	// A neighbor that came by itself cannot be configured before it has gone.
	e.Eventually("r1 knows the nodes", func(ctx context.Context) error {
		return set(ctx, "neighbor %s peer-group nodes", "neighbor nodes passive", "neighbor nodes bfd", "neighbor nodes bfd profile far")
	})
	e.T.Cleanup(func() {
		if err := set(context.Background(), "no neighbor %s", "no neighbor nodes bfd", "no neighbor nodes passive"); err != nil {
			e.T.Error(err)
		}
	})
}

// Guarded waits until BFD is up between all nodes and these addresses of r1, with
// these parameters of the nodes, as they and r1 see them.
func (e *Test) Guarded(want BFDPeer, at ...netip.Addr) {
	e.T.Helper()
	want.Status = "up"
	e.Eventually("BFD sessions", func(ctx context.Context) error {
		far, err := BFDSessions(ctx, e.Router.FRR)
		if err != nil {
			return err
		}
		for _, n := range e.Nodes {
			near, err := BFDSessions(ctx, n.FRR)
			if err != nil {
				return err
			}
			for _, router := range at {
				node := LANAddr(n, Route(router))
				if diff := cmp.Diff(want, near[router].BFDPeer); diff != "" {
					return fmt.Errorf("%s to %s (-want +got):\n%s", n.Name, router, diff)
				}
				r := far[node]
				if r.Status != "up" || r.RemoteReceive != want.ReceiveInterval || r.RemoteTransmit != want.TransmitInterval || r.RemoteMultiplier != want.DetectMultiplier {
					return fmt.Errorf("r1 to %s: %+v, want %+v", node, r, want)
				}
			}
		}
		return nil
	})
}

// A BFDPeer is what bfdd says of its end of a session.
type BFDPeer struct {
	Status           string `json:"status"`
	Passive          bool   `json:"passive-mode"`
	ReceiveInterval  int    `json:"receive-interval"`
	TransmitInterval int    `json:"transmit-interval"`
	DetectMultiplier int    `json:"detect-multiplier"`
	EchoReceive      int    `json:"echo-receive-interval"`
	EchoTransmit     int    `json:"echo-transmit-interval"` // 0: echo mode is off
}

// A BFDSession is what bfdd says of a session and of the other end.
type BFDSession struct {
	BFDPeer
	Peer             netip.Addr `json:"peer"`
	Interface        string     `json:"interface"`
	MultiHop         bool       `json:"multihop"`
	RemoteReceive    int        `json:"remote-receive-interval"`
	RemoteTransmit   int        `json:"remote-transmit-interval"`
	RemoteMultiplier int        `json:"remote-detect-multiplier"`
}

// BFDSessions returns the BFD sessions of an FRR by their peers.
func BFDSessions(ctx context.Context, f *lab.FRR) (map[netip.Addr]BFDSession, error) {
	out, err := f.Vtysh(ctx, "show bfd peers json")
	if err != nil {
		return nil, err
	}
	var all []BFDSession
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		return nil, err
	}
	sessions := map[netip.Addr]BFDSession{}
	for _, s := range all {
		sessions[s.Peer] = s
	}
	return sessions, nil
}
