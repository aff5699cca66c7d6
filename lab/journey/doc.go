// SPDX-License-Identifier: Apache-2.0

// Package journey says what the way of a Service through Herald to the router's kernel
// consists of, from what daemons log and what is seen from outside.
package journey
