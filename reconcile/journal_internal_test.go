// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/condition"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/table"
)

// decided returns decisions by Service: "a=Announced b=NoEndpoints,Announced", of which each
// word is about another address.
func decided(t *testing.T, text string) announce.Decisions {
	t.Helper()
	var all []status.Decision
	for _, part := range strings.Fields(text) {
		name, words, _ := strings.Cut(part, "=")
		for i, word := range strings.Split(words, ",") {
			all = append(all, status.Decision{
				Service: "ns/" + name, Addr: netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), Protocol: status.BGP,
				Reason: status.Reason(word), Announce: word == string(status.Announced) || word == string(status.Switching), Detail: "of " + word,
			})
		}
	}
	return announce.TableDecisions(all)
}

// Each decision has the time of the pass in which it came to be as it is, and only passes that
// change it move that. Details do not count.
func TestTenure(t *testing.T) {
	at := func(second int) time.Time { return time.Unix(int64(second), 0) }
	var m tenureMemory
	var was announce.Decisions
	for i, step := range []struct{ decisions, want string }{
		{"a=Announced b=NoEndpoints,Announced", "0 0 0"},
		{"a=Announced b=NoEndpoints,Announced", "0 0 0"},
		{"a=Announced b=Announced,Announced", "0 2 0"},
		{"a=Switching b=Announced,Announced", "3 2 0"},
		{"a=Switching b=Announced", "3 2"},
		{"a=Switching b=Announced,NoPeers c=Announced", "3 2 5 5"},
		{"b=Announced,NoPeers", "2 5"},
		{"a=Switching b=Announced,NoPeers", "7 2 5"},
	} {
		is := decided(t, step.decisions)
		var got []string
		for _, d := range listSince(is, m.next(was, is, at(i))) {
			got = append(got, fmt.Sprint(d.Since.Unix()))
		}
		if text := strings.Join(got, " "); text != step.want {
			t.Errorf("step %d, %s: since %s, want %s", i, step.decisions, text, step.want)
		}
		was = is
	}
	fresh := m.next(was, decided(t, "x=Announced y=Announced,NoPeers z=NoPeers"), at(9))
	x, _ := fresh.Get(cluster.Key{Namespace: "ns", Name: "x"})
	z, _ := fresh.Get(cluster.Key{Namespace: "ns", Name: "z"})
	if x != z {
		t.Error("decisions of one pass have a time each: ten thousand would take memory")
	}
}

// told returns the changes as lines, the newest last.
func told(j *status.Journal) (out []string) {
	for _, c := range j.List() {
		after := ""
		if c.Lasted > 0 {
			after = fmt.Sprintf(" after %v", c.Lasted)
		}
		out = append([]string{fmt.Sprintf("%s %s: %s -> %s%s (%s)", c.Kind, c.Subject, c.Before, c.After, after, c.Cause)}, out...)
	}
	return out
}

