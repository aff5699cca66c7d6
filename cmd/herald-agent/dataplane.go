// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"

	"github.com/heraldlb/herald/dataplane"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/status"
)

// dataPlane returns what the flags say about the data plane, and whether it is asked.
func (o *options) dataPlane() (opts dataplane.Options, asked bool, err error) {
	switch o.gateMode {
	case "off":
		return opts, false, nil
	case "auto", "all":
	default:
		return opts, false, fmt.Errorf("--dataplane-gate %q: want auto, all or off", o.gateMode)
	}
	opts.Healthz, err = netip.ParseAddrPort(o.healthz)
	if err != nil || opts.Healthz.Port() == 0 {
		return opts, false, fmt.Errorf("--dataplane-healthz %q: want an address and a port, such as 127.0.0.1:10256", o.healthz)
	}
	return opts, true, nil
}

// readiness returns what the agent asks about the data plane; nil: it does not.
func (p *program) readiness() reconcile.DataPlane {
	if p.gate == nil {
		return nil
	}
	return p.gate
}

// dataPlaneStatus returns the state of the data plane; nil: it is not known.
func (p *program) dataPlaneStatus() *status.DataPlane {
	if p.gate == nil {
		return nil
	}
	return p.gate.Status()
}
