// SPDX-License-Identifier: Apache-2.0

package frr

import (
	"context"

	"github.com/heraldlb/herald/frr/conf"
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
		if d, ok := w.target.(*daemon); ok && d.name == conf.BGPD {
			return d.reopen(ctx, peer)
		}
	}
	return false, nil
}

func (d *daemon) reopen(ctx context.Context, peer status.PeerID) (bool, error) {
	if err := d.acquire(ctx); err != nil {
		return false, err
	}
	defer d.release()
	if d.conn == nil || d.running == nil || d.running != d.applied {
		return false, nil // there is more to do than that
	}
	commands := conf.Reopening(d.running, peer)
	if len(commands) == 0 {
		return false, nil
	}
	err := d.retryStale(func() error {
		if d.conn == nil {
			return nil // it is another daemon, which is configured soon
		}
		return d.send(ctx, commands)
	})
	return err == nil && d.conn != nil, err
}
