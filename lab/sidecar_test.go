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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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

// readsBack waits until a node's agent has compared what bgpd runs with what it
// should, a moment after it applied something: it puts back the route that bgpd has
// lost meanwhile.
func (e *e2e) readsBack(n *lab.Node, lost netip.Addr) {
	e.t.Helper()
	_, err := n.FRR.Vtysh(e.t.Context(), "configure terminal", "router bgp 64512", "address-family ipv4 unicast", "no network "+route(lost).String())
	if err != nil {
		e.t.Fatal(err)
	}
	e.expose(lab.ServiceOptions{Name: "read-back"})
	e.eventually("the lost route is back", func(ctx context.Context) error {
		text, err := n.FRR.Vtysh(ctx, "show running-config")
		if err == nil && !strings.Contains(text, "network "+route(lost).String()) {
			err = errors.New("not yet")
		}
		return err
	})
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
	e.readsBack(n1, second)
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

func TestSidecarMetrics(t *testing.T) {
	e := newSidecarE2E(t, 1)
	n1 := e.Nodes[0]
	if _, err := e.Router.FRR.Vtysh(t.Context(), "configure terminal", "router bgp 64513", "neighbor nodes bfd"); err != nil {
		t.Fatal(err)
	}
	e.configure(strings.Replace(bgpPools("- {name: p, protocol: bgp, addresses: [192.0.2.0/26]}\n"), "peer-address: 10.10.0.254}", "peer-address: 10.10.0.254, bfd-profile: fast}", 1) +
		"bfd-profiles: [{name: fast, receive-interval: 100, transmit-interval: 100}]\n")
	addr := e.expose(lab.ServiceOptions{Name: "web"})[0]
	e.announced(route(addr))
	e.eventually("metrics", func(ctx context.Context) error {
		page, err := n1.Sidecar.Get(ctx, "/metrics")
		if err != nil {
			return err
		}
		for _, line := range []string{
			`metallb_bgp_session_up{peer="10.10.0.254:179",vrf="default"} 1`,
			`metallb_bgp_session_up{peer="[fd00:10:10::254]:179",vrf="default"} 1`,
			`metallb_bgp_announced_prefixes_total{peer="10.10.0.254:179",vrf="default"} 1`,
			`metallb_bgp_opens_sent{peer="10.10.0.254:179",vrf="default"} 1`,
			`metallb_bfd_session_up{peer="10.10.0.254",vrf="default"} 1`,
			`metallb_bfd_session_up_events{peer="10.10.0.254",vrf="default"} `,
			`herald_frr_process_up{daemon="bgpd"} 1`,
			`herald_frr_withdrawn 0`,
		} {
			if !strings.Contains(page, "\n"+line) {
				return fmt.Errorf("no line %s in\n%s", line, page)
			}
		}
		return nil
	})
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
