// SPDX-License-Identifier: Apache-2.0

// Package sidecar has the tests of herald-frr: FRR and the agent run as the containers
// of their pod, as the manifest describes it.
package sidecar
