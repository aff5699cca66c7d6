// SPDX-License-Identifier: Apache-2.0

// Package extras brings the operator's raw configuration into FRR.
//
// It has both sides of that part of the contract in docs/frr-contract.md. In the
// agent, a Sender hands the text to the FRR container and reports the result. In
// the FRR container, an Applier applies the text and writes the result.
package extras
