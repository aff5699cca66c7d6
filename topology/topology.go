// SPDX-License-Identifier: Apache-2.0

// Package topology describes a whole Herald as one value: pools, Services, nodes, peers
// and sessions, which node announces what, which does not and why, and what is broken. It
// is pure. What it judges it judges by the functions that controller and agents run.
package topology

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/status"
)

// SchemaVersion is that of a Topology in JSON. It changes when a member changes its
// meaning or goes; a new member does not change it.
const SchemaVersion = 1

// A Topology is what is known about a Herald at one time. All lists are sorted.
type Topology struct {
	SchemaVersion int          `json:"schemaVersion"`
	At            time.Time    `json:"at"`
	Namespace     string       `json:"namespace"`                   // that Herald runs in
	Class         string       `json:"loadBalancerClass,omitempty"` // of the Services that it handles; empty: those without one
	Unasked       []Unasked    `json:"unasked,omitempty"`           // what could not be asked
	NoFRR         bool         `json:"noFRR,omitempty"`             // agents run without FRR: layer 2 alone
	Config        Config       `json:"config"`
	Controllers   []Controller `json:"controllers"`
	Nodes         []Node       `json:"nodes"`
	Pools         []Pool       `json:"pools"`
	Peers         []Peer       `json:"peers"`
	Services      []Service    `json:"services"`          // of type LoadBalancer
	Problems      []Problem    `json:"problems"`          // the worst first
	Changes       []Change     `json:"changes,omitempty"` // that the agents saw, the newest first; not more than 256
	Overall       string       `json:"health"`            // Health in a word: ChainFine, ChainBroken or ChainUnknown

	others  map[cluster.Key]bool // Services of other types
	silent  bool                 // nobody writes into objects what is announced
	unknown bool                 // what is missing keeps Services from being judged
}

// Unasked is what could not be asked, and why.
type Unasked struct {
	What  string `json:"what"` // a kind of object, or "agent of n1"
	Error string `json:"error"`
}

// A Config says which configuration is in force.
type Config struct {
	Loaded  bool   `json:"loaded"`
	Refused bool   `json:"refused,omitempty"` // there is one, and none of it is valid
	Unread  string `json:"unread,omitempty"`  // why it is not known; of its parts, pools may be
	Source  string `json:"source"`            // where it is from
	Version string `json:"version,omitempty"`
	Error   string `json:"error,omitempty"`  // why the newest, or some of it, is not in force
	Notice  string `json:"notice,omitempty"` // another configuration does not count
}

// A Controller is a pod that assigns addresses.
type Controller struct {
	Pod     string `json:"pod"`
	Ready   bool   `json:"ready"`
	Absence string `json:"absence,omitempty"` // why it does not run
	Leading bool   `json:"leading,omitempty"`
}

// A Pool is a pool of addresses.
type Pool struct {
	status.Pool
	Addresses      []string `json:"addresses"`      // as ranges
	AutoAssign     bool     `json:"autoAssign"`     // without an explicit request
	Advertisements []string `json:"advertisements"` // that select it, as KIND/NAME
	Clients        []string `json:"clients"`        // Services that have an address of it, as namespace/name

	Reservations []Reservation `json:"reservations,omitempty"` // by address
}

// A Reservation keeps an address of a pool for a Service.
type Reservation struct {
	Addr    netip.Addr `json:"address"`
	Service string     `json:"service"` // as namespace/name
}

// full reports for a family whether a pool has no free address. A pool without addresses of
// the family is not full.
func (p Pool) full(is4 bool) bool {
	total, used := p.TotalV6, p.InUseV6+p.ReservedV6+p.RetainedV6
	if is4 {
		total, used = p.TotalV4, p.InUseV4+p.ReservedV4+p.RetainedV4
	}
	return total != nil && total.Sign() > 0 && total.IsInt64() && total.Int64() <= int64(used)
}

// A Peer is a BGP router of the configuration.
type Peer struct {
	Name       string    `json:"name"`
	Address    string    `json:"address"` // or the interface of an unnumbered session, with the VRF
	ASN        string    `json:"asn"`
	BFDProfile string    `json:"bfdProfile,omitempty"`
	Up         int       `json:"up"`
	Wanted     int       `json:"wanted"`   // sessions that nodes should hold
	Sessions   []Session `json:"sessions"` // of every node, wanted or not
}

