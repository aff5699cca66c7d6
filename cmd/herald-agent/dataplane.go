// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"
	"sync/atomic"

	"github.com/heraldlb/herald/dataplane"
	"github.com/heraldlb/herald/probe"
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

// prove makes the parts that find out what this node serves. Other agents elect it once both
// have settled.
func (p *program) prove(gate dataplane.Options, gated bool) {
	var unsettled atomic.Int32
	settled := func() {
		if unsettled.Add(-1) == 0 {
			p.layer2.Ready()
		}
		p.worker.Wake()
	}
	unsettled.Store(1)
	if gated {
		unsettled.Store(2)
		gate.Changed, gate.Settled, gate.Logger = p.worker.Wake, settled, p.part("data plane")
		p.gate = dataplane.New(gate)
	}
	p.prober = probe.New(probe.Options{Changed: p.worker.Wake, Settled: settled, Logger: p.part("probes")})
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
