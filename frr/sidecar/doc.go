// SPDX-License-Identifier: Apache-2.0

// Package sidecar runs FRR's daemons in their container.
//
// A Supervisor starts the daemons, restarts what ends or hangs, and stops them in
// the way that costs the peers least. A Demand has some of them run only while the
// configuration needs them. An AgentWatch withdraws all routes while no agent is
// alive. A Machine runs FRR's programs with FRR's user and capabilities,
// and Collector and NewHandler serve metrics and health.
package sidecar