// Where a Session, a Verdict or an Announcer is known from.
const (
	FromAgent   = "agent"   // the node's agent was asked
	FromObjects = "objects" // the agent wrote it into an object at the API server
	FromRules   = "rules"   // nobody has said it: it follows from the configuration
)

// A Session is the BGP session of a node with a peer.
type Session struct {
	Node    string        `json:"node"`
	From    string        `json:"from"`
	Wanted  bool          `json:"wanted"`
	Up      bool          `json:"up"`
	State   string        `json:"state,omitempty"` // as FRR spells it; empty: not known
	Since   time.Time     `json:"since,omitzero"`  // when it came up, or went down; zero: not known
	Sent    int           `json:"sent"`            // routes in the peer's Adj-RIB-Out, by an agent
	BFD     string        `json:"bfd,omitempty"`
	Reason  status.Reason `json:"reason,omitempty"`  // why it is not wanted, or not up
	Message string        `json:"message,omitempty"` // the same in words, with the cure
	Last    string        `json:"lastError,omitempty"`

	Details *status.SessionDetails `json:"details,omitempty"` // by an agent; missing: FRR does not have the session
}

// A Node is a Node of the cluster, with its agent.
type Node struct {
	Name     string        `json:"name"`
	Addrs    []netip.Addr  `json:"addresses,omitempty"`
	Agent    Agent         `json:"agent"`
	Refusal  status.Reason `json:"refusal,omitempty"`       // why it announces nothing at all
	Drain    string        `json:"drain,omitempty"`         // the annotation that drains it
	Draining string        `json:"drainProgress,omitempty"` // how far that is, as its agent says
	Version  string        `json:"configuration,omitempty"` // version of the configuration in force on it, as far as its agent says
	Behind   bool          `json:"behind,omitempty"`        // most nodes have another one
	Errors   []string      `json:"errors,omitempty"`        // what of the configuration is not in force on it
	Lacking  []string      `json:"lackingInterfaces,omitempty"`
	FRR      string        `json:"frr,omitempty"`         // why FRR does not run what it should
	Applying bool          `json:"frrApplying,omitempty"` // FRR takes in a configuration at this moment
	Layer2   string        `json:"layer2,omitempty"`      // why it answers nothing on layer 2
	Members  []string      `json:"members,omitempty"`     // nodes whose agents are alive, as gossip says
	Unseen   []string      `json:"unseen,omitempty"`      // nodes whose agents have answered, and that gossip does not see
	Proxy    string        `json:"dataPlane,omitempty"`   // why the data plane is not known to be healthy

	ProxyAsked bool `json:"dataPlaneAsked,omitempty"` // the agent asks the data plane how it is

	Services int  `json:"services"` // that it announces
	Load     Load `json:"load"`

	// By the agent.
	FRRVersion string                    `json:"frrVersion,omitempty"`
	Daemons    map[string]status.Process `json:"daemons,omitempty"`   // of FRR
	Watches    []status.Watch            `json:"apiServer,omitempty"` // when it last heard of each kind
}

// An Agent is the agent of a node.
type Agent struct {
	Pod     string `json:"pod,omitempty"`
	Running bool   `json:"running"`
	Absence string `json:"absence,omitempty"` // why it does not run
	Asked   bool   `json:"asked"`             // it has answered
	Trouble string `json:"trouble,omitempty"` // why it does not do its work, though it runs
	Version string `json:"version,omitempty"`

	Started time.Time `json:"started,omitzero"` // by the node's clock
	Clock   time.Time `json:"clock,omitzero"`   // of the node, when it answered
}

// States of a Service.
const (
	StateAnnounced    = "Announced"
	StateDegraded     = "Degraded" // announced, and not by all that should
	StateNotAnnounced = "NotAnnounced"
	StateNoAddress    = "NoAddress"
	StateOther        = "Other"   // another load balancer's
	StateUnknown      = "Unknown" // it could not be told
)

