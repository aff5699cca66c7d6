// SPDX-License-Identifier: Apache-2.0

// Package layer2 has the tests of what Herald answers for on layer 2.
package layer2
