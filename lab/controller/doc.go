// SPDX-License-Identifier: Apache-2.0

// Package controller has the tests that need an API server and a controller alone:
// which Service gets which address, what the definitions of the resources allow, and
// the manifests. They start no network.
package controller
