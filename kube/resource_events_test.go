// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/kube"
	"github.com/heraldlb/herald/reconcile"
)

// lacks has the agent of a node say that version 1 is in force there, and which
// interfaces it lacks.
func (a *api) lacks(node, interfaces string) {
	a.set("configurationstates", "speaker-"+node, "", 1,
		fmt.Sprintf(`"status":{"result":"Valid","configuration":"1","lackingInterfaces":[%s]}`, interfaces))
}

// What a resource refers to and does not exist is a condition of its own, written
// once, and an event when that becomes so and when it is over.
func TestResolvedRefs(t *testing.T) {
	t.Parallel()
	a, c := newAPI(t, allPlurals...)
	wanted := verdicts{version: "1", refs: map[config.ID]reconcile.Refs{}}
	add := func(kind, plural, name string) config.ID {
		a.set(plural, name, "{}", 1)
		id := config.ID{Kind: kind, Name: name}
		wanted.all = append(wanted.all, config.Verdict{ID: id, UID: "u-" + name, Generation: 1, Accepted: true, Reason: "Accepted", Message: "in force"})
		return id
	}
	add(config.KindPool, "ipaddresspools", "pool")
	bgp := add(config.KindBGPAdvertisement, "bgpadvertisements", "bgp")
	layer2 := add(config.KindL2Advertisement, "l2advertisements", "l2")
	wanted.refs[bgp] = reconcile.Refs{Missing: []string{`there is no pool "wbe"`}, Empty: []string{"nodeSelectors match 0 of 3 nodes"}}
	wanted.refs[layer2] = reconcile.Refs{Interfaces: []string{"eth0", "eth9"}}
	wanted.all[0].Notes, wanted.all[0].Message = []string{config.NoteUnadvertised}, "in force; "+config.NoteUnadvertised
	a.lacks("n1", `"eth9"`)
	a.lacks("n2", `"eth0","eth9"`)

	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	r := newResources(t, c, func() {})
	events := kube.NewRecorder(c, "test", log)
	run(t, events.Run)
	w := newResourceLoop(t, c, r, events)
	set := func() {
		s := wanted
		s.all = slices.Clone(wanted.all)
		s.refs = map[config.ID]reconcile.Refs{bgp: wanted.refs[bgp], layer2: wanted.refs[layer2]}
		w.set(s)
	}
	says := func(what, plural, name, want string) {
		t.Helper()
		eventually(t, what, func() bool {
			return a.conditionOf(plural, name, "ResolvedRefs") == want && a.conditionOf(plural, name, "Programmed") != ""
		})
	}
	heard := func(what string, want ...string) {
		t.Helper()
		var got []string
		eventually(t, what, func() bool { got = append(got, a.newEvents()...); return len(got) >= len(want) })
		slices.Sort(got)
		wantSorted := slices.Sorted(slices.Values(want))
		if !slices.Equal(got, wantSorted) {
			t.Errorf("%s: events %q, want %q", what, got, wantSorted)
		}
	}
	set()
	says("the BGP advertisement", "bgpadvertisements", "bgp", `False RefNotFound: there is no pool "wbe"; nodeSelectors match 0 of 3 nodes`)
	says("the layer 2 advertisement", "l2advertisements", "l2", `False RefNotFound: no node has an interface "eth9" that layer 2 can use`)
	if got := a.conditionOf("ipaddresspools", "pool", "ResolvedRefs"); got != "" {
		t.Errorf("the pool, which refers to nothing, says %q", got)
	}
	heard("at first",
		`!IPAddressPool/pool NoAdvertisement: `+config.NoteUnadvertised,
		`!BGPAdvertisement/bgp RefsUnresolved: there is no pool "wbe"; nodeSelectors match 0 of 3 nodes`,
		`!L2Advertisement/l2 RefsUnresolved: no node has an interface "eth9" that layer 2 can use`)
	eventually(t, "all of the pool is said", func() bool { return a.conditionOf("ipaddresspools", "pool", "Programmed") != "" })
	a.newWrites()

	wanted.refs[bgp] = reconcile.Refs{Empty: []string{"nodeSelectors match 0 of 3 nodes"}}
	set()
	says("the pool is there", "bgpadvertisements", "bgp", "False SelectsNothing: nodeSelectors match 0 of 3 nodes")
	heard("the pool is there", "!BGPAdvertisement/bgp RefsUnresolved: nodeSelectors match 0 of 3 nodes")
	wanted.refs[bgp] = reconcile.Refs{}
	a.lacks("n1", "")
	set()
	const resolved = "True ResolvedRefs: all that it refers to exists"
	says("nodes too", "bgpadvertisements", "bgp", resolved)
	says("a node has the interface", "l2advertisements", "l2", resolved)
	heard("all is there", "BGPAdvertisement/bgp RefsResolved: all that it refers to exists", "L2Advertisement/l2 RefsResolved: all that it refers to exists")
	if got := a.newWrites(); !slices.Equal(slices.Sorted(slices.Values(got)), []string{"bgp", "bgp", "l2"}) {
		t.Errorf("writes to %q, want one for each change", got)
	}
	// What changes of the pool is no news of others.
	wanted.all[0].Notes, wanted.all[0].Message = nil, "in force"
	set()
	eventually(t, "the pool is advertised", func() bool { return !strings.Contains(a.status("ipaddresspools", "pool"), "no advertisement") })
	if got := append(a.newEvents(), a.newWrites()...); !slices.Equal(got, []string{"pool"}) {
		t.Errorf("then %q, want a write to the pool", got)
	}
}

// Until agents are heard, what was said of interfaces stays, also by the controller
// before this one.
func TestResolvedRefsUnheard(t *testing.T) {
	t.Parallel()
	a, c := newAPI(t, slices.DeleteFunc(slices.Clone(allPlurals), func(p string) bool { return p == "configurationstates" })...)
	const said = `"status":{"conditions":[{"type":"ResolvedRefs","status":"False","reason":"RefNotFound","message":"no node has it","observedGeneration":1}]}`
	wanted := verdicts{version: "1", refs: map[config.ID]reconcile.Refs{}}
	for _, name := range []string{"named", "everywhere"} {
		a.set("l2advertisements", name, "{}", 1, said)
		id := config.ID{Kind: config.KindL2Advertisement, Name: name}
		wanted.all = append(wanted.all, config.Verdict{ID: id, UID: "u-" + name, Generation: 1, Accepted: true, Reason: "Accepted", Message: "in force"})
		wanted.refs[id] = reconcile.Refs{}
	}
	wanted.refs[wanted.all[0].ID] = reconcile.Refs{Interfaces: []string{"eth9"}}
	newResourceLoop(t, c, newResources(t, c, func() {}), nil).set(wanted)
	eventually(t, "the other is written", func() bool { return a.conditionOf("l2advertisements", "everywhere", "ResolvedRefs")[:4] == "True" })
	if got := a.conditionOf("l2advertisements", "named", "ResolvedRefs"); got != "False RefNotFound: no node has it" {
		t.Errorf("of interfaces it says %q", got)
	}
}
