// SPDX-License-Identifier: Apache-2.0

// Package bgp has the tests of what Herald announces over BGP: sessions, routes and
// attributes, configured by the ConfigMap and by resources.
package bgp
