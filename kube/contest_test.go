// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/heraldlb/herald/kube"
)

// A rival is another load balancer in Herald's namespace. Once a second it looks at
// what it holds to be its own, and puts it right.
type rival struct {
	api    *patientAPI
	writes int
	stray  int // how many objects it has created about web
}

// says has an object say something in its status, if it does not.
func (r *rival) says(plural, name, status string) {
	a := r.api.api
	a.mu.Lock()
	defer a.mu.Unlock()
	o := a.objects[plural][name]
	if o == nil {
		return
	}
	if b, _ := json.Marshal(o["status"]); string(b) == status {
		return
	}
	b, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	next := map[string]any{}
	var want any
	if json.Unmarshal(b, &next) != nil || json.Unmarshal([]byte(status), &want) != nil {
		panic(status)
	}
	next["status"] = want
	next["metadata"].(map[string]any)["managedFields"] = []any{
		map[string]any{"manager": "herald-controller", "operation": "Update", "subresource": "status", "time": "2000-01-01T00:00:09Z"},
		map[string]any{"manager": "controller", "operation": "Update", "subresource": "status", "time": "2000-01-01T00:00:05Z"},
		map[string]any{"manager": "kubectl", "operation": "Update", "time": "2000-01-01T00:00:07Z"},
	}
	r.writes++
	a.put(plural, name, next)
}

// act puts everything right.
func (r *rival) act() {
	r.says("ipaddresspools", "p", `{"assignedIPv4":65,"assignedIPv6":0,"availableIPv4":0,"availableIPv6":0}`)
	r.says("configurationstates", "speaker-n1", `{"conditions":[{"lastTransitionTime":"2000-01-01T00:00:00Z","reason":"Rival","status":"True","type":"configReconcilerValid"}],"errorSummary":"","result":"Valid"}`)
	r.says("services", "web", `{"loadBalancer":{"ingress":[{"ip":"10.0.0.5"}]}}`)
	a := r.api.api
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.objects[l2Plural][fmt.Sprintf("l2-rival%d", r.stray)] != nil {
		return
	}
	r.stray++
	r.writes++
	name := fmt.Sprintf("l2-rival%d", r.stray)
	a.put(l2Plural, name, map[string]any{
		"metadata": map[string]any{"name": name, "namespace": "ns", "uid": "u-" + name, "labels": map[string]any{
			"metallb.io/node": "n1", "metallb.io/service-name": "web", "metallb.io/service-namespace": "ns",
		}},
		"status": map[string]any{"node": "n1", "serviceName": "web", "serviceNamespace": "ns"},
	})
}

