// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"fmt"
	"maps"
	"testing"

	"github.com/heraldlb/herald/config"
)

// finalizers returns those of an object.
func (a *api) finalizers(plural, name string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return fmt.Sprint(a.objects[plural][name]["metadata"].(map[string]any)["finalizers"])
}

// A protected pool has the finalizer until it may go, and others' stay.
func TestGuard(t *testing.T) {
	t.Parallel()
	const ours, others = "heraldlb.io/protect-addresses", "example.com/other"
	a, c := newAPI(t, allPlurals...)
	a.set("ipaddresspools", "p", `{"addresses":["10.0.0.0/24"]}`, 1)
	a.set("bgppeers", "r", `{}`, 1)
	w := newResourceLoop(t, c, newResources(t, c, func() {}), nil)
	pool := config.Verdict{ID: config.ID{Kind: config.KindPool, Name: "p"}, UID: "u-p", Generation: 1, Accepted: true, Reason: config.VerdictAccepted}
	peer := config.Verdict{ID: config.ID{Kind: config.KindPeer, Name: "r"}, UID: "u-r", Generation: 1, Accepted: true, Reason: config.VerdictAccepted}
	set := func(reason string, protect bool) {
		pool.Reason, pool.Accepted = reason, reason == config.VerdictAccepted
		w.set(verdicts{all: []config.Verdict{pool, peer}, protect: protect})
	}
	is := func(what, want string) {
		t.Helper()
		eventually(t, what, func() bool { return a.finalizers("ipaddresspools", "p") == want })
	}
	set(config.VerdictAccepted, true)
	is("it is protected", "["+ours+"]")
	if got := a.finalizers("bgppeers", "r"); got != "<nil>" {
		t.Errorf("a peer has the finalizers %s", got)
	}
	a.mu.Lock()
	// What is there already is being read: another object takes its place.
	next := maps.Clone(a.objects["ipaddresspools"]["p"])
	metadata := maps.Clone(next["metadata"].(map[string]any))
	metadata["finalizers"] = []string{others, ours}
	next["metadata"] = metadata
	a.put("ipaddresspools", "p", next)
	a.mu.Unlock()
	set(config.VerdictDeleted, true)
	is("it may go", "["+others+"]")
	set(config.VerdictInUse, true)
	is("it is in use", "["+others+" "+ours+"]")
	set(config.VerdictIgnored, true)
	is("it does not count", "["+others+"]")
	set(config.VerdictAccepted, true)
	is("it counts", "["+others+" "+ours+"]")
	set(config.VerdictAccepted, false)
	is("the flag is gone", "["+others+"]")
}
