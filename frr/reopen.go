// SPDX-License-Identifier: Apache-2.0

package frr

import (
	"context"
	"slices"

	"github.com/heraldlb/herald/status"
)

// Reopen restarts the BFD session of a peer and has bgpd open the session of BGP at
// once; it is for a session that is down. It reports whether there was anything to do:
// the configuration in force has the peer, and BFD for it.
//
// bgpd makes a BFD session when it reads the configuration, and can do so only if it
// knows its own address and how far the peer is away. Of an internal peer, one over
// several hops and, with FRR 8.4, an unnumbered one it knows that only after it has been
// connected with the peer. A router that waits for BFD, as FRR 10.2 and 10.3.0 do, has
// ended that connection at once, and both would wait for ever.
func (a *Applier) Reopen(ctx context.Context, peer status.PeerID) (done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, a.opts.Timeout)
	defer cancel()
	for _, w := range a.workers {
		if l, ok := w.target.(*link); ok && l.name == bgpd {
			return l.reopen(ctx, peer)
		}
	}
	return false, nil
}

func (l *link) reopen(ctx context.Context, peer status.PeerID) (bool, error) {
	if err := l.acquire(ctx); err != nil {
		return false, err
	}
	defer l.release()
	if l.conn == nil || l.running == nil || l.running != l.applied {
		return false, nil // there is more to do than that
	}
	commands := reopening(l.running, peer)
	if len(commands) == 0 {
		return false, nil
	}
	err := l.retryStale(func() error {
		if l.conn == nil {
			return nil // it is another daemon, which is configured soon
		}
		return l.send(ctx, commands)
	})
	return err == nil && l.conn != nil, err
}

// reopening returns the commands that restart BFD with a peer and open the session;
// none if there is no BFD. The peer's own address is set again if it follows BFD in the
// configuration: bgpd makes the BFD session with it then.
func reopening(c *Config, peer status.PeerID) []Command {
	var d differ
	name := peer.Name()
	guard := "neighbor " + name + " bfd"
	for _, router := range c.Sections {
		if kind, _ := enter(inTop, router.Text); kind != inRouter || vrfOf(router.Text) != peer.VRF {
			continue
		}
		i := slices.IndexFunc(router.Sub, func(s Section) bool { return s.Text == guard })
		if i < 0 {
			return nil
		}
		ctx := []Line{router.Line}
		var again []Line
		d.add(ctx, Line{Text: "no " + guard})
		for _, s := range router.Sub[i:] {
			p, attr, ok := cutNeighbor(s.Text)
			switch key := neighborKey(attr); {
			case !ok || p != name:
			case key == "update-source":
				d.add(ctx, Line{Text: unset(inRouter, s.Text)})
				again = append(again, s.Line)
			case key == "bfd" || key == "bfd profile" || key == "timers connect":
				again = append(again, s.Line)
			}
		}
		for _, line := range again {
			d.add(ctx, line)
		}
	}
	return d.commands
}
