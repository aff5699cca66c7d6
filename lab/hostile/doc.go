// SPDX-License-Identifier: Apache-2.0

// Package hostile has the tests of attacks: what one tenant or host does takes nothing
// from the others.
package hostile