// Against a rival that undoes each of its writes Herald holds back more and more,
// names it once, and is as quick as ever when it has gone.
func TestContests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, config := newPatientAPI(append([]string{"services", "namespaces", "nodes", "endpointslices", l2Plural, bgpPlural}, allPlurals...)...)
		a.set("namespaces", "ns", "", 1)
		a.set("nodes", "n1", "", 1)
		a.set("ipaddresspools", "p", `{"addresses":["198.51.100.7/32"]}`, 1)
		a.set("l2advertisements", "ad", `{}`, 1)
		a.set("services", "web", `{"type":"LoadBalancer","clusterIP":"10.96.0.1","ports":[{"port":80}]}`, 1)
		a.slice("web")
		var log strings.Builder
		logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelInfo}))
		ctx, stop := context.WithCancel(t.Context())
		var g errgroup.Group
		start := func(of func(*kube.Client, *slog.Logger, *kube.Contests) []func(context.Context) error) *kube.Contests {
			c, err := kube.NewClient(config)
			if err != nil {
				t.Fatal(err)
			}
			events := kube.NewRecorder(c, "test", logger)
			contests := kube.NewContests(kube.ContestsOptions{Client: c, Events: events, Logger: logger})
			for _, task := range append(of(c, logger, contests), events.Run, contests.Run) {
				g.Go(func() error { return task(ctx) })
			}
			return contests
		}
		of := []*kube.Contests{start(controllerOf), start(agentOf)}
		defer func() {
			stop()
			if err := g.Wait(); err != nil {
				t.Error(err)
			}
		}()
		wait := func(d time.Duration) []string {
			time.Sleep(d)
			synctest.Wait()
			writes, _ := a.counts()
			return slices.DeleteFunc(writes, func(w string) bool { return strings.HasSuffix(w, "/events") })
		}
		wait(time.Minute)

		r := &rival{api: a}
		var writes []string
		for range 600 {
			r.act()
			writes = append(writes, wait(time.Second)...)
		}
		per := map[string]int{}
		for _, w := range writes {
			per[w[strings.LastIndex(strings.TrimSuffix(w, "/status"), "/")+1:]]++
		}
		t.Logf("in 10 minutes Herald wrote %d times, the rival %d times: %v", len(writes), r.writes, per)
		// 4 at once, then after 2, 4, ... 256 and 300 s. A Service is written twice each
		// time, as it is announced and not.
		for what, n := range per {
			if n > 13 && what != "web/status" || n > 24 {
				t.Errorf("%d writes to %s in 10 minutes, want 13 at most, or 24", n, what)
			}
		}
		if len(writes) > 80 || len(writes) < 20 {
			t.Errorf("%d writes in 10 minutes, want 20 to 80", len(writes))
		}

		var contested []string
		for _, c := range of {
			for _, o := range c.List() {
				contested = append(contested, fmt.Sprintf("%s %s by %q", o.Kind, o.Name, o.Writer))
			}
		}
		want := []string{
			`IPAddressPool p by "controller"`, `Service ns/web by "controller"`,
			`ConfigurationState speaker-n1 by "controller"`, `ServiceL2Status of ns/web by ""`,
		}
		if !slices.Equal(contested, want) {
			t.Errorf("contested are %q, want %q", contested, want)
		}
		a.mu.Lock()
		told := slices.DeleteFunc(slices.Clone(a.told), func(e string) bool { return !strings.Contains(e, kube.EventContested) })
		a.mu.Unlock()
		slices.Sort(told)
		for i, about := range []string{"ConfigurationState/speaker-n1", "IPAddressPool/p", "Service/web"} {
			if i >= len(told) || !strings.HasPrefix(told[i], about) || !strings.Contains(told[i], "(field manager controller)") {
				t.Errorf("events are %q, want one about each contested object and its writer, %s among them", told, about)
			}
		}
		if n := len(told); n != 3 {
			t.Errorf("%d events, want 3: %q", n, told)
		}
		if n := strings.Count(log.String(), "status contested\""); n != 4 {
			t.Errorf("%d lines of log, want 4:\n%s", n, log.String())
		}

		// It falls silent: what Herald says stands, and edits are undone at once again.
		writes = wait(6 * time.Minute)
		if len(writes) > 10 {
			t.Errorf("%d writes after the rival has gone: %q", len(writes), writes)
		}
		if got := a.status("ipaddresspools", "p"); !strings.Contains(got, "Accepted") {
			t.Errorf("the pool says %s", got)
		}
		if got := a.status("services", "web"); !strings.Contains(got, "198.51.100.7") {
			t.Errorf("the Service has %s", got)
		}
		wait(11 * time.Minute)
		for _, c := range of {
			if l := c.List(); len(l) > 0 {
				t.Errorf("still contested: %+v", l)
			}
		}
		if n := strings.Count(log.String(), "status contested no longer"); n != 4 {
			t.Errorf("%d ends in the log, want 4:\n%s", n, log.String())
		}
		for range 3 {
			r.act()
			wait(3 * time.Second)
			if got := a.status("services", "web") + a.status("ipaddresspools", "p"); !strings.Contains(got, "198.51.100.7") || !strings.Contains(got, "Accepted") {
				t.Errorf("3 s after an edit by hand they say %s", got)
			}
		}
		wait(time.Minute)
		if writes := wait(30 * time.Minute); len(writes) > 0 {
			t.Errorf("at rest Herald wrote %q", writes)
		}
	})
}
