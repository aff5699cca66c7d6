// SPDX-License-Identifier: Apache-2.0

// Package reconcile runs the loops of the controller and of the agents: they look at
// the cluster, decide, and hand over what follows to appliers.
package reconcile
