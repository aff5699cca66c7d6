// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// A Kind is what a Step does.
type Kind string

// The kinds of steps. Those with a Hold undo what they did when it is over.
const (
	ServiceCreate Kind = "service-create" // or change: pool, policy and endpoints are as the step says
	ServiceDelete Kind = "service-delete" //
	Endpoints     Kind = "endpoints"      // a Service's endpoints are on Nodes
	PoolEdit      Kind = "pool-edit"      // the range of the pool spare
	PoolDelete    Kind = "pool-delete"    // the pool spare; the next pool-edit makes it again
	PoolSwitch    Kind = "pool-switch"    // the pool switch changes between layer 2 and BGP
	AdvertEdit    Kind = "advert-edit"    // other communities for the routes of the pool routed
	PeerCut       Kind = "peer-cut"       // the BGPPeer Target is deleted for a while
	BadResource   Kind = "bad-resource"   // a resource that is refused, for a while
	HugeService   Kind = "huge-service"   // a Service with a very long annotation, for a while
	NodeDelete    Kind = "node-delete"    // the Node object is gone for a while
	NodeCutOff    Kind = "node-cut-off"   // the Node's condition NetworkUnavailable is true for a while
	Drain         Kind = "drain"          // the Node drains for a while
	AgentKill     Kind = "agent-kill"     // SIGKILL, started after a while
	AgentStop     Kind = "agent-stop"     // SIGTERM, likewise
	AgentFreeze   Kind = "agent-freeze"   // SIGSTOP for a while
	ControlKill   Kind = "control-kill"   // the controller Target, likewise
	ControlStop   Kind = "control-stop"   //
	ControlFreeze Kind = "control-freeze" //
	DaemonKill    Kind = "daemon-kill"    // the FRR daemon Target; herald-frr starts it again
	DaemonFreeze  Kind = "daemon-freeze"  // the FRR daemon Target is stopped for a while
	FRRKill       Kind = "frr-kill"       // herald-frr with all of FRR, as the OOM killer does
	FRRStop       Kind = "frr-stop"       // herald-frr with all of FRR, by SIGTERM
	VersionChange Kind = "version-change" // another pod with the other version of FRR
	APISlow       Kind = "api-slow"       // the API server's answers are late
	APIStall      Kind = "api-stall"      // its open connections carry nothing more
	APIGone       Kind = "api-gone"       // nobody reaches it
	APIRestart    Kind = "api-restart"    // it is killed and started again
	DiskFull      Kind = "disk-full"      // the folder that agent and FRR share has no room
	CableCut      Kind = "cable-cut"      // the node's cable is pulled
	GossipCut     Kind = "gossip-cut"     // the node's port 7946 hears nothing
	ConflictFlood Kind = "conflict-flood" // forged ARP claims for a Service's address, sent to nodes alone
	GossipFlood   Kind = "gossip-flood"   // junk for port 7946
	ReaderFlood   Kind = "reader-flood"   // many slow readers of /status
	Quiet         Kind = "quiet"          // wait until all is well, and look closely
)

// Millis is a time in milliseconds.
type Millis int

// Duration returns the time.
func (m Millis) Duration() time.Duration { return time.Duration(m) * time.Millisecond }

// A Step is one thing that happens, as data.
type Step struct {
	Kind   Kind     `json:"kind"`
	Node   string   `json:"node,omitempty"`
	Target string   `json:"target,omitempty"` // a Service, a peer, a controller or a daemon
	Pool   string   `json:"pool,omitempty"`   // of a Service
	Local  bool     `json:"local,omitempty"`  // a Service's externalTrafficPolicy
	Nodes  []string `json:"nodes,omitempty"`  // where a Service has endpoints
	Number int      `json:"number,omitempty"` // which of several variants
	Hold   Millis   `json:"hold,omitempty"`   // how long it lasts
	Gap    Millis   `json:"gap,omitempty"`    // from its start until the next step starts
}

// String says in a line what the step does.
func (s Step) String() string {
	b := new(strings.Builder)
	b.WriteString(string(s.Kind))
	for _, part := range []string{s.Node, s.Target} {
		if part != "" {
			b.WriteString(" " + part)
		}
	}
	if s.Pool != "" {
		b.WriteString(" pool=" + s.Pool)
	}
	if s.Local {
		b.WriteString(" local")
	}
	if s.Kind == ServiceCreate || s.Kind == Endpoints {
		b.WriteString(" nodes=" + strings.Join(s.Nodes, ","))
	}
	if s.Number != 0 {
		fmt.Fprintf(b, " number=%d", s.Number)
	}
	if s.Hold != 0 {
		fmt.Fprintf(b, " hold=%v", s.Hold.Duration())
	}
	if s.Gap != 0 {
		fmt.Fprintf(b, " gap=%v", s.Gap.Duration())
	}
	return b.String()
}

// A Plan is a list of steps, and the seed that it was drawn from.
type Plan struct {
	Seed  uint64 `json:"seed"`
	Steps []Step `json:"steps"`
}

// Write writes the plan, a step a line, for [ReadPlan].
func (p Plan) Write(w io.Writer) error {
	b := new(strings.Builder)
	fmt.Fprintf(b, "{\"seed\": %d, \"steps\": [\n", p.Seed)
	for i, s := range p.Steps {
		line, err := json.Marshal(s)
		if err != nil {
			return fmt.Errorf("write plan: step %d: %w", i+1, err)
		}
		b.Write(line)
		if i < len(p.Steps)-1 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
	}
	b.WriteString("]}\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// ReadPlan reads a plan that [Plan.Write] wrote, and refuses steps that mean nothing.
func ReadPlan(r io.Reader) (p Plan, err error) {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return p, fmt.Errorf("read plan: %w", err)
	}
	for i, s := range p.Steps {
		if err := s.valid(); err != nil {
			return p, fmt.Errorf("read plan: step %d: %w", i+1, err)
		}
	}
	return p, nil
}

// valid refuses a step that no lab can carry out.
func (s Step) valid() error {
	k, ok := kinds[s.Kind]
	switch {
	case !ok:
		return fmt.Errorf("unknown kind %q", s.Kind)
	case k.node && !slices.Contains(NodeNames, s.Node):
		return fmt.Errorf("%s: no node %q", s.Kind, s.Node)
	case k.targets != nil && !slices.Contains(k.targets, s.Target):
		return fmt.Errorf("%s: no target %q", s.Kind, s.Target)
	case s.Hold < 0 || s.Gap < 0 || s.Hold > maxHold || s.Gap > maxHold:
		return fmt.Errorf("%s: a time that is not between 0 and %v", s.Kind, maxHold.Duration())
	}
	for _, n := range s.Nodes {
		if !slices.Contains(NodeNames, n) {
			return fmt.Errorf("%s: no node %q", s.Kind, n)
		}
	}
	return nil
}

// maxHold bounds how long a step may last.
const maxHold Millis = 60_000
