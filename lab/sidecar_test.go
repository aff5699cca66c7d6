// SPDX-License-Identifier: Apache-2.0

package lab_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"

	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/status"
)

// newSidecarE2E builds a Stack in which the agents and herald-frr run as the
// containers of their pod.
func newSidecarE2E(t *testing.T, nodes int, args ...string) *e2e {
	t.Helper()
	lab.Need(t, "zebra", "bgpd", "bfdd", "staticd", "nft", "python3")
	s, err := lab.UpStack(t.Context(), lab.StackOptions{Network: lab.Options{Nodes: nodes, Sidecar: true, SidecarArgs: args}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, a := range append(s.Controllers, s.Agents...) {
				log, _ := os.ReadFile(s.LogFile(a.Name))
				fmt.Fprintf(t.Output(), "---- %s\n%s\n", a.Name, log[max(0, len(log)-8<<10):])
			}
		}
		if err := s.Down(context.Background()); err != nil {
			t.Error(err)
		}
	})
	e := &e2e{Stack: s, t: t, namespace: strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-"))}
	if e.ibgp, e.ebgp, err = furnish(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	e.watch()
	return e
}

// The pod announces a Service, with the users and capabilities that it is meant
// to have, whichever of FRR's daemons is killed or hangs.
func TestSidecar(t *testing.T) {
	e := newSidecarE2E(t, 1, "--hang-timeout=3s")
	n1 := e.Nodes[0]
	e.configure(bgpPools("- {name: p, protocol: bgp, addresses: [192.0.2.0/26]}\n" +
		"- {name: lan, protocol: layer2, addresses: [10.10.0.150-10.10.0.159], auto-assign: false}"))
	addr := e.expose(lab.ServiceOptions{Name: "web"})[0]
	e.announced(route(addr))
	e.reached(addr)
	lan := e.expose(lab.ServiceOptions{Name: "lan", Annotations: map[string]string{"metallb.universe.tf/address-pool": "lan"}})[0]
	e.eventually("answer on layer 2", func(ctx context.Context) error {
		_, err := e.LANClient.Get(ctx, "http://"+netip.AddrPortFrom(lan, 80).String()+"/")
		return err
	})

	users, err := n1.Sidecar.Users()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range n1.FRR.Daemons() {
		uid, text, _ := strings.Cut(users[d], " ")
		caps, err := strconv.ParseUint(text, 16, 64)
		const allowed = 1<<unix.CAP_NET_BIND_SERVICE | 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_NET_RAW | 1<<unix.CAP_SYS_ADMIN
		if err != nil || uid == "0" || uid == "" || caps&^allowed != 0 {
			t.Errorf("%s runs as user %q with capabilities %q", d, uid, text)
		}
	}
	for _, d := range n1.FRR.Daemons() {
		for _, sig := range []unix.Signal{unix.SIGKILL, unix.SIGSTOP} {
			pid := n1.Sidecar.PID(d)
			start := time.Now()
			if err := n1.Sidecar.Signal(d, sig); err != nil {
				t.Fatal(err)
			}
			e.eventually(d+" is started again", func(ctx context.Context) error {
				if p := n1.Sidecar.PID(d); p == pid || p == 0 {
					return fmt.Errorf("process %d", p)
				}
				_, err := n1.Sidecar.Get(ctx, "/readyz")
				return err
			})
			e.announced(route(addr))
			t.Logf("%s after %v: ready and announced after %v", d, sig, time.Since(start).Round(time.Millisecond))
		}
	}
	second := e.expose(lab.ServiceOptions{Name: "second"})[0]
	e.announced(route(second))
}

func TestSidecarAgentTimeout(t *testing.T) {
	const timeout = 12 * time.Second // above the agent's interval
	e := newSidecarE2E(t, 1, "--agent-timeout="+timeout.String())
	n1 := e.Nodes[0]
	e.configure(bgpPools("- {name: p, protocol: bgp, addresses: [192.0.2.0/26]}"))
	addr := e.expose(lab.ServiceOptions{Name: "web"})[0]
	e.announced(route(addr))

	since := time.Now()
	if err := e.Agents[0].Process().Kill(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	e.inKernel(route(addr), nil)
	took := time.Since(since)
	t.Logf("withdrawn %v after the agent was stopped", took.Round(time.Millisecond))
	if took < timeout-frr.HeartbeatInterval || took > timeout+5*time.Second {
		t.Errorf("withdrawn after %v, want %v to %v", took, timeout-frr.HeartbeatInterval, timeout+5*time.Second)
	}
	e.withdrawn(route(addr))
	// FRR lives, and waits.
	if page, err := n1.Sidecar.Get(t.Context(), "/livez"); err != nil || !strings.Contains(page, "bgpd: stopped, no agent") {
		t.Errorf("/livez: %v: %s", err, page)
	}
	if page, err := n1.Sidecar.Get(t.Context(), "/metrics"); err != nil || !strings.Contains(page, "\nherald_frr_withdrawn 1\n") {
		t.Errorf("/metrics: %v: %s", err, page)
	}
	// So it does when its container is started anew.
	if err := n1.Sidecar.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := n1.Sidecar.Start(); err != nil {
		t.Fatal(err)
	}
	e.eventually("FRR is up without bgpd", func(ctx context.Context) error {
		_, err := n1.Sidecar.Get(ctx, "/livez")
		return err
	})
	if pid := n1.Sidecar.PID("bgpd"); pid != 0 {
		t.Errorf("bgpd runs without an agent, as process %d", pid)
	}
	if err := e.Agents[0].Process().Kill(unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	e.announced(route(addr))
}

// extras applies a raw configuration and waits for what becomes of it.
func (e *e2e) extras(n *lab.Node, text string) frr.ExtrasResult {
	e.t.Helper()
	err := e.Cluster.ApplyConfigMap(e.t.Context(), lab.HeraldNamespace, "bgpextras", map[string]string{"extras": text})
	if err != nil {
		e.t.Fatal(err)
	}
	var r frr.ExtrasResult
	e.eventually("result of the raw configuration", func(context.Context) (err error) {
		if r, err = frr.ReadExtrasResult(n.FRR.EtcDir); err == nil && r.Sum != frr.Sum([]byte(text)) {
			err = errors.New("none yet")
		}
		return err
	})
	return r
}

// extrasAre waits until a node's agent says of the raw configuration what it
// should, and its metric is so; nil is that there is none.
func (e *e2e) extrasAre(n *lab.Node, metric string, want func(status.Extras) bool) {
	e.t.Helper()
	e.eventually("raw configuration in the status", func(ctx context.Context) error {
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
func (e *e2e) extrasEvent(since time.Time, kind, reason string, words ...string) {
	e.t.Helper()
	e.eventually("event on bgpextras", func(ctx context.Context) error {
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
	e := newSidecarE2E(t, 1)
	n1 := e.Nodes[0]
	e.configure(bgpPools("- {name: p, protocol: bgp, addresses: [192.0.2.0/26]}"))
	addr := e.expose(lab.ServiceOptions{Name: "web"})[0]
	e.announced(route(addr))
	before := e.connections()
	has := func(line string, want bool) {
		t.Helper()
		text, err := n1.FRR.Vtysh(t.Context(), "show running-config")
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(text, line) != want {
			t.Errorf("%q is in the running configuration: %v, want %v\n%s", line, !want, want, frr.Redact(text))
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
	if r := e.extras(n1, first); !r.Applied {
		t.Fatalf("refused: %+v", r)
	}
	t.Logf("added after %v", time.Since(start).Round(time.Millisecond))
	lines := []string{"ip prefix-list operators", "ip route 198.51.100.0/24 blackhole", "neighbor 10.10.0.254 description rack 7", "neighbor 10.10.0.99 remote-as 64999"}
	for _, l := range lines {
		has(l, true)
	}
	// What the agent checks and repairs leaves the operator's lines alone, and a
	// daemon that was started again gets them again.
	if err := n1.Sidecar.Signal("bgpd", unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	e.eventually("the lines are back", func(ctx context.Context) error {
		text, err := n1.FRR.Vtysh(ctx, "show running-config")
		if err == nil && !strings.Contains(text, "neighbor 10.10.0.99 remote-as 64999") {
			err = errors.New("not yet")
		}
		return err
	})
	e.announced(route(addr))
	second := e.expose(lab.ServiceOptions{Name: "second"})[0]
	e.announced(route(second))
	time.Sleep(3 * time.Second) // the agent reads back what it applied after 2 s
	for _, l := range lines {
		has(l, true)
	}

	e.extrasAre(n1, "1", func(x status.Extras) bool { return x.Applied })
	since := time.Now()
	bad := strings.Replace(first, "description", "descripshun", 1)
	r := e.extras(n1, bad)
	if r.Applied || !strings.Contains(r.Error, "line 4") || !strings.Contains(r.Error, "descripshun") {
		t.Errorf("a mistake is answered by %+v", r)
	}
	e.extrasAre(n1, "0", func(x status.Extras) bool { return !x.Applied && x.Error == r.Error })
	e.extrasEvent(since, "Warning", "RawConfigurationRefused", "node n1", "line 4", "descripshun")
	third := e.expose(lab.ServiceOptions{Name: "third"})[0] // everything else goes on
	e.announced(route(third))
	r = e.extras(n1, strings.Replace(first, "password", "pasword password", 1))
	if r.Applied || strings.Contains(r.Error, "s3cret") {
		t.Errorf("a mistake beside a password is answered by %+v", r)
	}
	for _, l := range lines {
		has(l, true)
	}

	start = time.Now()
	if r := e.extras(n1, "ip prefix-list operators seq 5 permit 198.51.100.0/24\n"); !r.Applied {
		t.Fatalf("refused: %+v", r)
	}
	e.extrasAre(n1, "1", func(x status.Extras) bool { return x.Applied && x.Error == "" })
	e.extrasEvent(since, "Normal", "RawConfigurationApplied", "node n1")
	t.Logf("removed after %v", time.Since(start).Round(time.Millisecond))
	has(lines[0], true)
	for _, l := range lines[1:] {
		has(l, false)
	}
	if r := e.extras(n1, ""); !r.Applied {
		t.Fatalf("refused: %+v", r)
	}
	has(lines[0], false)
	e.extrasAre(n1, "", nil)
	e.announced(route(addr))
	// bgpd was killed once; nothing else reset a session.
	for s, n := range e.connections() {
		if n > before[s] {
			t.Errorf("session %s was reset: %d times up, then %d", s, before[s], n)
		}
	}
	log, err := os.ReadFile(n1.LogFile("frr-n1"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(log), "s3cret") {
		t.Error("a password is in the log of herald-frr")
	}
}

// Raw configuration can have the nodes accept what routers announce, whether it is
// there before the peers are or comes after them. Nothing of it is passed on.
func TestSidecarExtrasAccept(t *testing.T) {
	e := newSidecarE2E(t, 1)
	n1 := e.Nodes[0]
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
		if err := e.ebgp.Inject(t.Context(), p, injectedHop(p)); err != nil {
			t.Fatal(err)
		}
	}
	accepted := func(what string, want bool) {
		t.Helper()
		e.eventually(what, func(ctx context.Context) error {
			have, err := n1.Routes()
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
			e.configure(allPeers + pools)
			e.established(e.ebgp, e.Nodes)
			accepted("nothing without", false)
		} else {
			e.configure("peers: []\n" + pools)
			e.established(e.ebgp, nil)
		}
		if r := e.extras(n1, accept); !r.Applied {
			t.Fatalf("refused: %+v", r)
		}
		e.configure(allPeers + pools)
		accepted(order+" the peers", true)
		addr := e.expose(lab.ServiceOptions{Name: "web-" + order})[0]
		e.announced(route(addr))
		paths, err := e.ibgp.Paths(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			if _, ok := routes[path.Prefix]; ok {
				t.Errorf("%s passed %s on", path.Peer, path.Prefix)
			}
		}
		if r := e.extras(n1, ""); !r.Applied {
			t.Fatalf("refused: %+v", r)
		}
		accepted("nothing again", false)
	}
}

// The metrics follow the sessions: a route that comes and goes, and BFD that the
// router takes away.
func TestSidecarMetrics(t *testing.T) {
	e := newSidecarE2E(t, 1)
	n1, r1 := e.Nodes[0], e.Router
	e.routerBFD("transmit-interval 100", "receive-interval 100")
	document := strings.NewReplacer(
		"peer-address: 10.10.0.254}", "peer-address: 10.10.0.254, bfd-profile: echo}",
		`peer-address: "fd00:10:10::254"}`, `peer-address: "fd00:10:10::254", bfd-profile: fast}`,
	).Replace(bgpPools("- {name: p, protocol: bgp, addresses: [192.0.2.0/26, 'fd00:192::/120']}\n"))
	e.configure(document + `bfd-profiles:
- {name: fast, receive-interval: 100, transmit-interval: 100}
- {name: echo, receive-interval: 100, transmit-interval: 100, echo-interval: 100, echo-mode: true}
`)
	// shows waits until each metric of a peer is as wanted: equal to the number, or
	// at least that with a plus sign behind it.
	shows := func(what string, want map[string]string) {
		t.Helper()
		e.eventually(what, func(ctx context.Context) error {
			page, err := n1.Sidecar.Get(ctx, "/metrics")
			if err != nil {
				return err
			}
			for name, value := range want {
				for peer, port := range map[string]string{r1.Addr4.String(): "10.10.0.254:179", r1.Addr6.String(): "[fd00:10:10::254]:179"} {
					if strings.HasPrefix(name, "bgp") {
						peer = port
					}
					line := fmt.Sprintf("\nmetallb_%s{peer=%q,vrf=\"default\"} ", name, peer)
					_, rest, ok := strings.Cut(page, line)
					text, _, _ := strings.Cut(rest, "\n")
					have, err := strconv.ParseFloat(text, 64)
					least, more := strings.CutSuffix(value, "+")
					number, _ := strconv.ParseFloat(least, 64)
					if !ok || err != nil || have < number || !more && have != number {
						return fmt.Errorf("%s of %s is %q, want %s", name, peer, text, value)
					}
				}
			}
			for _, line := range []string{`herald_frr_process_up{daemon="bgpd"} 1`, `herald_frr_withdrawn 0`} {
				if !strings.Contains(page, "\n"+line+"\n") {
					return fmt.Errorf("no line %s in\n%s", line, page)
				}
			}
			return nil
		})
	}
	shows("metrics without a Service", map[string]string{
		"bgp_session_up": "1", "bgp_announced_prefixes_total": "0", "bgp_received_prefixes_total": "0",
		"bgp_opens_sent": "1+", "bgp_opens_received": "1+", "bgp_keepalives_sent": "1+", "bgp_keepalives_received": "1+",
		"bgp_notifications_sent": "0+", "bgp_route_refresh_sent": "0+", "bgp_updates_total_received": "0+",
		"bfd_session_up": "1", "bfd_session_up_events": "1+", "bfd_session_down_events": "0+", "bfd_zebra_notifications": "0+",
		"bfd_control_packet_input": "1+", "bfd_control_packet_output": "1+", "bfd_echo_packet_input": "0+", "bfd_echo_packet_output": "0+",
	})
	e.eventually("echo packets", func(ctx context.Context) error {
		page, err := n1.Sidecar.Get(ctx, "/metrics")
		for _, name := range []string{"input", "output"} {
			if strings.Contains(page, "\nmetallb_bfd_echo_packet_"+name+`{peer="10.10.0.254",vrf="default"} 0`+"\n") {
				err = errors.Join(err, errors.New("no "+name))
			}
		}
		return err
	})
	for _, addr := range e.expose(lab.ServiceOptions{Name: "web", Families: []corev1.IPFamily{v4, v6}}) {
		e.announced(route(addr))
	}
	shows("metrics with a Service", map[string]string{
		"bgp_session_up": "1", "bgp_announced_prefixes_total": "1", "bgp_updates_total": "1+", "bgp_total_sent": "3+", "bgp_total_received": "2+",
	})
	if err := e.Cluster.DeleteService(t.Context(), e.namespace, "web"); err != nil {
		t.Fatal(err)
	}
	shows("metrics after it", map[string]string{"bgp_announced_prefixes_total": "0", "bgp_updates_total": "2+"})
	if _, err := r1.FRR.Vtysh(t.Context(), "configure terminal", "router bgp 64513", "no neighbor nodes bfd"); err != nil {
		t.Fatal(err)
	}
	shows("metrics without the router's BFD", map[string]string{"bfd_session_up": "0", "bfd_session_down_events": "1+"})
}

// When the pod ends, the peers have left before its sessions do, or keep its
// routes, as configured.
func TestSidecarStop(t *testing.T) {
	e := newSidecarE2E(t, 1, "--stop-wait=3s")
	n1 := e.Nodes[0]
	e.configure(bgpPools("- {name: p, protocol: bgp, addresses: [192.0.2.0/26]}"))
	addr := e.expose(lab.ServiceOptions{Name: "web"})[0]
	e.announced(route(addr))
	e.Agents[0].Stop()
	stopped := make(chan time.Time, 1)
	go func() {
		n1.Sidecar.Stop()
		stopped <- time.Now()
	}()
	var marked time.Time
	e.eventually("GSHUT at the peer", func(ctx context.Context) error {
		return hasCommunity(ctx, e.Router, route(addr), "graceful-shutdown")
	})
	marked = time.Now()
	end := <-stopped
	e.withdrawn(route(addr))
	t.Logf("marked %v before the end", end.Sub(marked).Round(time.Millisecond))
	if end.Sub(marked) < 2*time.Second {
		t.Errorf("the peers had %v to move traffic away, want about 3 s", end.Sub(marked))
	}
	// The next pod starts with empty folders.
	if err := n1.Sidecar.Empty(); err != nil {
		t.Fatal(err)
	}
	if err := n1.Sidecar.Start(); err != nil {
		t.Fatal(err)
	}
	if err := e.Agents[0].Start(); err != nil {
		t.Fatal(err)
	}
	e.announced(route(addr))
}

// A pod whose sessions have graceful restart ends without a word, and the next one
// takes up where it was: r1 forwards all the while.
func TestSidecarStopGracefulRestart(t *testing.T) {
	e := newSidecarE2E(t, 1)
	n1 := e.Nodes[0]
	r := &resourceTest{e2e: e}
	var err error
	if r.dynamic, err = dynamic.NewForConfig(e.Cluster.RESTConfig(lab.Admin)); err != nil {
		t.Fatal(err)
	}
	r.installCRDs()
	r.apply(routerPeer("four", "10.10.0.254", "enableGracefulRestart: true, connectTime: 1s") + "\n---\n" + `
{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: p}, spec: {addresses: [192.0.2.0/26]}}
---
{apiVersion: metallb.io/v1beta1, kind: BGPAdvertisement, metadata: {name: ad}}`)
	addr := e.expose(lab.ServiceOptions{Name: "web"})[0]
	e.inKernel(route(addr), e.Nodes)
	since := time.Now()
	stop := e.load(addr)
	e.Agents[0].Stop()
	n1.Sidecar.Stop()
	awaitStale(t, e.Router.FRR, route(addr))
	if err := errors.Join(n1.Sidecar.Empty(), n1.Sidecar.Start(), e.Agents[0].Start()); err != nil {
		t.Fatal(err)
	}
	awaitFresh(t, e.Router.FRR, route(addr))
	e.reached(addr)
	stop()
	if away := absence(e.routes.History(route(addr)), since); away > time.Millisecond {
		t.Errorf("r1 had no route for %v", away)
	}
}

// FRR's containers are replaced one after the other, while the agents stay, and
// then whole pods, as a DaemonSet does; and no request is lost. A pod that is ready
// announces again well before the DaemonSet goes on to the next.
func TestSidecarRolling(t *testing.T) {
	e := newSidecarE2E(t, 3)
	e.configure(bgpPools("- {name: p, protocol: bgp, addresses: [192.0.2.0/26]}"))
	addr := e.expose(lab.ServiceOptions{Name: "web"})[0]
	e.announced(route(addr))
	pace := minReady(t)
	stop := e.load(addr)
	replace := func(what string, n *lab.Node, end func(), start func() error) {
		t.Helper()
		begin := time.Now()
		end()
		ended := time.Now()
		if err := start(); err != nil {
			t.Fatal(err)
		}
		e.eventually(n.Name+" is ready", func(ctx context.Context) error {
			_, err1 := n.Sidecar.Get(ctx, "/readyz")
			_, err2 := e.Agent(n).Get(ctx, "/readyz")
			return errors.Join(err1, err2)
		})
		ready := time.Now()
		e.announced(route(addr))
		t.Logf("%s of %s: took leave for %v, ready after %v, announces after %v", what, n.Name, ended.Sub(begin).Round(time.Millisecond),
			ready.Sub(ended).Round(time.Millisecond), time.Since(ended).Round(time.Millisecond))
		if took := time.Since(ready); took > pace {
			t.Errorf("%s announces %v after it is ready; a DaemonSet goes on after %v", n.Name, took, pace)
		}
	}
	for i, n := range e.Nodes {
		pid := e.Agent(n).Process().PID()
		replace("FRR", n, func() {
			stopped := make(chan struct{})
			go func() {
				defer close(stopped)
				n.Sidecar.Stop()
			}()
			// What the agent is told to do meanwhile takes back nothing of the farewell.
			e.eventually("GSHUT at the peer", func(ctx context.Context) error {
				there, marked, err := e.pathOf(ctx, n, route(addr))
				if err == nil && !(there && marked) {
					err = fmt.Errorf("r1 has the path: %v, marked: %v", there, marked)
				}
				return err
			})
			other := e.expose(lab.ServiceOptions{Name: fmt.Sprintf("other-%d", i)})[0]
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if _, err := e.routes.Wait(ctx, route(other), time.Now(), lab.Present()); err != nil {
				t.Error(err)
			}
			for running := true; running; {
				if there, marked, err := e.pathOf(ctx, n, route(addr)); err != nil || there && !marked {
					t.Errorf("%v; r1 has the path of %s, marked: %v", err, n.Name, marked)
				}
				select {
				case <-stopped:
					running = false
				case <-time.After(100 * time.Millisecond):
				}
			}
		}, n.Sidecar.Start)
		if now := e.Agent(n).Process().PID(); now != pid {
			t.Errorf("the agent of %s is process %d, before %d", n.Name, now, pid)
		}
	}
	for _, n := range e.Nodes {
		replace("pod", n, func() {
			var both sync.WaitGroup
			both.Go(e.Agent(n).Stop)
			both.Go(n.Sidecar.Stop)
			both.Wait()
		}, func() error { return errors.Join(n.Sidecar.Empty(), n.Sidecar.Start(), e.Agent(n).Start()) })
	}
	stop()
}

// minReady returns how long a pod of the DaemonSet has to be ready before the next
// is replaced.
func minReady(t *testing.T) time.Duration {
	t.Helper()
	text, err := os.ReadFile("../deploy/herald.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "minReadySeconds: ")
	line, _, _ := strings.Cut(rest, "\n")
	seconds, err := strconv.Atoi(line)
	if !found || err != nil {
		t.Fatalf("no minReadySeconds in the manifest: %v", err)
	}
	return time.Duration(seconds) * time.Second
}

// pathOf reports whether r1 has a node's path of a route, and whether that is marked
// with the GRACEFUL_SHUTDOWN community.
func (e *e2e) pathOf(ctx context.Context, n *lab.Node, p netip.Prefix) (there, marked bool, err error) {
	out, err := e.Router.FRR.Vtysh(ctx, "show bgp ipv4 unicast "+p.String()+" json")
	if err != nil {
		return false, false, err
	}
	var r struct {
		Paths []struct {
			Community struct{ String string }
			Peer      struct{ PeerID netip.Addr }
		}
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		return false, false, err
	}
	for _, path := range r.Paths {
		if path.Peer.PeerID == n.Addr4 {
			return true, strings.Contains(path.Community.String, "graceful-shutdown"), nil
		}
	}
	return false, false, nil
}

// hasCommunity reports an error unless the router has the route with the
// community.
func hasCommunity(ctx context.Context, r *lab.Router, p netip.Prefix, community string) error {
	out, err := r.FRR.Vtysh(ctx, "show bgp ipv4 unicast "+p.String())
	if err == nil && !strings.Contains(out, community) {
		err = fmt.Errorf("no %s in %s", community, out)
	}
	return err
}
