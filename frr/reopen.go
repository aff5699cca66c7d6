// SPDX-License-Identifier: Apache-2.0

package frr

import (
	"context"

	"github.com/heraldlb/herald/frr/conf"
	"github.com/heraldlb/herald/status"
)

// Reopen restarts the BFD session of a peer and makes bgpd open the BGP session at
// once. It is for a session that is down. It reports whether it did so: it does
// nothing unless the configuration in force has the peer, with BFD.
//
// bgpd creates the BFD session when it reads the configuration. For that it has to
// know its own address and the distance of the peer. For an internal peer, for one
// over several hops and, with FRR 8.4, for an unnumbered one it learns these only
// from a connection with the peer. A router that waits for BFD, as FRR 10.2 and
// 10.3.0 do, ends that connection at once. Both sides would then wait for ever.
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
	defer d.token.release()
	if d.conn == nil || d.runs == nil || d.runs != d.applied {
		return false, nil // a whole apply is due
	}
	commands := conf.Reopening(d.runs.frame()[d.name], peer)
	if len(commands) == 0 {
		return false, nil
	}
	err := d.retryStale(func() error {
		if d.conn == nil {
			return nil // a new daemon has taken its place, and is configured soon
		}
		return d.send(ctx, commands)
	})
	return err == nil && d.conn != nil, err
}
