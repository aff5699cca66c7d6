// SPDX-License-Identifier: Apache-2.0

package lab_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/client-go/dynamic"

	"github.com/heraldlb/herald/frr/contract"
	"github.com/heraldlb/herald/lab"
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

	e.probed()
	e.confined(e.Controllers[0], "65534", "", "dev", "herald-controller", "proc", "var")
	e.confined(e.Agents[0], "0", "2000", "dev", "etc", "herald-agent", "proc", "var") // NET_RAW
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
	if took < timeout-contract.HeartbeatInterval || took > timeout+5*time.Second {
		t.Errorf("withdrawn after %v, want %v to %v", took, timeout-contract.HeartbeatInterval, timeout+5*time.Second)
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

// When the pod ends, the peers have left before its sessions do, even if bfdd hangs
// just then.
func TestSidecarStop(t *testing.T) {
	e := newSidecarE2E(t, 1, "--stop-wait=3s")
	n1 := e.Nodes[0]
	e.configure(bgpPools("- {name: p, protocol: bgp, addresses: [192.0.2.0/26]}"))
	addr := e.expose(lab.ServiceOptions{Name: "web"})[0]
	e.announced(route(addr))
	e.Agents[0].Stop()
	if err := n1.Sidecar.Signal("bfdd", unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
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
//
// Acceptance: B006.
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
	refuse := e.refusals()
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

	// A pod that stops while no other node has a session with r1 waits for one.
	n1 := e.Nodes[0]
	e.configure("peers: [{my-asn: 64512, peer-asn: 64513, peer-address: 10.10.0.254}]\n" +
		"address-pools: [{name: p, protocol: bgp, addresses: [192.0.2.0/26]}]")
	refuse(e.Nodes[1:]...)
	e.inKernel(route(addr), e.Nodes[:1])
	pod := []*lab.Process{e.Agent(n1).Process(), n1.Sidecar.Process()}
	for _, p := range pod { // Stop would not wait for so long
		if err := p.Kill(unix.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	e.stays(5*time.Second, func() { e.inKernel(route(addr), e.Nodes[:1]) })
	refuse()
	e.inKernel(route(addr), e.Nodes[1:])
	for _, p := range pod {
		select {
		case <-p.Done():
		case <-time.After(patience):
			t.Error("the pod does not end")
		}
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
