// SPDX-License-Identifier: Apache-2.0

// Package resources has the tests of custom resources: which versions are in force,
// and what their status says.
package resources
