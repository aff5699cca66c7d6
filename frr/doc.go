// SPDX-License-Identifier: Apache-2.0

// Package frr drives FRR's daemons over their vty sockets. An Applier makes them
// run a wanted frr.conf with the smallest change. A Reader, a Poller and a Verifier
// report the sessions, and which routes the peers were sent.
package frr
