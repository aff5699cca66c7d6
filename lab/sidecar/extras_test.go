// SPDX-License-Identifier: Apache-2.0

package sidecar_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/frr/conf"
	"github.com/heraldlb/herald/frr/contract"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
	"github.com/heraldlb/herald/status"
)

// extras applies a raw configuration and waits for what becomes of it.
func extras(e *e2e.Test, n *lab.Node, text string) contract.ExtrasResult {
	e.T.Helper()
	err := e.Cluster.ApplyConfigMap(e.T.Context(), lab.HeraldNamespace, "bgpextras", map[string]string{"extras": text})
	if err != nil {
		e.T.Fatal(err)
	}
	var r contract.ExtrasResult
	e.Eventually("result of the raw configuration", func(context.Context) (err error) {
		if r, err = contract.ReadExtrasResult(n.FRR.EtcDir); err == nil && r.Sum != contract.Sum([]byte(text)) {
			err = errors.New("none yet")
		}
		return err
	})
	return r
}

// readsBack waits until a node's agent has compared what bgpd runs with what it
// should, a moment after it applied something: it puts back the route that bgpd has
// lost meanwhile.
func readsBack(e *e2e.Test, n *lab.Node, lost netip.Addr) {
	e.T.Helper()
	_, err := n.FRR.Vtysh(e.T.Context(), "configure terminal", "router bgp 64512", "address-family ipv4 unicast", "no network "+e2e.Route(lost).String())
	if err != nil {
		e.T.Fatal(err)
	}
	e.Expose(controlplane.ServiceOptions{Name: fmt.Sprint("read-back-", lost.As4()[3])})
	e.Eventually("the lost route is back", func(ctx context.Context) error {
		text, err := n.FRR.Vtysh(ctx, "show running-config")
		if err == nil && !strings.Contains(text, "network "+e2e.Route(lost).String()) {
			err = errors.New("not yet")
		}
		return err
	})
}

// extrasAre waits until a node's agent says of the raw configuration what it
// should, and its metric is so; nil is that there is none.
func extrasAre(e *e2e.Test, n *lab.Node, metric string, want func(status.Extras) bool) {
	e.T.Helper()
	e.Eventually("raw configuration in the status", func(ctx context.Context) error {
		page, err := e.Agent(n).Get(ctx, "/status")
		if err != nil {
			return err
		}
		var r status.Report
		if err := json.Unmarshal([]byte(page), &r); err != nil {
			return err
		}
		if x := r.FRR.Extras; (x == nil) != (want == nil) || x != nil && !want(*x) {
			return fmt.Errorf("it is %+v", x)
		}
		metrics, err := e.Agent(n).Get(ctx, "/metrics")
		if err != nil {
			return err
		}
		if has := strings.Contains(metrics, "\nherald_frr_extras_applied "+metric); has != (want != nil) {
			return fmt.Errorf("herald_frr_extras_applied %s: %v", metric, has)
		}
		return nil
	})
}

// extrasEvent waits until the ConfigMap with the raw configuration has an event
// since a time that has all the words.
func extrasEvent(e *e2e.Test, since time.Time, kind, reason string, words ...string) {
	e.T.Helper()
	e.Eventually("event on bgpextras", func(ctx context.Context) error {
		list, err := e.Cluster.Client().CoreV1().Events(lab.HeraldNamespace).List(ctx, metav1.ListOptions{
			FieldSelector: "involvedObject.kind=ConfigMap,involvedObject.name=bgpextras",
		})
		if err != nil {
			return err
		}
		var all []string
		for _, ev := range list.Items {
			all = append(all, ev.Type+" "+ev.Reason+" "+ev.Message)
			if ev.Type == kind && ev.Reason == reason && !ev.LastTimestamp.Time.Before(since.Truncate(time.Second)) &&
				!slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(ev.Message, w) }) {
				return nil
			}
		}
		return fmt.Errorf("no %s %s with %q among %q", kind, reason, words, all)
	})
}

