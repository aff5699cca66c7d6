// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heraldlb/herald/kube"
)

// pod sets whether the pod of a node's agent is ready.
func (a *api) pod(node string, ready bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	is := "False"
	if ready {
		is = "True"
	}
	a.put("pods", "agent-"+node, map[string]any{
		"metadata": map[string]any{"name": "agent-" + node, "namespace": "ns", "uid": "u-agent-" + node, "labels": map[string]any{"app.kubernetes.io/component": "agent"}},
		"spec":     map[string]any{"nodeName": node},
		"status":   map[string]any{"conditions": []any{map[string]any{"type": "Ready", "status": is}}},
	})
}

// made writes an object that was made at a second, in one step.
func (a *api) made(plural, name, node, service string, second int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	o := statusObject(name, node, service)
	o["metadata"].(map[string]any)["creationTimestamp"] = time.Unix(int64(second), 0).UTC().Format(time.RFC3339)
	a.put(plural, name, o)
}

// clean runs what the leading controller does about statuses.
func clean(t *testing.T, c *kube.Client, log *slog.Logger) {
	t.Helper()
	all := kube.NewAnnouncements(kube.AnnouncementsOptions{Client: c, Namespace: "ns", Wake: func() {}, Logger: log})
	run(t, all.Run)
}

// The leading controller deletes the ServiceL2Status of a node whose agent is not ready,
// once another node has made one after it. It deletes no other.
func TestLeftovers(t *testing.T) {
	t.Parallel()
	a, c := newAPI(t, l2Plural, bgpPlural, "nodes", "pods", "endpointslices")
	for _, n := range []string{"n1", "n2", "n3"} {
		a.pod(n, true)
	}
	a.made(l2Plural, "l2-a", "n1", "web", 10)
	a.made(l2Plural, "l2-b", "n2", "web", 20) // the other address of the Service
	a.made(l2Plural, "l2-c", "n1", "db", 20)  // nobody has taken it over
	a.made(l2Plural, "l2-d", "n1", "late", 20)
	a.made(l2Plural, "l2-e", "n2", "late", 10) // it was there before
	a.made(l2Plural, "l2-f", "n4", "old", 10)  // whose agent has no pod
	a.made(l2Plural, "l2-g", "n3", "old", 20)
	a.made(bgpPlural, "bgp-a", "n1", "web", 10) // FRR goes on without the agent
	a.made(bgpPlural, "bgp-b", "n2", "web", 20)
	clean(t, c, slog.New(slog.NewTextHandler(t.Output(), nil)))
	written := func(want ...string) {
		t.Helper()
		eventually(t, fmt.Sprintf("%q", want), func() bool {
			a.mu.Lock()
			defer a.mu.Unlock()
			return len(a.patches) >= len(want)
		})
		time.Sleep(1500 * time.Millisecond) // a round later nothing else is written
		a.mu.Lock()
		defer a.mu.Unlock()
		if !slices.Equal(a.patches, want) {
			t.Errorf("writes are %q, want %q", a.patches, want)
		}
	}
	written()
	a.pod("n1", false)
	written("delete l2-a")
	// The agent lives, and makes it again.
	a.made(l2Plural, "l2-a", "n1", "web", 30)
	written("delete l2-a")
	// Two are not ready: neither has taken over from the other.
	a.pod("n2", false)
	written("delete l2-a")
	a.made(l2Plural, "l2-b", "n2", "web", 40)
	written("delete l2-a")
	a.pod("n2", true)
	written("delete l2-a", "delete l2-a")
}

// An object with the name that Herald gives to that of another node is deleted, and
// keeps nobody from writing it for long.
func TestMisnamedStatus(t *testing.T) {
	t.Parallel()
	a, c := newAPI(t, l2Plural, bgpPlural, "nodes", "pods", "endpointslices")
	var said strings.Builder
	var mu sync.Mutex
	clean(t, c, slog.New(slog.NewTextHandler(locked{&mu, &said}, nil)))
	w := kube.NewServiceStatusWriter(kube.ServiceStatusWriterOptions{
		Client: c, Namespace: "ns", Node: "n1", Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	run(t, w.Run)
	announces(w, viaBGP("web", "r1"))
	eventually(t, "it is written", func() bool { return slices.Equal(a.told(bgpPlural), []string{"n1 shop/web: r1"}) })
	names, _ := a.names(bgpPlural)
	announces(w)
	eventually(t, "it is gone", func() bool { return len(a.told(bgpPlural)) == 0 })

	a.left(bgpPlural, names[0], "n3", "web")
	a.left(bgpPlural, "bgp-x7k2p", "n3", "web") // of another load balancer
	eventually(t, "the other node's is deleted", func() bool { return slices.Equal(a.told(bgpPlural), []string{"n3 shop/web: "}) })
	eventually(t, "the log says so", func() bool {
		mu.Lock()
		defer mu.Unlock()
		text := said.String()
		if strings.Contains(text, "x7k2p") {
			t.Errorf("the log is %q", text)
		}
		return strings.Contains(text, "name of another's") && strings.Contains(text, "node=n3")
	})
	announces(w, viaBGP("web", "r1"))
	eventually(t, "it is written again", func() bool {
		return slices.Equal(a.told(bgpPlural), []string{"n1 shop/web: r1", "n3 shop/web: "})
	})
	// Without a status, the label says of which node it is.
	a.mu.Lock()
	a.put(l2Plural, "l2-aaaaaaaaaaaaaaaaaaaa", map[string]any{"metadata": map[string]any{
		"name": "l2-aaaaaaaaaaaaaaaaaaaa", "namespace": "ns", "uid": "u", "labels": map[string]any{"metallb.io/node": "n3"},
	}})
	a.mu.Unlock()
	eventually(t, "one without a status is deleted", func() bool { return len(a.told(l2Plural)) == 0 })
	time.Sleep(1500 * time.Millisecond)
	if got := a.told(bgpPlural); len(got) != 2 {
		t.Errorf("there are %q", got)
	}
}
