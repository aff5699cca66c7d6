// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"testing/synctest"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/l2/members"
	"github.com/heraldlb/herald/l2/members/memberstest"
	"github.com/heraldlb/herald/status"
)

// gossipPort is where agents gossip.
const gossipPort = 7946

// Options say what is simulated.
type Options struct {
	Agents   int // required
	Services int // required
	Whole    int // required: agents that run as a whole; of the others gossip alone runs
	Edge     int // required: nodes that announce over BGP; a Service has one endpoint there, or anywhere
	Changes  int // required: endpoints that move, one after the other
	Groups   int // required: in how many steps all agents are restarted

	Settle time.Duration // required: until events and conditions have followed what was announced
	Idle   time.Duration // required: how long nothing happens

	Roster bool         // optional: agents know of each other at once, without gossip
	Logger *slog.Logger // required
}

// A simulated cluster is a controller and agents in one process.
type simulated struct {
	Options
	api     *API
	world   world
	network *memberstest.Network
	roster  *roster
	crowd   *crowd
	whole   map[int]*agent
	lives   []int // of each agent's pod
	moved   map[int]int
	owners  map[election]string // computed before
	stops   []func() error
}

// start runs everything.
func start(o Options) (*simulated, error) {
	s := &simulated{
		Options: o, api: NewAPI(), network: memberstest.New(), roster: newRoster(),
		whole: map[int]*agent{}, lives: make([]int, o.Agents), moved: map[int]int{}, owners: map[election]string{},
	}
	s.world = world{s.api, o.Agents, o.Edge}
	s.world.fill(o.Services)
	c, err := client(s.api, "crowd")
	if err != nil {
		return nil, err
	}
	crowd, tasks := newCrowd(c, o.Logger)
	s.crowd = crowd
	s.crowd.split(s.followers(everywhere))
	s.stops = append(s.stops, run(tasks...))
	stop, err := startController(s.api, o.Logger, silent{})
	if err != nil {
		return nil, err
	}
	s.stops = append(s.stops, stop)
	for i := range o.Agents {
		if err := s.begin(i); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// A part is the nodes that reach each other.
type part int

const (
	everywhere part = iota
	firstHalf
	secondHalf
)

// has reports whether node i of so many is in the part.
func (p part) has(nodes, i int) bool { return p == everywhere || (i < nodes/2) == (p == firstHalf) }

// names returns the nodes of the part, of so many, in order.
func (p part) names(nodes int) (out []string) {
	for i := range nodes {
		if p.has(nodes, i) {
			out = append(out, nodeName(i))
		}
	}
	return out
}

// An election is of a Service, among the nodes of a part.
type election struct {
	service int
	among   part
}

// silent ignores reports.
type silent struct{}

func (silent) Set(status.Report) {}

// isWhole reports whether the agent of node i runs as a whole: some at the edge, and some
// elsewhere.
func (s *simulated) isWhole(i int) bool {
	atEdge := min(s.Edge, (s.Whole+1)/2)
	elsewhere := s.Whole - atEdge
	if i < s.Edge {
		return i < atEdge
	}
	// Spread over the rest.
	rest := s.Agents - s.Edge
	return elsewhere > 0 && (i-s.Edge)*elsewhere/rest != (i-s.Edge+1)*elsewhere/rest
}

// followers returns those that are in a part.
func (s *simulated) followers(of part) (out []int) {
	for i := range s.Agents {
		if !s.isWhole(i) && of.has(s.Agents, i) {
			out = append(out, i)
		}
	}
	return out
}

// begin starts the agent of node i.
func (s *simulated) begin(i int) error {
	join := func(changed func()) (Members, []task) { return s.join(i, changed) }
	if !s.isWhole(i) {
		s.crowd.set(i, newFollower(i, join, s.crowd.poke.Set))
		return nil
	}
	a, err := startAgent(s.api, i, s.lives[i], s.Logger, join)
	s.whole[i] = a
	return err
}

// join returns what node i knows of others.
func (s *simulated) join(i int, changed func()) (Members, []task) {
	if s.Roster {
		return s.roster.join(nodeName(i), changed), nil
	}
	begun := time.Now()
	at := netip.AddrPortFrom(nodeAddr(i), gossipPort)
	l := members.New(members.Options{
		Node: nodeName(i), Bind: at, Keys: [][]byte{members.Key("secret")}, Changed: changed, Logger: slog.New(slog.DiscardHandler),
		Transport: s.network.Connect(at),
		Clock:     func() (time.Duration, error) { return time.Since(begun) + time.Minute, nil },
	})
	all := make([]members.Node, s.Agents)
	for k := range all {
		all[k] = members.Node{Name: nodeName(k), Addrs: []netip.Addr{nodeAddr(k)}}
	}
	l.SetNodes(all)
	return l, []task{l.Run}
}

// end stops everything.
func (s *simulated) end() error {
	var errs []error
	for _, a := range s.whole {
		errs = append(errs, a.stop())
	}
	for _, f := range s.crowd.all {
		errs = append(errs, f.stop())
	}
	for _, stop := range slices.Backward(s.stops) {
		errs = append(errs, stop())
	}
	return errors.Join(errs...)
}

// restart stops some agents as a DaemonSet does, and starts them again with other pods.
func (s *simulated) restart(group []int) error {
	errs := make(chan error, len(group))
	for _, i := range group {
		go func() {
			if a := s.whole[i]; a != nil {
				errs <- a.leave()
				return
			}
			s.crowd.mu.Lock()
			f := s.crowd.all[i]
			s.crowd.mu.Unlock()
			s.crowd.set(i, nil)
			errs <- f.leave()
		}()
	}
	var all []error
	for range group {
		all = append(all, <-errs)
	}
	for _, i := range group {
		if s.Roster {
			s.roster.set(nodeName(i), nil)
		}
		s.api.Delete("pods", namespace, podName(i, s.lives[i]))
		s.lives[i]++
		s.api.Put("pods", podObject(i, s.lives[i]))
	}
	for _, i := range group {
		all = append(all, s.begin(i))
	}
	return errors.Join(all...)
}

// move moves the endpoint of a Service to another node.
func (s *simulated) move(i int) {
	s.moved[i]++
	s.world.place(i, s.moved[i])
}

// A cause says what is not as it should be; empty: everything is.
type cause = string

// await waits until nothing is wrong, and returns how long that took.
func (s *simulated) await(what string, limit time.Duration, wrong func() cause) (time.Duration, error) {
	begun := time.Now()
	for {
		synctest.Wait()
		why := wrong()
		took := time.Since(begun)
		if why == "" {
			return took, nil
		}
		if took > limit {
			return took, fmt.Errorf("%s: not so after %s: %s", what, limit, why)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// members returns what each agent knows of others, by node.
func (s *simulated) members() map[int]Members {
	out := map[int]Members{}
	for i, a := range s.whole {
		out[i] = a.layer2.members
	}
	s.crowd.mu.Lock()
	defer s.crowd.mu.Unlock()
	for i, f := range s.crowd.all {
		out[i] = f.members
	}
	return out
}

// known returns the first agent that does not know exactly these nodes to be alive.
func (s *simulated) known(of part) cause {
	want, side := of.names(s.Agents), func(i int) bool { return of.has(s.Agents, i) }
	for i, m := range s.members() {
		if !side(i) {
			continue
		}
		v := m.View()
		if v.Stale || !slices.EqualFunc(v.Members, want, func(m members.Member, name string) bool { return m.Name == name && len(m.Interfaces) > 0 && !m.Leaving }) {
			return fmt.Sprintf("%s knows %d of %d nodes, stale %t", nodeName(i), len(v.Members), len(want), v.Stale)
		}
	}
	return ""
}

// owned returns the first address on layer 2 that has not exactly one owner on a side, or
// that some agent believes to have others.
func (s *simulated) owned(of part) cause {
	side := func(i int) bool { return of.has(s.Agents, i) }
	holders := map[netip.Addr][]string{}
	hold := func(i int, addrs []netip.Addr) {
		for _, a := range addrs {
			holders[a] = append(holders[a], nodeName(i))
		}
	}
	for i, a := range s.whole {
		if side(i) {
			hold(i, a.layer2.holds())
		}
	}
	s.crowd.mu.Lock()
	for i, f := range s.crowd.all {
		if side(i) {
			hold(i, f.holds())
		}
	}
	s.crowd.mu.Unlock()
	for i := range s.Services {
		if routed(i) {
			continue
		}
		a, owner := serviceAddr(i), s.owner(i, of)
		if got := holders[a]; owner == "" && len(got) > 0 || owner != "" && !slices.Equal(got, []string{owner}) {
			return fmt.Sprintf("%s belongs to %q, and %v answer", a, owner, got)
		}
	}
	all := s.members()
	for _, i := range s.sample() {
		if !side(i) {
			continue
		}
		for _, m := range all[i].View().Members {
			if k := slices.IndexFunc(m.Held, func(a netip.Addr) bool { return s.owner(serviceOf(a), of) != m.Name }); k >= 0 {
				return fmt.Sprintf("%s believes that %s answers for %s", nodeName(i), m.Name, m.Held[k])
			}
		}
	}
	return ""
}

// owner returns the node that has to answer for a Service on layer 2, of those of a part;
// empty if none has to.
func (s *simulated) owner(i int, of part) string {
	if !elected(i) {
		if at := s.world.home(i, s.moved[i]); of.has(s.Agents, at) {
			return nodeName(at)
		}
		return ""
	}
	key := election{i, of}
	if s.owners[key] == "" {
		s.owners[key] = announce.Owner(serviceAddr(i).String(), of.names(s.Agents))
	}
	return s.owners[key]
}

// serviceOf returns the Service that has an address on layer 2.
func serviceOf(a netip.Addr) int {
	b := a.As4()
	return int(b[1]-48)<<16 | int(b[2])<<8 | int(b[3])
}

// sample returns agents that are looked at in place of all.
func (s *simulated) sample() (out []int) {
	for i := range s.Agents {
		if s.isWhole(i) || i%(1+s.Agents/20) == 0 {
			out = append(out, i)
		}
	}
	return out
}

// reported returns the first whole agent whose status objects do not say what it announces.
func (s *simulated) reported() cause {
	have := map[string]map[string]int{}
	for _, plural := range []string{l2Statuses, bgpStatuses} {
		s.api.Each(plural, func(o map[string]any) {
			says, _ := o["status"].(map[string]any)
			name := cmp.Or(text(says["node"]), "none")
			if have[name] == nil {
				have[name] = map[string]int{}
			}
			have[name][plural]++
		})
	}
	for i, a := range s.whole {
		got := have[nodeName(i)]
		if l2, bgp := len(a.layer2.holds()), a.frr.announces(); got[l2Statuses] != l2 || got[bgpStatuses] != bgp {
			return fmt.Sprintf("%s announces %d addresses on layer 2 and %d over BGP, and has %v", nodeName(i), l2, bgp, got)
		}
		delete(have, nodeName(i))
	}
	for name, of := range have {
		return fmt.Sprintf("there are %v of %s", of, name)
	}
	return ""
}

// routedTo returns the first whole agent at the edge that does not announce exactly the
// Services which have an endpoint there.
func (s *simulated) routedTo() cause {
	want := map[int]int{}
	for i := range s.Services {
		if routed(i) {
			want[s.world.home(i, s.moved[i])]++
		}
	}
	for i, a := range s.whole {
		if got := a.frr.announces(); got != want[i] {
			return fmt.Sprintf("%s announces %d routes of %d", nodeName(i), got, want[i])
		}
	}
	return ""
}

// right returns what is wrong while all agents run.
func (s *simulated) right() cause {
	return cmp.Or(s.known(everywhere), s.owned(everywhere), s.routedTo(), s.reported())
}
