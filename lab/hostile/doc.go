// SPDX-License-Identifier: Apache-2.0

// Package hostile has the tests of what attackers may do: tenants, hosts on the LAN, pods
// that reach a node's ports.
package hostile
