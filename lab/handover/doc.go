// SPDX-License-Identifier: Apache-2.0

// Package handover has the tests of planned moves: a drain, a switch of the protocol, a
// rollout, and a node that comes back. They lose no request.
package handover
