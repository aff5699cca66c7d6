// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"slices"
	"time"
)

// An Effect is something that a step may cost.
type Effect string

// The effects.
const (
	Loss      Effect = "loss"     // requests to a Service are lost
	NoOwner   Effect = "no-owner" // no node answers for an address on layer 2
	Owners    Effect = "owners"   // more than one does
	NoRoute   Effect = "no-route" // r1 has no route to an address
	Readdress Effect = "address"  // a Service's address changes
)

// A Cost is what a kind of step may cost, and for how long.
type Cost struct {
	Effects  []Effect
	Services func(World, Step) []string // nil means all
	Lasts    bool                       // from the start to the end, and After that
	Lingers  bool                       // from the start until the next quiet step: others have to learn of it first
	Start    time.Duration              // after the start
	After    time.Duration              // after the end
}

// An Excuse is what a step may cost, in real time.
type Excuse struct {
	Step     int       `json:"step"` // from 1
	Effects  []Effect  `json:"effects"`
	Services []string  `json:"services"` // nil means all
	From     time.Time `json:"from"`
	To       time.Time `json:"to"` // zero: it is not over yet
}

// covers reports whether an effect on a Service is excused in some moment.
func (e Excuse) covers(effect Effect, service string) bool {
	return slices.Contains(e.Effects, effect) && (e.Services == nil || slices.Contains(e.Services, service))
}

// ofLayer2 are the Services that layer 2 announces, or may just have announced.
func ofLayer2(w World, _ Step) []string { return slices.Concat(w.In(poolLAN), w.In(poolSwitched)) }

// ofSpare are the Services of the pool spare.
func ofSpare(w World, _ Step) []string { return w.In(poolSpare) }

// via are r1's routes to stable Services by way of the step's node. They have names of
// their own: "routed-a via n1".
func via(_ World, s Step) []string {
	var names []string
	for _, name := range routedServices() {
		names = append(names, name+" via "+s.Node)
	}
	return names
}

// viaBGP is via for a step that is about one of FRR's daemons: the others have no
// sessions.
func viaBGP(w World, s Step) []string {
	if s.Target != "bgpd" {
		return []string{}
	}
	return via(w, s)
}

// target is the Service that the step is about.
func target(_ World, s Step) []string { return []string{s.Target} }

// Failing over on layer 2 takes an agent's death up to a second to be noticed and agreed
// on; a link that comes back takes as long to be learned.
const (
	failover = 3 * time.Second
	handover = 2 * time.Second

	// holdTime is how long a router sends to a node that it does not hear any more.
	holdTime = 10 * time.Second
)

// An agent that ends without a word leaves its addresses unanswered until the others
// notice, and none over BGP. One that comes back takes its addresses over.
var agentGone = []Cost{{Effects: []Effect{Loss, NoOwner, Owners}, Services: ofLayer2, Start: failover, After: handover}}

// An agent that is asked to end, or to hand over, loses nothing.
var handsOver = Cost{Effects: []Effect{Owners}, Services: ofLayer2, Start: handover, After: handover}

// A node that is none any more withdraws everything at once, and another is elected.
var nodeGone = Cost{Effects: []Effect{Loss, NoOwner, Owners}, Services: ofLayer2, Start: failover, After: failover}

// A node whose FRR starts again, or that nobody reaches, is no next hop until its
// sessions are established again.
var leavesRouter = Cost{Effects: []Effect{NoRoute}, Services: via, Lingers: true}

// costs has the kinds of steps that may cost something. Others, such as those that
// controllers and the API server suffer, cost nothing.
var costs = map[Kind][]Cost{
	ServiceCreate: {{Effects: []Effect{Readdress}, Services: target, Lingers: true}},
	ServiceDelete: {{Effects: []Effect{Readdress}, Services: target, Lingers: true}},
	PoolEdit:      {{Effects: []Effect{Readdress}, Services: ofSpare, Lingers: true}},
	PoolDelete:    {{Effects: []Effect{Readdress}, Services: ofSpare, Lingers: true}},
	AgentKill:     agentGone,
	AgentFreeze:   agentGone,
	AgentStop:     {handsOver},
	Drain:         {handsOver, leavesRouter},
	FRRKill:       {leavesRouter},
	FRRStop:       {leavesRouter},
	DaemonKill:    {{Effects: []Effect{NoRoute}, Services: viaBGP, Lingers: true}},
	DaemonFreeze:  {{Effects: []Effect{NoRoute}, Services: viaBGP, Lingers: true}},
	VersionChange: {handsOver, leavesRouter},
	NodeDelete:    {nodeGone, leavesRouter},
	NodeCutOff:    {nodeGone, leavesRouter},
	// A third of the backends cannot be reached either, and Kubernetes does not know.
	CableCut: {
		{Effects: []Effect{Loss}, Lasts: true, After: holdTime},
		{Effects: []Effect{NoOwner, Owners}, Start: failover, After: failover},
		leavesRouter,
	},
	// Each side has an owner until it hears the other.
	GossipCut: {
		{Effects: []Effect{Owners}, Lasts: true, After: failover},
		{Effects: []Effect{Loss, NoOwner}, Services: ofLayer2, Start: failover, After: failover},
	},
}

// byAPI are the kinds of steps whose effect comes when agents hear of it from the API
// server.
var byAPI = []Kind{Drain, NodeDelete, NodeCutOff, PoolSwitch}

// delaying are the kinds of steps that delay that.
var delaying = []Kind{APISlow, APIStall, APIGone, APIRestart, AgentFreeze, AgentKill, AgentStop, VersionChange, ControlFreeze, ControlKill, ControlStop}

// A Done is a step that was carried out.
type Done struct {
	Number int       `json:"number"` // from 1
	Step   Step      `json:"step"`
	World  World     `json:"-"` // after it
	Start  time.Time `json:"start"`
	End    time.Time `json:"end"` // when it was undone; zero: not yet
	Error  string    `json:"error,omitempty"`
}

// end returns when a step was over, at the latest at the given time.
func (d Done) end(now time.Time) time.Time {
	if d.End.IsZero() {
		return now
	}
	return d.End
}

// Excuses returns what steps that were carried out may have cost up to now. Times are
// multiplied by scale.
func Excuses(steps []Done, scale float64, now time.Time) []Excuse {
	var all []Excuse
	for _, d := range steps {
		start, end := d.Start, d.end(now)
		late := heard(d, steps, now)
		for _, c := range costs[d.Step.Kind] {
			var services []string
			if c.Services != nil {
				services = c.Services(d.World, d.Step)
			}
			add := func(from, to time.Time, after time.Duration) {
				all = append(all, Excuse{d.Number, c.Effects, services, from, to.Add(times(after, scale))})
			}
			switch {
			case c.Lingers:
				add(start, now, 0)
			case c.Lasts || late.After(end):
				add(start, late, max(c.Start, c.After))
			default:
				add(start, start, c.Start)
				add(end, end, c.After)
			}
		}
	}
	return all
}

// heard returns when the last agent knew of a step and of its end: when the steps that
// delay it were over too.
func heard(d Done, steps []Done, now time.Time) time.Time {
	end := d.end(now)
	if !slices.Contains(byAPI, d.Step.Kind) {
		return end
	}
	for range steps { // one delay may lead into another
		before := end
		for _, o := range steps {
			if slices.Contains(delaying, o.Step.Kind) && o.Start.Before(end) && o.end(now).After(end) {
				end = o.end(now)
			}
		}
		if end.Equal(before) {
			break
		}
	}
	return end
}

func times(d time.Duration, scale float64) time.Duration { return time.Duration(float64(d) * scale) }
