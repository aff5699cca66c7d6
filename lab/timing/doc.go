// SPDX-License-Identifier: Apache-2.0

// Package timing has the tests that measure how long a failure is felt. They run
// when no other area does.
package timing
