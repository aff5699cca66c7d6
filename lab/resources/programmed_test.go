// SPDX-License-Identifier: Apache-2.0

package resources_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/lab/e2e"
)

// programmed waits for what the newest version of an object says of being in force
// on the nodes: status and reason of the condition, and its message.
func programmed(r *e2e.Resources, kind, name, want, where string) {
	r.T.Helper()
	r.Eventually(kind+" "+name+" is "+want, func(ctx context.Context) error {
		s, err := r.State(ctx, kind, name)
		if err == nil && (s.Programmed != want || s.Where != where) {
			err = fmt.Errorf("it says %s, %q; want %s, %q", s.Programmed, s.Where, want, where)
		}
		return err
	})
}

// Every resource says whether it is in force on all nodes, and where it is not and
// why. An edit of one is no write to another.
func TestResourcesProgrammed(t *testing.T) {
	const everywhere = "in force on all nodes"
	r := e2e.NewResources(t)
	r.DeleteConfigMap()
	pool := func(addresses string) string {
		return fmt.Sprintf("{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: p}, spec: {addresses: [%s]}}", addresses)
	}
	r.Apply(e2e.PeerResources + "---\n" + pool("10.249.0.0/28") + `
---
{apiVersion: metallb.io/v1beta1, kind: BGPAdvertisement, metadata: {name: ad}, spec: {communities: [blue]}}
---
{apiVersion: metallb.io/v1beta1, kind: L2Advertisement, metadata: {name: ad}}
---
{apiVersion: metallb.io/v1beta1, kind: Community, metadata: {name: colors}, spec: {communities: [{name: blue, value: "64512:7"}]}}
---
{apiVersion: metallb.io/v1beta1, kind: BFDProfile, metadata: {name: fast}, spec: {receiveInterval: 1000}}`)
	kinds := map[string]string{
		config.KindPool: "p", config.KindBGPAdvertisement: "ad", config.KindL2Advertisement: "ad", config.KindCommunity: "colors",
		config.KindBFDProfile: "fast", config.KindPeer: "r1",
	}
	for kind, name := range kinds {
		programmed(r, kind, name, "True Programmed", everywhere)
	}

	// An edit is in force within seconds. It is two writes at most to the object, one
	// of each agent and of the controller, and none to other objects.
	_, before := r.Quiet(2 * time.Second)
	start := time.Now()
	r.Apply(pool("10.249.0.0/27"))
	programmed(r, config.KindPool, "p", "True Programmed", everywhere)
	t.Logf("an edit is in force on all nodes, and says so, after %s", time.Since(start))
	_, after := r.Quiet(2 * time.Second)
	for k, v := range before {
		if after[k] -= v; after[k] == 0 {
			delete(after, k)
		}
	}
	t.Logf("an edit is these writes: %v", after)
	for k, n := range after {
		most := 0
		switch {
		case strings.Contains(k, `"ipaddresspools/status"`):
			most = 2
		case strings.Contains(k, `"configurationstates/status"`):
			most = 1 + len(r.Nodes)
		}
		if n > most {
			t.Errorf("an edit of a pool is %d writes of %s, want %d at most", n, k, most)
		}
	}

	peersMeet(r)
	programmed(r, config.KindPeer, "b", "False NodeError", "n3: peer a has the same address")
	programmed(r, config.KindPeer, "a", "True Programmed", everywhere)
	programmed(r, config.KindPeer, "r1", "True Programmed", everywhere)
	r.Delete(config.KindPeer, "a")
	programmed(r, config.KindPeer, "b", "True Programmed", everywhere)

	// FRR hangs, on a node of each version. What was in force stays so.
	nodes, _ := r.VersionNodes("matchLabels")
	signal := func(sig unix.Signal) {
		for _, n := range nodes {
			if err := n.FRR.Signal(sig, "bgpd"); err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(func() { signal(unix.SIGCONT) })
	signal(unix.SIGSTOP)
	var hung []string
	for _, n := range nodes {
		hung = append(hung, n.Name+": FRR does not answer: bgpd")
	}
	r.Apply(newPeer("late", "10.10.0.79", ""))
	programmed(r, config.KindPeer, "late", "False DataPlane", strings.Join(hung, "; "))
	for kind, name := range kinds {
		programmed(r, kind, name, "True Programmed", everywhere)
	}
	signal(unix.SIGCONT)
	programmed(r, config.KindPeer, "late", "True Programmed", everywhere)

	// An agent that is gone is waited for once, and not for long.
	n3 := r.Agent(r.Nodes[2])
	if err := n3.Kill(); err != nil {
		t.Fatal(err)
	}
	back := false
	t.Cleanup(func() {
		if !back {
			_ = n3.Start()
		}
	})
	const but = everywhere + " but those whose agents do not say so: n3"
	r.Apply(pool("10.249.0.0/26"))
	programmed(r, config.KindPool, "p", "True Programmed", but)
	start = time.Now()
	r.Apply(newPeer("late", "10.10.0.80", ""))
	programmed(r, config.KindPeer, "late", "True Programmed", but)
	t.Logf("an edit after that says so after %s", time.Since(start))
	back = true
	if err := n3.Start(); err != nil {
		t.Fatal(err)
	}
	for kind, name := range kinds {
		programmed(r, kind, name, "True Programmed", everywhere)
	}
	programmed(r, config.KindPeer, "late", "True Programmed", everywhere)
	r.LaterPass()
	r.Quiet(2 * time.Second)
}
