// SPDX-License-Identifier: Apache-2.0

// Package herald is the root of Herald, a load balancer for Kubernetes on bare
// metal. It holds no code; ARCHITECTURE.md is the map of the packages.
package herald
