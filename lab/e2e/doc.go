// SPDX-License-Identifier: Apache-2.0

// Package e2e is what the lab's end-to-end tests have in common: a [Stack] that
// the tests of an area share, ways to configure Herald and to expose Services, and
// checks that wait until routers, clients and the API server show what is wanted.
//
// Tests are in packages by area, next to this one, and `go test ./lab/...` runs
// areas at the same time: each has a slot, and so namespaces and addresses, of its
// own. The TestMain of each calls [Main], or [Alone] if it measures time.
//
// No test runs programs that are older than the source: the first one that needs
// Herald's programs builds them.
//
// With HERALD_LAB=attach in the environment, tests use the lab that `make lab-up`
// holds instead of starting one. Its daemons are restarted from new programs first.
package e2e