// A Service is a Service of type LoadBalancer.
type Service struct {
	Name        string      `json:"name"` // namespace/name
	State       string      `json:"state"`
	Class       string      `json:"class,omitempty"`
	Local       bool        `json:"local,omitempty"` // externalTrafficPolicy
	Created     time.Time   `json:"created,omitzero"`
	Selector    string      `json:"selector,omitempty"` // of its pods; empty: none, or a very long one
	Request     string      `json:"request,omitempty"`  // what it asks for, in words
	Addresses   []Address   `json:"addresses"`
	Assigned    Judgement   `json:"assigned"`
	Announced   Judgement   `json:"announced"`
	Endpoints   []Endpoint  `json:"endpoints,omitempty"` // usable ones, by node
	Announcers  []Announcer `json:"announcers,omitempty"`
	Verdicts    []Verdict   `json:"verdicts,omitempty"`
	Lacks       []string    `json:"lacks,omitempty"`  // of an announced Service: which part is not announced
	Untold      []string    `json:"untold,omitempty"` // of an announced Service: of which part that is not known
	Annotations string      `json:"unknownAnnotations,omitempty"`

	silent bool // an address is announced by nobody
}

// An Address is an address of a Service.
type Address struct {
	Addr           netip.Addr `json:"address"`
	Pool           string     `json:"pool,omitempty"`           // empty: of none
	Advertisements []string   `json:"advertisements,omitempty"` // that apply, as KIND/NAME
}

// A Judgement is a condition of a Service. The zero value is that nothing is known.
type Judgement struct {
	True    bool          `json:"true"`
	Reason  status.Reason `json:"reason,omitempty"`
	Message string        `json:"message,omitempty"`
	Pending bool          `json:"pending,omitempty"` // the controller has not written it
}

// An Endpoint is how many usable endpoints a Service has on a node.
type Endpoint struct {
	Node        string `json:"node"` // empty: on none
	IPv6        bool   `json:"ipv6,omitempty"`
	Ready       int    `json:"ready"`
	Terminating bool   `json:"terminating,omitempty"` // some still serve, and none is ready
}

// An Announcer is a node that was seen to announce a Service.
type Announcer struct {
	Node       string          `json:"node"`
	Protocol   status.Protocol `json:"protocol"`
	From       string          `json:"from"`
	Peers      []string        `json:"peers,omitempty"`      // that were sent a route
	Interfaces []string        `json:"interfaces,omitempty"` // on which it answers, where advertisements name some
}

// A Verdict is what nodes decide about an address of a Service over a protocol.
type Verdict struct {
	Addr      netip.Addr      `json:"address,omitzero"`
	Protocol  status.Protocol `json:"protocol,omitempty"`
	Nodes     []string        `json:"nodes"`
	From      string          `json:"from"`
	Announce  bool            `json:"announce"`
	Confirmed bool            `json:"confirmed,omitempty"` // seen to be in force
	Reason    status.Reason   `json:"reason"`
	Detail    string          `json:"detail,omitempty"`
	Peers     []string        `json:"peers,omitempty"`
	Sent      []string        `json:"sent,omitempty"`   // those of Peers that were sent a route
	Last      bool            `json:"last,omitempty"`   // the nodes drain and keep it: no other was seen to announce it
	Routes    []netip.Prefix  `json:"routes,omitempty"` // for the address
	Since     time.Time       `json:"since,omitzero"`   // since when all these nodes decide so; missing: not known
}

// Lacks reports whether objects of a kind could not be read.
func (t Topology) Lacks(kind string) bool { return unasked(t.Unasked, kind) }

// Incomplete reports whether so little could be read that something broken may be overlooked.
func (t Topology) Incomplete() bool { return t.unknown }

// Service returns a Service by namespace/name.
func (t Topology) Service(name string) (Service, bool) {
	return find(t.Services, name, func(s Service) string { return s.Name })
}

// Node returns a node by its name.
func (t Topology) Node(name string) (Node, bool) {
	return find(t.Nodes, name, func(n Node) string { return n.Name })
}

// Peer returns a peer by its name.
func (t Topology) Peer(name string) (Peer, bool) {
	return find(t.Peers, name, func(p Peer) string { return p.Name })
}

// Pool returns a pool by its name.
func (t Topology) Pool(name string) (Pool, bool) {
	return find(t.Pools, name, func(p Pool) string { return p.Name })
}

func find[T any](all []T, name string, of func(T) string) (T, bool) {
	i, ok := slices.BinarySearchFunc(all, name, func(x T, name string) int { return cmp.Compare(of(x), name) })
	if !ok {
		var none T
		return none, false
	}
	return all[i], true
}
