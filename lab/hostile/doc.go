// SPDX-License-Identifier: Apache-2.0

<<<<<<< HEAD
// Package hostile has the tests of what attackers may do: tenants, hosts on the LAN, pods
// that reach a node's ports.
=======
// Package hostile has the tests of attacks: what somebody may do who means harm costs
// nobody else anything.
>>>>>>> events
package hostile
