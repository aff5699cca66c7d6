// SPDX-License-Identifier: Apache-2.0

package frr

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"strings"
	"time"

	"github.com/heraldlb/herald/frr/conf"
)

// findTime bounds the look at what bgpd announces before anything is applied.
const findTime = 2 * time.Second

// find looks which routes bgpd announces, if the worker drives bgpd and somebody wants to know.
func (a *Applier) find(ctx context.Context, w *worker) {
	d, ok := w.target.(*daemon)
	if !ok || d.name != conf.BGPD || a.opts.Found == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, findTime)
	defer cancel()
	routes, err := d.routes(ctx)
	switch {
	case errors.Is(err, fs.ErrNotExist): // no bgpd, no routes
		routes = map[netip.Prefix]string{}
	case err != nil:
		a.opts.Logger.Info("routes of bgpd not read: there is nothing to go on with", "err", err)
	}
	a.opts.Found(routes)
}

// routes returns the routes that bgpd announces, and the route-map of each.
func (d *daemon) routes(ctx context.Context) (map[netip.Prefix]string, error) {
	if err := d.acquire(ctx); err != nil {
		return nil, err
	}
	defer d.token.release()
	conn, err := d.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	text, err := conn.Run(ctx, "show running-config")
	if err != nil {
		return nil, err
	}
	routes := map[netip.Prefix]string{}
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) != 4 || words[0] != "network" || words[2] != "route-map" {
			continue
		}
		if prefix, err := netip.ParsePrefix(words[1]); err == nil {
			routes[prefix] = words[3]
		}
	}
	return routes, nil
}
