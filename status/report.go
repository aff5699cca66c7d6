// SPDX-License-Identifier: Apache-2.0

package status

import (
	"net/netip"
	"slices"
	"time"
)

// SchemaVersion is that of a Report in JSON. It changes when a member changes its meaning or
// goes; a new member does not change it.
const SchemaVersion = 1

// A Report is the state of the cluster as one of Herald's processes knows it. A member that
// is empty or zero is left out, where its description says what that means.
type Report struct {
	Now           time.Time `json:"now,omitzero"`  // when the report was made, by the node's clock
	SchemaVersion int       `json:"schemaVersion"` // changes when a member changes its meaning or goes
	Identity
	Passes     uint64            `json:"passes"`               // since the start
	Synced     bool              `json:"synced"`               // everything has been read once
	Leading    bool              `json:"leading,omitempty"`    // controller: this one assigns addresses
	Leader     string            `json:"leader,omitempty"`     // controller: the pod that does, as far as is known
	Config     Config            `json:"config"`               // which one is in force
	Pools      []Pool            `json:"pools,omitempty"`      // controller: in the order of the configuration
	Unassigned map[Reason]int    `json:"unassigned,omitempty"` // controller: Services without the addresses they ask for
	Clashes    []Clash           `json:"clashes,omitempty"`    // controller: addresses that another load balancer also assigned
	Contests   []Contest         `json:"contests,omitempty"`   // objects whose status another writer keeps changing
	Decisions  []Decision        `json:"decisions,omitempty"`  // agent: about each address of a Service and each protocol
	Decide     func() []Decision `json:"-"`                    // optional: makes Decisions when they are asked for
	Survey     func(*Report)     `json:"-"`                    // optional: adds what is made only for /status
	Peers      []Peer            `json:"peers,omitempty"`      // agent: of the configuration in force
	Error      string            `json:"error,omitempty"`      // why the last pass failed
	FRR        *FRR              `json:"frr,omitempty"`        // agent
	Layer2     *Network          `json:"layer2,omitempty"`     // agent
	DataPlane  *DataPlane        `json:"dataPlane,omitempty"`  // agent; nil: it is not asked
	Probes     *Probes           `json:"probes,omitempty"`     // agent; nil: nothing is probed
	Drain      *Drain            `json:"drain,omitempty"`      // agent; nil: the node does not drain
	Watches    []Watch           `json:"apiServer,omitempty"`  // what is read from the API server, sorted by kind
	Changes    []Change          `json:"changes,omitempty"`    // the last 256, the newest first
	LogLevel   string            `json:"logLevel,omitempty"`   // all, debug, info, warn, error or none
	Took       time.Duration     `json:"-"`                    // the last pass

	Unannounced map[Reason]int `json:"unannounced,omitempty"` // controller: Services with addresses that no node announces
	Timings     []Timing       `json:"timings,omitempty"`     // how long what users wait for takes
}

// An Identity says which process a Report is from.
type Identity struct {
	Component string `json:"component"` // herald-controller or herald-agent
	Version   string `json:"version"`
	Node      string `json:"node,omitempty"` // agent
	Pod       string `json:"pod,omitempty"`

	Started time.Time `json:"started,omitzero"` // when the process began
}

// A Watch is how a process reads the objects of one kind.
type Watch struct {
	Kind   string    `json:"kind"`
	State  string    `json:"state"`           // Unread, Listed, or Absent: there is no such kind, or no right to read it
	Heard  time.Time `json:"heard,omitzero"`  // when the API server said something of the kind last: at least once a minute or so, if all is well
	Listed time.Time `json:"listed,omitzero"` // when all objects were read last
}

// A Config says which configuration is in force.
type Config struct {
	Loaded   bool      `json:"loaded"` // one was accepted; it stays in force until the next is
	Source   string    `json:"source,omitempty"`
	Version  string    `json:"version,omitempty"` // of the one in force
	Accepted time.Time `json:"accepted,omitzero"`
	Newest   string    `json:"newest,omitempty"` // version of the newest, in force or not
	Error    string    `json:"error,omitempty"`  // why the newest, or some of its resources, are not in force
	Notice   string    `json:"notice,omitempty"` // something that an operator should look at
}

