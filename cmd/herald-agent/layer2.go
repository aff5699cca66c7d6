// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"log/slog"
	"net/netip"

	"github.com/heraldlb/herald/cmd/internal/daemon"
	"github.com/heraldlb/herald/l2/members"
	"github.com/heraldlb/herald/l2/node"
)

// layer2 returns what the flags say about layer 2.
func (o *options) layer2(log *slog.Logger) (opts node.Options, err error) {
	opts = node.Options{Node: o.node, Version: daemon.Version(), Logger: log}
	name := o.liveness
	if o.wan {
		name = cmp.Or(name, string(members.WAN))
	}
	if opts.Profile, err = members.ParseProfile(cmp.Or(name, string(members.Fast))); err != nil {
		return opts, fmt.Errorf("--l2-liveness: %w", err)
	}
	if err := opts.Conflict.UnmarshalText([]byte(o.conflict)); err != nil {
		return opts, fmt.Errorf("--l2-conflict: %w", err)
	}
	if o.bind == "" {
		return opts, nil
	}
	addr, err := netip.ParseAddr(o.bind)
	if err != nil || addr.IsUnspecified() {
		return opts, fmt.Errorf("--ml-bindaddr %q: want an address of this node", o.bind)
	}
	opts.Bind = netip.AddrPortFrom(addr.Unmap(), o.bindPort)
	if opts.Keys, err = readKeys(o.keyDir); err != nil {
		return opts, fmt.Errorf("--ml-secret-key-path: %w", err)
	}
	if opts.Keys == nil {
		log.Warn("gossip is in clear text", "err", "there is no secret: set --ml-secret-key-path")
	}
	return opts, nil
}