func TestSidecarExtras(t *testing.T) {
	e2e.EachVersion(t, func(t *testing.T, v lab.Version) {
		e := newSidecarE2E(t)
		n := e.NodeWith(v)
		e.Configure(e2e.BGPPools("- {name: p, protocol: bgp, addresses: [192.0.2.0/26]}"))
		addr := e.Expose(controlplane.ServiceOptions{Name: "web"})[0]
		e.Announced(e2e.Route(addr))
		before := e.Connections()
		has := func(line string, want bool) {
			t.Helper()
			text, err := n.FRR.Vtysh(t.Context(), "show running-config")
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(text, line) != want {
				t.Errorf("%q is in the running configuration: %v, want %v\n%s", line, !want, want, conf.Redact(text))
			}
		}

		const first = `ip prefix-list operators seq 5 permit 198.51.100.0/24
ip route 198.51.100.0/24 blackhole
router bgp 64512
 neighbor 10.10.0.254 description rack 7
 neighbor 10.10.0.99 remote-as 64999
 neighbor 10.10.0.99 password verys3cret
exit
`
		start := time.Now()
		if r := extras(e, n, first); !r.Applied || r.Remark != "" {
			t.Fatalf("refused, or with a remark: %+v", r)
		}
		t.Logf("added after %v", time.Since(start).Round(time.Millisecond))
		lines := []string{"ip prefix-list operators", "ip route 198.51.100.0/24 blackhole", "neighbor 10.10.0.254 description rack 7", "neighbor 10.10.0.99 remote-as 64999"}
		for _, l := range lines {
			has(l, true)
		}
		// What the agent checks and repairs leaves the operator's lines alone, and a
		// daemon that was started again gets them again.
		if err := n.Sidecar.Signal("bgpd", unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		e.Eventually("the lines are back", func(ctx context.Context) error {
			text, err := n.FRR.Vtysh(ctx, "show running-config")
			if err == nil && !strings.Contains(text, "neighbor 10.10.0.99 remote-as 64999") {
				err = errors.New("not yet")
			}
			return err
		})
		e.Announced(e2e.Route(addr))
		second := e.Expose(controlplane.ServiceOptions{Name: "second"})[0]
		e.Announced(e2e.Route(second))
		readsBack(e, n, second)
		for _, l := range lines {
			has(l, true)
		}

		extrasAre(e, n, "1", func(x status.Extras) bool { return x.Applied })
		since := time.Now()
		bad := strings.Replace(first, "description", "descripshun", 1)
		r := extras(e, n, bad)
		if r.Applied || !strings.Contains(r.Error, "line 4") || strings.Contains(r.Error, "descripshun") {
			t.Errorf("a mistake is answered by %+v", r)
		}
		extrasAre(e, n, "0", func(x status.Extras) bool { return !x.Applied && x.Error == r.Error })
		extrasEvent(e, since, "Warning", "RawConfigurationRefused", "node "+n.Name, "line 4", "[redacted]")
		third := e.Expose(controlplane.ServiceOptions{Name: "third"})[0] // everything else goes on
		e.Announced(e2e.Route(third))
		// What was in force before the mistake stays, through the agent's repairs and a
		// daemon's start too.
		readsBack(e, n, third)
		for _, l := range lines {
			has(l, true)
		}
		if err := n.Sidecar.Signal("bgpd", unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		e.Eventually("the lines are back beside a mistake", func(ctx context.Context) error {
			text, err := n.FRR.Vtysh(ctx, "show running-config")
			if err == nil && !strings.Contains(text, lines[len(lines)-1]) {
				err = errors.New("not yet")
			}
			return err
		})
		e.Announced(e2e.Route(third))
		r = extras(e, n, strings.Replace(first, "password", "pasword password", 1))
		if r.Applied || strings.Contains(r.Error, "s3cret") {
			t.Errorf("a mistake beside a password is answered by %+v", r)
		}
		for _, l := range lines {
			has(l, true)
		}

		start = time.Now()
		if r := extras(e, n, "ip prefix-list operators seq 5 permit 198.51.100.0/24\n"); !r.Applied {
			t.Fatalf("refused: %+v", r)
		}
		extrasAre(e, n, "1", func(x status.Extras) bool { return x.Applied && x.Error == "" })
		extrasEvent(e, since, "Normal", "RawConfigurationApplied", "node "+n.Name)
		t.Logf("removed after %v", time.Since(start).Round(time.Millisecond))
		has(lines[0], true)
		for _, l := range lines[1:] {
			has(l, false)
		}
		// FRR takes what it shows in another place, where the agent does not know it.
		if r := extras(e, n, "router bgp 64512\n maximum-paths 8\nexit\n"); !r.Applied || !strings.Contains(r.Remark, "maximum-paths 8") {
			t.Errorf("a line that FRR shows in another place is answered by %+v", r)
		}
		extrasEvent(e, since, "Warning", "RawConfigurationUnlike", "node "+n.Name, "maximum-paths 8")
		if r := extras(e, n, ""); !r.Applied {
			t.Fatalf("refused: %+v", r)
		}
		has(lines[0], false)
		extrasAre(e, n, "", nil)
		e.Announced(e2e.Route(addr))
		// bgpd was killed; nothing else reset a session.
		for s, ups := range e.Connections() {
			if ups > before[s] {
				t.Errorf("session %s was reset: %d times up, then %d", s, before[s], ups)
			}
		}
		log, err := os.ReadFile(n.LogFile(n.Sidecar.Name))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(log), "s3cret") {
			t.Error("a password is in the log of herald-frr")
		}
	})
}

// Raw configuration can have the nodes accept what routers announce, whether it is
// there before the peers are or comes after them. Nothing of it is passed on.
//
// Acceptance: B063-B066.
func TestSidecarExtrasAccept(t *testing.T) {
	e2e.EachVersion(t, func(t *testing.T, v lab.Version) {
		e := newSidecarE2E(t)
		n := e.NodeWith(v)
		const pools = "address-pools:\n- {name: p, protocol: bgp, addresses: [192.0.2.0/26]}\n"
		const accept = `ip prefix-list accepted seq 5 permit 100.64.0.0/16 le 24
ipv6 prefix-list accepted seq 5 permit fd00:b::/48 le 64
route-map herald-in permit 4
 match ip address prefix-list accepted
exit
route-map herald-in permit 5
 match ipv6 address prefix-list accepted
exit
`
		routes := map[netip.Prefix]bool{ // whether it is one to accept
			netip.MustParsePrefix("100.64.1.0/24"): true, netip.MustParsePrefix("fd00:b::/64"): true,
			netip.MustParsePrefix("100.65.1.0/24"): false, netip.MustParsePrefix("fd00:c::/64"): false,
		}
		for p := range routes {
			if err := e.EBGP.Inject(t.Context(), p, e2e.InjectedHop(p)); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := e.EBGP.Retract(context.Background(), p, e2e.InjectedHop(p)); err != nil {
					t.Error(err)
				}
			})
		}
		accepted := func(what string, want bool) {
			t.Helper()
			e.Eventually(what, func(ctx context.Context) error {
				have, err := n.Routes()
				if err != nil {
					return err
				}
				for p, wanted := range routes {
					if _, ok := have[p]; ok != (wanted && want) {
						return fmt.Errorf("%s is there: %v", p, ok)
					}
				}
				return nil
			})
		}
		for _, order := range []string{"after", "before"} {
			if order == "after" {
				e.Configure(e2e.AllPeers + pools)
				e.Established(e.EBGP, e.Nodes)
				accepted("nothing without", false)
			} else {
				e.Configure("peers: []\n" + pools)
				e.Established(e.EBGP, nil)
			}
			if r := extras(e, n, accept); !r.Applied {
				t.Fatalf("refused: %+v", r)
			}
			e.Configure(e2e.AllPeers + pools)
			accepted(order+" the peers", true)
			addr := e.Expose(controlplane.ServiceOptions{Name: "web-" + order})[0]
			e.Announced(e2e.Route(addr))
			paths, err := e.IBGP.Paths(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range paths {
				if _, ok := routes[path.Prefix]; ok {
					t.Errorf("%s passed %s on", path.Peer, path.Prefix)
				}
			}
			if r := extras(e, n, ""); !r.Applied {
				t.Fatalf("refused: %+v", r)
			}
			accepted("nothing again", false)
		}
	})
}
