// SPDX-License-Identifier: Apache-2.0

// Package handover has the tests of planned moves: a drain, and a switch of the
// protocol. They lose no request.
package handover
