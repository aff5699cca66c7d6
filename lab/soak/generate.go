// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// A kind says how steps of a Kind are drawn.
type kind struct {
	weight   int      // how often, beside the others'
	node     bool     // it is about a node
	targets  []string // it is about one of these
	min, max Millis   // how long it lasts; 0: it is done at once
}

// kinds has all of them but Quiet, which comes in its turn.
var kinds = map[Kind]kind{
	Quiet:         {},
	ServiceCreate: {weight: 8, targets: ChurnServices},
	ServiceDelete: {weight: 4, targets: ChurnServices},
	Endpoints:     {weight: 6, targets: ChurnServices},
	PoolEdit:      {weight: 2},
	PoolDelete:    {weight: 1},
	PoolSwitch:    {weight: 4},
	AdvertEdit:    {weight: 2},
	PeerCut:       {weight: 2, targets: []string{"ibgp", "ebgp", "guarded"}, min: 1000, max: 4000},
	BadResource:   {weight: 2, min: 1000, max: 4000},
	HugeService:   {weight: 2, min: 1000, max: 4000},
	NodeDelete:    {weight: 2, node: true, min: 500, max: 4000},
	NodeCutOff:    {weight: 2, node: true, min: 500, max: 4000},
	Drain:         {weight: 3, node: true, min: 2000, max: 8000},
	AgentKill:     {weight: 4, node: true, min: 0, max: 4000},
	AgentStop:     {weight: 4, node: true, min: 0, max: 3000},
	AgentFreeze:   {weight: 4, node: true, min: 300, max: 5000},
	ControlKill:   {weight: 3, targets: controllers, min: 0, max: 4000},
	ControlStop:   {weight: 2, targets: controllers, min: 0, max: 4000},
	ControlFreeze: {weight: 3, targets: controllers, min: 500, max: 8000},
	DaemonKill:    {weight: 5, node: true, targets: daemons},
	DaemonFreeze:  {weight: 4, node: true, targets: daemons, min: 500, max: 12000},
	FRRKill:       {weight: 2, node: true, min: 0, max: 2000},
	FRRStop:       {weight: 2, node: true, min: 0, max: 2000},
	VersionChange: {weight: 2, node: true},
	APISlow:       {weight: 3, min: 2000, max: 8000},
	APIStall:      {weight: 2, min: 2000, max: 8000},
	APIGone:       {weight: 3, min: 1000, max: 8000},
	APIRestart:    {weight: 1},
	DiskFull:      {weight: 2, node: true, min: 1000, max: 6000},
	CableCut:      {weight: 2, node: true, min: 500, max: 6000},
	GossipCut:     {weight: 3, node: true, min: 1000, max: 6000},
	ConflictFlood: {weight: 3, targets: []string{"lan-a", "lan-b"}, min: 1000, max: 3000},
	GossipFlood:   {weight: 3, node: true, min: 1000, max: 3000},
	ReaderFlood:   {weight: 2, node: true, min: 1000, max: 4000},
}

// controllers and daemons are what steps may be about.
var (
	controllers = []string{"controller-0", "controller-1"}
	daemons     = []string{"bgpd", "zebra", "bfdd", "staticd", "mgmtd"}
)

const (
	// quietEvery is how many steps come between two quiet ones.
	quietEvery = 12

	// minGap and maxGap bound the time from one step to the next.
	minGap, maxGap Millis = 200, 3000
)

// Generate draws n steps. The same seed and number give the same steps, and a smaller
// number a beginning of them, but for the quiet step at the end.
func Generate(seed uint64, n int) Plan {
	p := Plan{Seed: seed}
	r := rand.New(rand.NewPCG(seed, 0))
	for len(p.Steps) < n-1 {
		if len(p.Steps)%quietEvery == quietEvery-1 {
			p.Steps = append(p.Steps, Step{Kind: Quiet})
			continue
		}
		p.Steps = append(p.Steps, draw(r))
	}
	if n > 0 {
		p.Steps = append(p.Steps, Step{Kind: Quiet})
	}
	return p
}

// draw draws one step. It draws the same number of times for each kind, so that a kind
// that comes to be drawn otherwise changes no other step.
func draw(r *rand.Rand) Step {
	s := Step{Kind: drawKind(r)}
	k := kinds[s.Kind]
	node, target, pool := r.IntN(len(NodeNames)), r.IntN(1<<16), r.IntN(4)
	local, nodes, number := r.IntN(4) == 0, r.IntN(1<<len(NodeNames)), 1+r.IntN(7)
	hold, gap := r.Float64(), r.Float64()
	if k.node {
		s.Node = NodeNames[node]
	}
	if k.targets != nil {
		s.Target = k.targets[target%len(k.targets)]
	}
	switch s.Kind {
	case ServiceCreate:
		s.Pool, s.Local = []string{poolLAN, poolRouted, poolSwitched, poolSpare}[pool], local
		s.Nodes = subset(nodes)
	case Endpoints:
		s.Nodes = subset(nodes)
	case PoolEdit, AdvertEdit, APISlow, BadResource:
		s.Number = number
	}
	// Short times are as frequent as long ones: faults meet in different ways.
	if k.max > 0 {
		s.Hold = k.min + Millis(hold*hold*float64(k.max-k.min))
	}
	s.Gap = minGap + Millis(gap*gap*float64(maxGap-minGap))
	return s
}

// drawKind draws a kind by weight.
func drawKind(r *rand.Rand) Kind {
	names := slices.Sorted(maps.Keys(kinds))
	total := 0
	for _, name := range names {
		total += kinds[name].weight
	}
	n := r.IntN(total)
	for _, name := range names {
		if n -= kinds[name].weight; n < 0 {
			return name
		}
	}
	panic("unreachable: weights add up to their sum")
}

// subset returns the nodes whose bits are set.
func subset(bits int) []string {
	var nodes []string
	for i, n := range NodeNames {
		if bits&(1<<i) != 0 {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// Kinds returns all kinds of steps, in order.
func Kinds() []Kind { return slices.Sorted(maps.Keys(kinds)) }
