// SPDX-License-Identifier: Apache-2.0

// Package render turns BGP intent into the text of frr.conf.
package render

import (
	"net/netip"
	"time"

	"github.com/heraldlb/herald/config"
)

// A Config is everything that one node's FRR is to do. Every list is sorted,
// so that equal intent renders to equal bytes.
type Config struct {
	Hostname    string
	ASN         uint32              // 0: no BGP
	RouterID    netip.Addr          // zero: FRR chooses
	Neighbors   []Neighbor          // by address
	Classes     []Class             // no two alike
	Networks    []Network           // by prefix; no two alike
	BFDProfiles []config.BFDProfile // by name
}

// A Neighbor is one BGP session. It carries the routes of its own address
// family.
type Neighbor struct {
	Address       netip.Addr
	ASN           uint32
	LocalASN      uint32 // 0: the router's; else the AS that this session shows instead of it
	Port          uint16 // 0: 179
	SourceAddress netip.Addr
	HoldTime      *time.Duration // nil: three times KeepaliveTime, or FRR's default; whole seconds
	KeepaliveTime *time.Duration // nil: a third of HoldTime, or FRR's default; whole seconds
	Password      config.Secret
	EBGPMultiHop  bool
	BFDProfile    string // empty: no BFD
}

// A Class is a distinct way of announcing routes: which neighbors get them,
// with which attributes. Its name in frr.conf is made from its content, so
// that what a name stands for never changes.
type Class struct {
	Attributes []Attributes // one for each neighbor that gets the routes, by address
}

// Attributes are what a neighbor is told about the routes of a class.
type Attributes struct {
	Neighbor    netip.Addr
	LocalPref   uint32             // 0: not set
	Communities []config.Community // sorted
}

// A Network is a route that this node originates.
type Network struct {
	Prefix netip.Prefix
	Class  int // index of Config.Classes
}
