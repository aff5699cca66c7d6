// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/kube"
	"github.com/heraldlb/herald/reconcile"
)

// refusedMany is how many objects the API server refuses in these tests: with a pause of
// a second for each, what comes after them would not be written in time.
const refusedMany = 60

// Statuses of Services that the API server refuses, as a policy engine may have it, hold
// up no other Service's.
func TestServiceStatusRefused(t *testing.T) {
	t.Parallel()
	a, c := newAPI(t, l2Plural, bgpPlural, "nodes", "pods")
	a.set("nodes", "n1", "", 1)
	a.refuse = "aaa-"
	w := kube.NewServiceStatusWriter(kube.ServiceStatusWriterOptions{
		Client: c, Namespace: "ns", Node: "n1", Logger: slog.New(slog.DiscardHandler),
	})
	var all []reconcile.ServiceStatus
	for i := range refusedMany {
		all = append(all, viaBGP(fmt.Sprintf("aaa-%02d", i), "r1"))
	}
	all = append(all, viaBGP("zzz", "r1"))
	announces(w, all...)
	run(t, w.Run)
	eventually(t, "the other Service's", func() bool { return slices.Equal(a.told(bgpPlural), []string{"n1 shop/zzz: r1"}) })
	all[refusedMany] = viaBGP("zzz", "r2")
	announces(w, all...)
	eventually(t, "a change of it", func() bool { return slices.Equal(a.told(bgpPlural), []string{"n1 shop/zzz: r2"}) })
	announces(w, all[:refusedMany]...)
	eventually(t, "the end of it", func() bool { return len(a.told(bgpPlural)) == 0 })
	a.mu.Lock()
	a.refuse = ""
	a.mu.Unlock()
	eventually(t, "one that is not refused any more", func() bool { return len(a.told(bgpPlural)) > 0 })
}

// Statuses of resources that the API server refuses hold up no other resource's.
func TestResourceStatusRefused(t *testing.T) {
	t.Parallel()
	a, c := newAPI(t, allPlurals...)
	a.refuse = "aaa-"
	var all []reconcile.ResourceStatus
	add := func(name string) {
		a.set("ipaddresspools", name, `{"addresses":["10.0.0.0/24"]}`, 1)
		all = append(all, reconcile.ResourceStatus{Verdict: config.Verdict{
			ID: config.ID{Kind: config.KindPool, Name: name}, UID: "u-" + name, Generation: 1, Accepted: true, Reason: "Accepted", Message: "in force",
		}})
	}
	for i := range refusedMany {
		add(fmt.Sprintf("aaa-%02d", i))
	}
	add("zzz")
	w := kube.NewResourceStatusWriter(kube.ResourceStatusWriterOptions{
		Client: c, Resources: newResources(t, c, func() {}), Events: kube.NewRecorder(c, "test", slog.New(slog.DiscardHandler)),
		Logger: slog.New(slog.DiscardHandler),
	})
	w.Set(all)
	run(t, w.Run)
	eventually(t, "the other resource's", func() bool { return strings.Contains(a.status("ipaddresspools", "zzz"), `"status":"True"`) })
	a.mu.Lock()
	a.refuse = ""
	a.mu.Unlock()
	eventually(t, "one that is not refused any more", func() bool {
		return strings.Contains(a.status("ipaddresspools", "aaa-00"), `"status":"True"`)
	})
}

// Services that the API server refuses hold up no other Service, and are tried again
// on their own, not whenever another one changes.
func TestServiceRefused(t *testing.T) {
	t.Parallel()
	objects := []runtime.Object{newService("ns", "zzz")}
	updates := []assign.Update{assigned("zzz", "1", "192.0.2.200")}
	for i := range refusedMany {
		name := fmt.Sprintf("aaa-%02d", i)
		objects = append(objects, newService("ns", name))
		updates = append(updates, assigned(name, "1", fmt.Sprint("192.0.2.", i)))
	}
	h := newHarness(t, objects...)
	h.fail = func(name string) error {
		if strings.HasPrefix(name, "aaa-") {
			return apierrors.NewForbidden(schema.GroupResource{Resource: "services"}, name, fmt.Errorf("by a policy"))
		}
		return nil
	}
	h.set(updates...)
	run(t, h.writer.Run)
	eventually(t, "the other Service", func() bool { return len(h.service(t, "zzz").Status.LoadBalancer.Ingress) == 1 })
	const sets = 200
	for range sets {
		h.set(slices.Clone(updates)...)
	}
	eventually(t, "the refused ones again", func() bool { return len(h.patched()) > 2*refusedMany })
	if got := len(h.patched()); got > 20*refusedMany {
		t.Errorf("%d writes of %d Services while others change %d times", got, refusedMany, sets)
	}
}

// The leader's State is written when the API server does not refuse it any more.
func TestStateRefused(t *testing.T) {
	t.Parallel()
	a, c := newAPI(t, allPlurals...)
	a.refuse = "controller"
	s := kube.NewStateWriter(kube.StateWriterOptions{Client: c, Namespace: "ns", Logger: slog.New(slog.DiscardHandler)})
	s.Set(reconcile.State{Known: true})
	run(t, s.Run)
	eventually(t, "refusals", func() bool { a.mu.Lock(); defer a.mu.Unlock(); return a.refusals > 1 })
	a.mu.Lock()
	a.refuse = ""
	a.mu.Unlock()
	eventually(t, "the State", func() bool {
		return strings.Contains(a.status("configurationstates", "controller"), `"result":"Valid"`)
	})
}

// An event that the API server refuses holds up no other.
func TestEventRefused(t *testing.T) {
	t.Parallel()
	a, c := newAPI(t, allPlurals...)
	a.refuse = "aaa"
	events := kube.NewRecorder(c, "test", slog.New(slog.DiscardHandler))
	run(t, events.Run)
	for _, name := range []string{"aaa", "zzz"} {
		events.Service(&cluster.Service{Key: cluster.Key{Namespace: "ns", Name: name}, UID: name}, cluster.Event{Reason: "Announced", Message: "announced"})
	}
	eventually(t, "the other event", func() bool { return slices.Equal(a.newEvents(), []string{"Service/zzz Announced: announced"}) })
}
