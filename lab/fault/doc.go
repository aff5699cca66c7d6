// SPDX-License-Identifier: Apache-2.0

// Package fault has the tests of failures: agents, FRR, controllers and the API
// server are killed, frozen and parted, and traffic goes on.
package fault
