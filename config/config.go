// SPDX-License-Identifier: Apache-2.0

// Package config turns what the operator wrote into one validated Config.
package config

import (
	"net/netip"
	"time"
)

// A Config is everything the operator wrote, validated. Its shape is that of
// MetalLB's custom resources, whichever front end filled it. It is immutable and may be
// shared.
type Config struct {
	Pools             []Pool // in document order; no two overlap
	Peers             []Peer // in document order
	BGPAdvertisements []BGPAdvertisement
	L2Advertisements  []L2Advertisement
	BFDProfiles       []BFDProfile
	Communities       []CommunityAlias
}

// A Pool is a set of addresses that Services can be given.
type Pool struct {
	Name          string
	Labels        map[string]string
	Addresses     []Range // in document order; none overlap
	AutoAssign    bool    // false: only on explicit request
	AvoidBuggyIPs bool    // IPv4 addresses ending in .0 and .255 are never assigned
	Allocation    *Allocation
	Reservations  []Reservation // as ParseReservations returns them
	Quota         *Quota        // nil: none
	Separate      bool          // Services of two namespaces share an address only if each names the other's namespace

	// Remarks say what of the addresses, as they are written, is probably not
	// meant. They are no part of what the pool is.
	Remarks []string `json:"-"`
}

// An Allocation pins a pool to some Services; a pool with a nil *Allocation is
// open to all.
type Allocation struct {
	Priority           int      // lower is tried first; 0 is tried last
	Namespaces         []string // with NamespaceSelectors; both empty: every namespace
	NamespaceSelectors []Selector
	ServiceSelectors   []Selector // empty: every Service
}

// A Peer is a BGP router to hold a session with.
type Peer struct {
	Name            string // unique; "peer1", "peer2"… in a ConfigMap, in document order
	MyASN           uint32
	PeerASN         uint32         // 0: DynamicASN says what the peer's may be
	DynamicASN      DynamicASN     // empty unless PeerASN is 0
	LocalASN        uint32         // 0: MyASN; else what an external peer is shown instead
	Address         netip.Addr     // zero: Interface is set
	Interface       string         // unnumbered: the peer is the router at the other end; RFC 5549
	Port            uint16         // 0: 179
	SourceAddress   netip.Addr     // zero: the kernel chooses
	VRF             string         // empty: the default one
	HoldTime        *time.Duration // nil: FRR's default, 180 s; whole seconds
	KeepaliveTime   *time.Duration // nil: a third of HoldTime; whole seconds
	ConnectTime     *time.Duration // nil: Herald's default; whole seconds, 1 to 65535
	RouterID        netip.Addr     // IPv4; zero: the node's
	NodeSelectors   []Selector     // ORed; empty: every node
	Password        Secret         // TCP MD5, RFC 2385
	BFDProfile      string         // empty: no BFD
	EBGPMultiHop    bool
	TTLSecurity     uint8 // GTSM, RFC 5082: the greatest distance in hops; 0: any TTL is accepted
	GracefulRestart bool  // RFC 4724
	DualStack       bool  // routes of both families, whichever the session runs over

	// PasswordCut says that the password was written with a line break at its
	// end, which is no part of Password.
	PasswordCut bool `json:"-"`
}

// A DynamicASN says which AS numbers a peer without a number of its own may
// have.
type DynamicASN string

// The DynamicASNs, as FRR spells them.
const (
	Internal DynamicASN = "internal" // ours
	External DynamicASN = "external" // any other
)

// A BGPAdvertisement says how addresses of pools are announced over BGP.
type BGPAdvertisement struct {
	Scope
	Name                string   // unique; of pool wan in a ConfigMap "wan-1", "wan-2"…
	Peers               []string // peer names; empty: every peer
	AggregationLength   int      // prefix length of IPv4 routes, 32 for one route an address
	AggregationLengthV6 int      // prefix length of IPv6 routes, 128 for one route an address
	LocalPref           uint32   // 0: not set; sent to iBGP peers only
	LocalPrefV6         *uint32  // that of IPv6 routes; nil: LocalPref is, too; of a ConfigMap alone
	Communities         []Community
	MED                 *uint32 // nil: not set; RFC 4271, Section 5.1.4
	Prepend             int     // how often our AS number is put in front of the path once more, 0 to 10
	GracefulShutdown    bool    // RFC 8326: the community GRACEFUL_SHUTDOWN, and local preference 0
}

// Preference returns the local preference of routes of a family; 0: not set.
func (a BGPAdvertisement) Preference(is4 bool) uint32 {
	if is4 || a.LocalPrefV6 == nil {
		return a.LocalPref
	}
	return *a.LocalPrefV6
}

// An L2Advertisement says how addresses of pools are announced on layer 2.
type L2Advertisement struct {
	Scope
	Name           string   // unique; the pool's in a ConfigMap
	Interfaces     []string // exact names; empty: every suitable interface
	PreferredNodes []PreferredNode
}

// A PreferredNode makes some of the nodes that may announce an address more
// likely to own it: the node with the highest sum of weights does.
type PreferredNode struct {
	Weight   int // 1 to 100
	Selector Selector
}

// A BFDProfile holds the timers of BFD sessions, RFC 5880. A zero number
// leaves FRR's default in force.
type BFDProfile struct {
	Name             string
	ReceiveInterval  uint32 // milliseconds, 10 to 60000
	TransmitInterval uint32 // milliseconds, 10 to 60000
	EchoInterval     uint32 // milliseconds, 10 to 60000
	DetectMultiplier uint32 // 2 to 255
	MinimumTTL       uint32 // 1 to 254, for multihop sessions
	EchoMode         bool
	PassiveMode      bool
}

// A CommunityAlias is a name that stands for a community.
type CommunityAlias struct {
	Name  string
	Value Community
}
