// SPDX-License-Identifier: Apache-2.0

// Package hostile has the tests of attacks: what somebody may do who means harm costs
// nobody else anything.
package hostile
