// SPDX-License-Identifier: Apache-2.0

// Package status has the tests of what Herald reports: the status of Services, of
// sessions and of peers, and events.
package status
