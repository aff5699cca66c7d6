// SPDX-License-Identifier: Apache-2.0

// Package reconcile runs the loops of the controller and of the agents. A loop looks at the
// cluster, decides, and hands the result over to appliers.
package reconcile