// FRR says whether the wanted configuration is in force.
type FRR struct {
	Generation uint64          `json:"generation"` // of the wanted text
	Applied    bool            `json:"applied"`    // every daemon has accepted all of it
	AppliedAt  time.Time       `json:"appliedAt,omitzero"`
	Error      string          `json:"error,omitempty"`
	Unsaved    string          `json:"unsaved,omitempty"` // why frr.conf, from which FRR starts, has another text
	Daemons    map[string]bool `json:"daemons,omitempty"` // the required ones: whether they answer
	Version    string          `json:"version,omitempty"` // of FRR; empty: not known yet

	// Processes are FRR's daemons that answer, by name.
	Processes map[string]Process `json:"processes,omitempty"`

	Extras *Extras `json:"extras,omitempty"` // the operator's raw configuration; nil: there is none

	// Metrics: the FRR container exports the metrics of the sessions.
	Metrics bool `json:"-"`
}

// A Process is one of FRR's daemons.
type Process struct {
	Started  time.Time `json:"started,omitzero"` // when it began to listen
	Restarts int       `json:"restarts"`         // how often the agent has seen it start again
}

// DataPlane is what the node's data plane, such as kube-proxy, says of itself.
type DataPlane struct {
	Answers bool   `json:"answers"` // something answers whether it is healthy
	Healthy bool   `json:"healthy"`
	Detail  string `json:"detail,omitempty"`  // why it is not known to be
	Waiting int    `json:"waiting,omitempty"` // addresses that this node does not announce before the data plane serves them
	Waived  uint64 `json:"waived,omitempty"`  // how many were announced though it was not seen to
}

// Probes is what a node's probes of addresses find.
type Probes struct {
	Passing int          `json:"passing"`
	Failing int          `json:"failing"`
	Unknown int          `json:"unknown,omitempty"` // they were neither answered, nor failed often enough
	Results ProbeResults `json:"results"`
}

// ProbeResults counts probes since the agent started.
type ProbeResults struct {
	Answered  uint64 `json:"answered"`
	Failed    uint64 `json:"failed"`
	Elsewhere uint64 `json:"elsewhere,omitempty"` // no connection was made, and all may have been led to other nodes
}

// Extras is the state of the operator's raw configuration.
type Extras struct {
	Pending bool      `json:"pending,omitempty"` // the FRR container has not tried it yet
	Applied bool      `json:"applied"`           // FRR runs all of it
	Error   string    `json:"error,omitempty"`   // why not, in FRR's words
	Remark  string    `json:"remark,omitempty"`  // lines of it that may not stay
	At      time.Time `json:"at,omitzero"`       // when it was tried last
}

// Confirm marks the announcements that were seen to be in force: routes that a peer was
// sent according to sentTo, and addresses that are confirmed in Layer2. It copies the
// Decisions that it changes.
func (r *Report) Confirm(sentTo func(netip.Prefix) []PeerID) {
	answered := map[netip.Addr]bool{}
	if r.Layer2 != nil {
		for _, a := range r.Layer2.Addresses {
			answered[a.Addr] = a.Confirmed
		}
	}
	names := make(map[PeerID]string, len(r.Peers))
	for _, p := range r.Peers {
		if p.Wanted {
			names[p.ID()] = p.Name
		}
	}
	r.Decisions = slices.Clone(r.Decisions)
	for i := range r.Decisions {
		d := &r.Decisions[i]
		switch {
		case !d.Announce:
		case d.Protocol == Layer2:
			d.Confirmed = answered[d.Addr]
		default:
			d.confirm(sentTo, names)
		}
	}
}

// confirm records which peers were sent the routes.
func (d *Decision) confirm(sentTo func(netip.Prefix) []PeerID, names map[PeerID]string) {
	d.Confirmed, d.Sent = len(d.Routes) > 0, nil
	for _, route := range d.Routes {
		peers := sentTo(route)
		d.Confirmed = d.Confirmed && len(peers) > 0
		for _, id := range peers {
			if name, ok := names[id]; ok && slices.Contains(d.Peers, name) {
				d.Sent = append(d.Sent, name)
			}
		}
	}
	slices.Sort(d.Sent)
	d.Sent = slices.Compact(d.Sent)
}

// Ready reports whether the process does its work.
func (r Report) Ready() bool {
	return r.Synced && (r.FRR == nil || r.FRR.Applied)
}
