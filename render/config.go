// SPDX-License-Identifier: Apache-2.0

// Package render turns BGP intent into the text of frr.conf.
package render

import (
	"net/netip"
	"time"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/status"
)

// A Config is the wanted configuration of one node's FRR. Every list is sorted, so
// that equal intent renders to equal bytes.
type Config struct {
	Hostname    string
	ASN         uint32              // of the default VRF; 0: no BGP there
	RouterID    netip.Addr          // of the default VRF; zero: FRR chooses
	VRFs        []VRF               // the other VRFs with neighbors, by name
	Neighbors   []Neighbor          // by ID
	Classes     []Class             // no two are equal
	Networks    []Network           // by prefix; no two have the same
	BFDProfiles []config.BFDProfile // by name
}

// A VRF is a routing table of the node other than the default one. FRR has a BGP
// router for it.
type VRF struct {
	Name     string
	ASN      uint32
	RouterID netip.Addr // zero: FRR chooses
}

// A Neighbor is one BGP session. It carries the routes of its own address family,
// unless DualStack is set.
type Neighbor struct {
	Address         netip.Addr        // zero: Interface is set
	Interface       string            // unnumbered: the neighbor at the other end; RFC 5549
	VRF             string            // empty: the default one
	ASN             uint32            // 0: DynamicASN says what it may be
	DynamicASN      config.DynamicASN // empty unless ASN is 0
	LocalASN        uint32            // the AS that this session shows; 0: the router's
	Port            uint16            // 0: 179
	SourceAddress   netip.Addr
	HoldTime        *time.Duration // nil: three times KeepaliveTime, or FRR's default; whole seconds
	KeepaliveTime   *time.Duration // nil: a third of HoldTime, or FRR's default; whole seconds
	ConnectTime     *time.Duration // between attempts to open the session; nil: 10 s; whole seconds
	Password        config.Secret
	EBGPMultiHop    bool
	TTLSecurity     uint8  // GTSM, RFC 5082: the greatest distance in hops, without EBGPMultiHop; 0: none
	BFDProfile      string // empty: no BFD
	GracefulRestart bool   // the peer keeps the routes while FRR restarts; RFC 4724
	DualStack       bool   // routes of both families
}

// ID returns which neighbor n is.
func (n Neighbor) ID() status.PeerID {
	return status.PeerID{Address: n.Address, Interface: n.Interface, VRF: n.VRF}
}

// Carries reports whether the session has routes of a family.
func (n Neighbor) Carries(is4 bool) bool { return n.DualStack || n.ID().Carries(is4) }

// A Class is a way of announcing routes: the neighbors that get them, and the
// attributes. Its name in frr.conf is made from its content, so that the meaning of a
// name never changes.
type Class struct {
	Attributes []Attributes // one for each neighbor that gets the routes, by ID
}

// Attributes are the attributes of a class's routes for one neighbor.
type Attributes struct {
	Neighbor         status.PeerID
	LocalPref        uint32             // 0: not set
	Communities      []config.Community // sorted
	MED              Metric
	Prepend          []uint32 // put in front of the path, in addition to the AS that the session shows
	GracefulShutdown bool     // RFC 8326: adds GRACEFUL_SHUTDOWN, and sets the local preference to 0
}

// A Metric is a number that may be set to 0, or not be set. Metrics compare with ==.
type Metric struct {
	Set   bool
	Value uint32
}

// NewMetric returns the Metric of a number. The Metric of nil is not set.
func NewMetric(v *uint32) Metric {
	if v == nil {
		return Metric{}
	}
	return Metric{true, *v}
}

// A Network is a route that this node originates in each VRF with a neighbor that
// gets it.
type Network struct {
	Prefix netip.Prefix
	Class  int // index of Config.Classes
}