func TestNoteDecisions(t *testing.T) {
	s := cluster.Tables{Services: table.Of(func(yield func(cluster.Key, *cluster.Service) bool) {
		key := cluster.Key{Namespace: "ns", Name: "b"}
		yield(key, &cluster.Service{Key: key, LoadBalancer: true})
	})}
	j := &status.Journal{}
	a := &Agent{opts: AgentOptions{Journal: j}}
	for i, text := range []string{
		"a=Announced b=NoEndpoints,Announced", // the agent starts: that is no change
		"a=Switching b=Announced",
		"c=NoPeers",
	} {
		is, now := decided(t, text), time.Unix(int64(10*i), 0)
		a.noteDecisions(s, is, now)
		a.tenures.next(a.decisions, is, now)
		a.decisions, a.passed = is, true
	}
	want := []string{
		"announcement ns/a 192.0.2.0 bgp: Announced -> Announced, Switching after 10 (of Switching)",
		"announcement ns/b 192.0.2.0 bgp: NoEndpoints -> Announced after 10 (of Announced)",
		"announcement ns/b 192.0.2.1 bgp: Announced ->  after 10 (the Service does not have the address any more)",
		"announcement ns/a 192.0.2.0 bgp: Announced, Switching ->  after 10 (the Service was deleted)",
		"announcement ns/b 192.0.2.0 bgp: Announced ->  after 10 (the Service does not have the address any more)",
		"announcement ns/c 192.0.2.0 bgp:  -> NoPeers (of NoPeers)",
	}
	if diff := cmp.Diff(want, told(j)); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

// What ten thousand Services follow from is not lost behind them.
func TestNoteManyDecisions(t *testing.T) {
	of := func(word string) announce.Decisions {
		var text strings.Builder
		for i := range 10_000 {
			fmt.Fprintf(&text, "s%05d=%s ", i, word)
		}
		return decided(t, text.String())
	}
	j := &status.Journal{}
	j.Add(status.Change{Kind: status.ChangeSession, Subject: "tor-a", Before: "Established", After: "Active"})
	a := &Agent{opts: AgentOptions{Journal: j}, passed: true, decisions: of("Announced")}
	a.noteDecisions(cluster.Tables{}, of("NodeDraining"), time.Now())
	all := told(j)
	if len(all) != 34 || !strings.HasPrefix(all[0], "session tor-a") {
		t.Errorf("%d changes, from %s", len(all), all[0])
	}
	if last, want := all[len(all)-1], "announcement 9968 more: Announced -> NodeDraining (changed at the same time)"; last != want {
		t.Errorf("the last is %q, want %q", last, want)
	}
}

func TestNoteMembers(t *testing.T) {
	j := &status.Journal{}
	a := &Agent{opts: AgentOptions{Journal: j}}
	n1, n2, n3 := announce.Member{Node: "n1"}, announce.Member{Node: "n2"}, announce.Member{Node: "n3"}
	leaving := announce.Member{Node: "n3", Leaving: true}
	held := announce.Member{Node: "n2", Held: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}
	for _, m := range []announce.Membership{
		{Stale: true},
		{Members: []announce.Member{n1, n2}},
		{Members: []announce.Member{n1, held, n3}},
		{Members: []announce.Member{n1, n3}},
		{Stale: true, Members: []announce.Member{n1}},
		{Members: []announce.Member{n1, n2, leaving}},
		{Members: []announce.Member{n1, n2}},
	} {
		a.noteMembers(m, time.Now())
	}
	want := []string{
		"member n3:  -> alive ()",
		"member n2: alive ->  (nothing is heard of its agent)",
		"member n2:  -> alive ()",
		"member n3: alive -> leaving ()",
		"member n3: leaving ->  (its agent has stopped)",
	}
	if diff := cmp.Diff(want, told(j)); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

// The leading controller knows of the sessions of all nodes by what agents write.
func TestFleetJournal(t *testing.T) {
	at := func(second int) time.Time { return time.Unix(int64(second), 0) }
	state := func(node, failure string, sessions ...cluster.SessionState) AgentState {
		return AgentState{Node: node, State: State{Failure: failure, Sessions: sessions}}
	}
	up := func(peer string, since int) cluster.SessionState {
		return cluster.SessionState{Peer: peer, Up: true, Since: at(since)}
	}
	down := func(peer string, since int, reason, message string) cluster.SessionState {
		return cluster.SessionState{Peer: peer, Since: at(since), Reason: status.Reason(reason), Message: message}
	}
	same := []AgentState{state("n1", "", up("tor-a", 5), up("tor-b", 5)), state("n3", "", up("tor-a", 5))}
	j := &status.Journal{}
	var f fleetJournal
	for i, states := range [][]AgentState{
		{},
		same, same,
		{state("n1", "", down("tor-a", 25, "HoldTimerExpired", "hold timer"), up("tor-b", 5)), state("n2", "x", down("tor-a", 1, "NoAnswer", "")), state("n3", "FRR does not answer: bgpd", up("tor-a", 5))},
		{state("n1", "", down("tor-a", 25, "NoAnswer", "no answer"), up("tor-b", 5), up("tor-c", 40)), state("n3", "", up("tor-a", 5))},
		{state("n1", "", up("tor-a", 55), up("tor-b", 5))},
	} {
		f.next(j, states, at(1000*i))
	}
	want := []string{
		"session n1 tor-a: Established -> HoldTimerExpired after 20 (hold timer)",
		"frr n3 configuration: applied -> not applied (FRR does not answer: bgpd)",
		"session n1 tor-a: HoldTimerExpired -> NoAnswer (no answer)",
		"frr n3 configuration: not applied -> applied ()",
		"session n1 tor-a: NoAnswer -> Established after 30 ()",
	}
	if diff := cmp.Diff(want, told(j)); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

// A controller, whether it leads or follows, knows what becomes of Services.
func TestServiceJournal(t *testing.T) {
	service := func(name string, ingress []string, conditions ...cluster.Condition) *cluster.Service {
		return &cluster.Service{Key: cluster.Key{Namespace: "ns", Name: name}, LoadBalancer: true, Ingress: ingress, Conditions: conditions}
	}
	other := service("other", []string{"198.51.100.1"})
	other.Class = "example.com/other"
	assigned := cluster.Condition{Type: assign.ConditionAddressAssigned, True: true, Reason: assign.ReasonAssigned, Message: "192.0.2.1 from pool web"}
	full := cluster.Condition{Type: assign.ConditionAddressAssigned, Reason: "PoolExhausted", Message: "pool web is full"}
	silent := cluster.Condition{Type: condition.TypeAnnounced, Reason: "NoEndpoints", Message: "no endpoint is ready"}
	addr := []string{"192.0.2.1"}
	j := &status.Journal{}
	var s serviceJournal
	for _, all := range [][]*cluster.Service{
		{service("a", nil)},
		{service("a", nil, full), other},
		{service("a", addr, assigned)},
		{service("a", addr, assigned, silent)},
		{service("a", addr, assigned, silent), service("b", nil)},
		{},
	} {
		s.next(j, cluster.TablesOf(cluster.Snapshot{Services: all}).Services, "", time.Now())
	}
	want := []string{
		"condition ns/a AddressAssigned:  -> PoolExhausted (pool web is full)",
		"address ns/a:  -> 192.0.2.1 (192.0.2.1 from pool web)",
		"condition ns/a AddressAssigned: PoolExhausted -> Assigned (192.0.2.1 from pool web)",
		"condition ns/a Announced:  -> NoEndpoints (no endpoint is ready)",
		"address ns/a: 192.0.2.1 ->  (the Service was deleted)",
	}
	if diff := cmp.Diff(want, told(j)); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}
