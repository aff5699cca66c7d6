// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/kube"
	"github.com/heraldlb/herald/reconcile"
)

// says has the agent of a node say that a version is in force there, but for errors.
func (a *api) says(node, version, errors string) {
	a.set("configurationstates", "speaker-"+node, "", 1, fmt.Sprintf(`"status":{"result":"Valid","configuration":%q,"errorSummary":%q}`, version, errors))
}

// programmed returns the condition Programmed of an object, in short.
func (a *api) programmed(plural, name string) string {
	text, _, _ := strings.Cut(a.conditionOf(plural, name, "Programmed"), ":")
	if text == "" {
		return ""
	}
	return fmt.Sprintf("%s %d", text, a.generationOf(plural, name, "Programmed"))
}

// conditionOf returns a condition of an object as "True Reason: message".
func (a *api) conditionOf(plural, name, kind string) string {
	for _, c := range a.conditions(plural, name) {
		if c.Type == kind {
			return fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
		}
	}
	return ""
}

// generationOf returns the version that a condition is about.
func (a *api) generationOf(plural, name, kind string) int64 {
	for _, c := range a.conditions(plural, name) {
		if c.Type == kind {
			return c.ObservedGeneration
		}
	}
	return 0
}

func (a *api) conditions(plural, name string) []metav1.Condition {
	var s struct{ Conditions []metav1.Condition }
	if err := json.Unmarshal([]byte(a.status(plural, name)), &s); err != nil {
		return nil // it has no status yet
	}
	return s.Conditions
}

// newWrites returns to what was written since the last call.
func (a *api) newWrites() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := a.patches
	a.patches = nil
	return out
}

// TestProgrammed counts the writes that it takes to say of many resources whether
// they are in force on three nodes.
func TestProgrammed(t *testing.T) {
	t.Parallel()
	const pools = 60
	a, c := newAPI(t, allPlurals...)
	wanted := verdicts{version: "1"}
	add := func(kind, plural, name, spec string) {
		a.set(plural, name, spec, 1)
		wanted.all = append(wanted.all, config.Verdict{ID: config.ID{Kind: kind, Name: name},
			UID: "u-" + name, Generation: 1, Accepted: true, Reason: "Accepted", Message: "in force"})
	}
	add(config.KindPeer, "bgppeers", "tor", `{}`)
	for i := range pools {
		add(config.KindPool, "ipaddresspools", fmt.Sprintf("p%02d", i), `{}`)
	}
	for _, node := range []string{"n1", "n2", "n3"} {
		a.says(node, "1", "")
	}
	// Somebody who is not an agent, and an agent of a version that says nothing of it.
	a.set("configurationstates", "controller", "", 1, `"status":{"configuration":"0"}`)

	r := newResources(t, c, func() {})
	w := newResourceLoop(t, c, r, nil)
	set := func() {
		s := wanted
		s.all = slices.Clone(wanted.all)
		w.set(s)
	}
	set()
	eventually(t, "all are in force", func() bool {
		for i := range pools {
			if a.programmed("ipaddresspools", fmt.Sprintf("p%02d", i)) != "True Programmed 1" {
				return false
			}
		}
		return a.programmed("bgppeers", "tor") == "True Programmed 1"
	})
	if n := len(a.newWrites()); n > 2*(pools+1) {
		t.Errorf("%d writes of %d objects, want two of each at most", n, pools+1)
	}

	edit := func(generation int64, version string) {
		a.set("ipaddresspools", "p00", `{}`, int(generation), `"status":`+a.status("ipaddresspools", "p00"))
		eventually(t, "the edit is read", func() bool {
			d, _ := r.Document()
			return slices.ContainsFunc(d.Resources.Objects, func(o config.Object) bool { return o.Name == "p00" && o.Generation == generation })
		})
		wanted.version, wanted.all[1].Generation = version, generation
		set()
	}
	edit(2, "2")
	is := func(what, plural, name, want string, writes ...string) {
		t.Helper()
		eventually(t, what, func() bool { return a.programmed(plural, name) == want })
		if got := a.newWrites(); !slices.Equal(got, writes) {
			t.Errorf("%s: writes to %v, want %v", what, got, writes)
		}
	}
	is("nobody has said that the edit is in force", "ipaddresspools", "p00", "False Pending 2", "p00")
	a.says("n1", "2", "")
	a.says("n2", "2", "")
	set()
	a.says("n3", "2", "")
	is("all have", "ipaddresspools", "p00", "True Programmed 2", "p00")

	a.says("n2", "2", "BGPPeer/tor: the same address as peer spine")
	is("a node cannot have the peer", "bgppeers", "tor", "False NodeError 1", "tor")
	if got := a.status("bgppeers", "tor"); !strings.Contains(got, `"n2: the same address as peer spine"`) {
		t.Errorf("the status of the peer is %s, want what n2 says", got)
	}
	// An agent whose object goes is not waited for.
	edit(3, "3")
	is("an edit", "ipaddresspools", "p00", "False Pending 3", "p00")
	a.says("n1", "3", "")
	a.says("n2", "3", "BGPPeer/tor: the same address as peer spine")
	a.delete("configurationstates", "speaker-n3")
	is("with a node less", "ipaddresspools", "p00", "True Programmed 3", "p00")
	a.says("n2", "3", "")
	is("the peer is in force", "bgppeers", "tor", "True Programmed 1", "tor")
}

// TestStateOfAgent follows what an agent says of FRR.
func TestStateOfAgent(t *testing.T) {
	t.Parallel()
	a, c := newAPI(t, append(allPlurals, "pods", "nodes")...)
	a.set("pods", "herald-agent-x", "", 1)
	a.set("nodes", "n1", "", 1)
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	s := kube.NewStateWriter(kube.StateWriterOptions{Client: c, Namespace: "ns", Node: "n1", Pod: "herald-agent-x", Logger: log})
	s.Set(reconcile.State{Known: true, Version: "1", Failed: "2", Failure: "FRR does not answer: bgpd"})
	run(t, s.Run)
	says := func(what, want string) {
		t.Helper()
		eventually(t, what, func() bool { return strings.Contains(a.status("configurationstates", "speaker-n1"), want) })
	}
	says("the version in force", `"configuration":"1"`)
	says("the other one", `"failedConfiguration":"2"`)
	says("why", `"failure":"FRR does not answer: bgpd"`)
	s.Set(reconcile.State{Known: true, Version: "2"})
	says("the next version", `"configuration":"2"`)
	says("no failure", `"failure":""`)
	a.mu.Lock()
	defer a.mu.Unlock()
	owners, _ := json.Marshal(a.objects["configurationstates"]["speaker-n1"]["metadata"].(map[string]any)["ownerReferences"])
	if !strings.Contains(string(owners), `"uid":"u-herald-agent-x"`) {
		t.Errorf("the object belongs to %s, want the agent's pod", owners)
	}
}
