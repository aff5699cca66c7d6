// SPDX-License-Identifier: Apache-2.0

// Package frr drives FRR's daemons over their vty sockets: a wanted frr.conf goes
// in, and the smallest change of the running configuration and the state of the
// sessions come out.
package frr
