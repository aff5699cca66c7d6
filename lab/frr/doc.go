// SPDX-License-Identifier: Apache-2.0

// Package frr has the tests of package frr against real FRR and GoBGP, without
// Kubernetes: every kind of session, and configurations one after the other.
package frr
