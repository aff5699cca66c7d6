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
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"github.com/heraldlb/herald/frr/contract"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
	"github.com/heraldlb/herald/lab/process"
)

// newSidecarE2E returns the Stack in which the agents and herald-frr run as the
// containers of their pod. The pods are new ones, with these arguments of herald-frr,
// there is no configuration, and r1 knows no neighbor. r1 runs the last version of FRR.
func newSidecarE2E(t *testing.T, args ...string) *e2e.Test {
	t.Helper()
	e := e2e.NewInPods(t)
	e.Resources().Clear(t.Context())
	for _, name := range []string{lab.HeraldConfigMap, "bgpextras"} {
		e.DropConfigMap(name)
	}
	var g errgroup.Group
	g.Go(func() error { return e.Router.FRR.Restart(t.Context()) }) // it would wait for sessions with graceful restart
	for _, n := range e.Nodes {
		n.Sidecar.Args = args
		g.Go(func() error {
			_ = e.Agent(n).Kill() // an error is that it has ended
			_ = n.Sidecar.Kill()
			if err := errors.Join(n.Sidecar.Empty(), n.Sidecar.Start()); err != nil {
				return err
			}
			return errors.Join(n.Sidecar.Ready(t.Context()), e.Agent(n).Start())
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	return e
}

// everyDaemon is the configuration of a node that needs all of FRR's daemons, together with
// staticRoute. Nobody answers the peer with BFD.
const everyDaemon = e2e.AllPeers + `- {my-asn: 64512, peer-asn: 64999, peer-address: 10.10.0.99, bfd-profile: fast}
bfd-profiles: [{name: fast}]
address-pools:
`

// staticRoute is raw configuration.
const staticRoute = "ip route 198.51.100.0/24 blackhole\n"

// exposeOn makes a Service that one node alone announces, and waits until it does.
func exposeOn(e *e2e.Test, n *lab.Node, name string) netip.Addr {
	e.T.Helper()
	addr := e.Expose(controlplane.ServiceOptions{Name: name + "-" + n.Name, Local: true}, n)[0]
	e.Announced(e2e.Route(addr), n)
	return addr
}

// The pod announces a Service, with the users and capabilities that it is meant
// to have, whichever of FRR's daemons is killed or hangs.
func TestSidecar(t *testing.T) {
	e := newSidecarE2E(t, "--hang-timeout=3s")
	e.Configure(everyDaemon + "- {name: p, protocol: bgp, addresses: [192.0.2.0/26]}\n" +
		"- {name: lan, protocol: layer2, addresses: [10.10.0.150-10.10.0.159], auto-assign: false}")
	for _, n := range e.Nodes {
		if r := extras(e, n, staticRoute); !r.Applied {
			t.Fatalf("raw configuration on %s: %+v", n.Name, r)
		}
	}
	web := e.Expose(controlplane.ServiceOptions{Name: "web"})[0]
	e.Announced(e2e.Route(web))
	e.Reached(web)
	lan := e.Expose(controlplane.ServiceOptions{Name: "lan", Annotations: map[string]string{"metallb.universe.tf/address-pool": "lan"}})[0]
	e.Eventually("answer on layer 2", func(ctx context.Context) error {
		_, err := e.LANClient.Get(ctx, "http://"+netip.AddrPortFrom(lan, 80).String()+"/")
		return err
	})

	probed(e)
	confined(e, e.Controllers[0], "65534", "", "dev", "herald-controller", "proc", "var")
	for _, a := range e.Agents {
		confined(e, a, "0", "2000", "dev", "etc", "herald-agent", "proc", "var") // NET_RAW
	}
	e.OnVersions(func(e *e2e.Test, n *lab.Node) {
		addr := exposeOn(e, n, "web")
		users, err := n.Sidecar.Users()
		if err != nil {
			e.T.Fatal(err)
		}
		for _, d := range n.FRR.Daemons() {
			uid, text, _ := strings.Cut(users[d], " ")
			caps, err := strconv.ParseUint(text, 16, 64)
			const allowed = 1<<unix.CAP_NET_BIND_SERVICE | 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_NET_RAW | 1<<unix.CAP_SYS_ADMIN
			if err != nil || uid == "0" || uid == "" || caps&^allowed != 0 {
				e.T.Errorf("%s runs as user %q with capabilities %q", d, uid, text)
			}
		}
		for _, d := range n.FRR.Daemons() {
			for _, sig := range []unix.Signal{unix.SIGKILL, unix.SIGSTOP} {
				pid := n.Sidecar.PID(d)
				start := time.Now()
				if err := n.Sidecar.Signal(d, sig); err != nil {
					e.T.Fatal(err)
				}
				e.Eventually(d+" is started again", func(ctx context.Context) error {
					if p := n.Sidecar.PID(d); p == pid || p == 0 {
						return fmt.Errorf("process %d", p)
					}
					_, err := n.Sidecar.Get(ctx, "/readyz")
					return err
				})
				e.Announced(e2e.Route(addr), n)
				e.T.Logf("%s after %v: ready and announced after %v", d, sig, time.Since(start).Round(time.Millisecond))
			}
		}
		exposeOn(e, n, "second")
	})
	e.Announced(e2e.Route(web))
}

func TestSidecarAgentTimeout(t *testing.T) {
	const timeout = 12 * time.Second // above the agent's interval
	e := newSidecarE2E(t, "--agent-timeout="+timeout.String())
	e.Configure(e2e.BGPPools("- {name: p, protocol: bgp, addresses: [192.0.2.0/26]}"))
	e.OnVersions(func(e *e2e.Test, n *lab.Node) {
		t := e.T
		addr := exposeOn(e, n, "web")

		since := time.Now()
		if err := e.Agent(n).Process().Kill(unix.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		e.InKernel(e2e.Route(addr), nil)
		took := time.Since(since)
		t.Logf("withdrawn %v after the agent was stopped", took.Round(time.Millisecond))
		if took < timeout-contract.HeartbeatInterval || took > timeout+5*time.Second {
			t.Errorf("withdrawn after %v, want %v to %v", took, timeout-contract.HeartbeatInterval, timeout+5*time.Second)
		}
		e.Withdrawn(e2e.Route(addr))
		// FRR lives, and waits.
		if page, err := n.Sidecar.Get(t.Context(), "/livez"); err != nil || !strings.Contains(page, "bgpd: stopped, no agent") {
			t.Errorf("/livez: %v: %s", err, page)
		}
		if page, err := n.Sidecar.Get(t.Context(), "/metrics"); err != nil || !strings.Contains(page, "\nherald_frr_withdrawn 1\n") {
			t.Errorf("/metrics: %v: %s", err, page)
		}
		// So it does when its container is started again.
		if err := n.Sidecar.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := n.Sidecar.Start(); err != nil {
			t.Fatal(err)
		}
		e.Eventually("FRR is up without bgpd", func(ctx context.Context) error {
			_, err := n.Sidecar.Get(ctx, "/livez")
			return err
		})
		if pid := n.Sidecar.PID("bgpd"); pid != 0 {
			t.Errorf("bgpd runs without an agent, as process %d", pid)
		}
		if err := e.Agent(n).Process().Kill(unix.SIGCONT); err != nil {
			t.Fatal(err)
		}
		e.Announced(e2e.Route(addr), n)
	})
}

// When the pod ends, the peers have left before its sessions do, even if bfdd hangs
// just then.
func TestSidecarStop(t *testing.T) {
	e := newSidecarE2E(t, "--stop-wait=3s")
	e.Configure(everyDaemon + "- {name: p, protocol: bgp, addresses: [192.0.2.0/26]}")
	e.OnVersions(func(e *e2e.Test, n *lab.Node) {
		t := e.T
		addr := exposeOn(e, n, "web")
		e.Eventually("bfdd runs", func(ctx context.Context) error {
			page, err := n.Sidecar.Get(ctx, "/readyz")
			if err == nil && !strings.Contains(page, "bfdd: ok") {
				err = errors.New(page)
			}
			return err
		})
		e.Agent(n).Stop()
		if err := n.Sidecar.Signal("bfdd", unix.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		stopped := make(chan time.Time, 1)
		go func() {
			n.Sidecar.Stop()
			stopped <- time.Now()
		}()
		var marked time.Time
		e.Eventually("GSHUT at the peer", func(ctx context.Context) error {
			return hasCommunity(ctx, e.Router, e2e.Route(addr), "graceful-shutdown")
		})
		marked = time.Now()
		end := <-stopped
		e.Withdrawn(e2e.Route(addr))
		t.Logf("marked %v before the end", end.Sub(marked).Round(time.Millisecond))
		if end.Sub(marked) < 2*time.Second {
			t.Errorf("the peers had %v to move traffic away, want about 3 s", end.Sub(marked))
		}
		// The next pod starts with empty folders.
		if err := errors.Join(n.Sidecar.Empty(), n.Sidecar.Start(), e.Agent(n).Start()); err != nil {
			t.Fatal(err)
		}
		e.Announced(e2e.Route(addr), n)
	})
}

// A pod whose sessions have graceful restart ends without a word, and the next one
// takes up where it was: r1 forwards all the while.
//
// Acceptance: B006.
func TestSidecarStopGracefulRestart(t *testing.T) {
	whole := newSidecarE2E(t)
	whole.Resources().Apply(e2e.RouterPeer("four", "10.10.0.254", "enableGracefulRestart: true, connectTime: 1s") + "\n---\n" + `
{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: p}, spec: {addresses: [192.0.2.0/26]}}
---
{apiVersion: metallb.io/v1beta1, kind: BGPAdvertisement, metadata: {name: ad}}`)
	whole.OnVersions(func(e *e2e.Test, n *lab.Node) {
		t := e.T
		addr := e.Expose(controlplane.ServiceOptions{Name: "web-" + n.Name, Local: true}, n)[0]
		e.InKernel(e2e.Route(addr), []*lab.Node{n})
		since := time.Now()
		stop := e.LoadOf(100, addr, n)
		e.Agent(n).Stop()
		n.Sidecar.Stop()
		e2e.AwaitStale(t, e.Router.FRR, e2e.Route(addr))
		if err := errors.Join(n.Sidecar.Empty(), n.Sidecar.Start(), e.Agent(n).Start()); err != nil {
			t.Fatal(err)
		}
		e2e.AwaitFresh(t, e.Router.FRR, e2e.Route(addr))
		e.Reached(addr, n)
		stop()
		if away := e2e.Absence(e.Routes.History(e2e.Route(addr)), since); away > time.Millisecond {
			t.Errorf("r1 had no route for %v", away)
		}
	})
}

// FRR's containers are replaced one after the other, while the agents stay, and
// then whole pods, as a DaemonSet does; and no request is lost. A pod that is ready
// announces again well before the DaemonSet goes on to the next.
func TestSidecarRolling(t *testing.T) {
	e := newSidecarE2E(t)
	refuse := e.Refusals()
	e.Configure(e2e.BGPPools("- {name: p, protocol: bgp, addresses: [192.0.2.0/26]}"))
	addr := e.Expose(controlplane.ServiceOptions{Name: "web"})[0]
	e.Announced(e2e.Route(addr))
	e.Connections() // the route may be there by some of the sessions alone
	pace := minReady(t)
	stop := e.Load(addr)
	replace := func(what string, n *lab.Node, end func(), start func() error) {
		t.Helper()
		begin := time.Now()
		end()
		ended := time.Now()
		if err := start(); err != nil {
			t.Fatal(err)
		}
		e.Eventually(n.Name+" is ready", func(ctx context.Context) error {
			_, err1 := n.Sidecar.Get(ctx, "/readyz")
			_, err2 := e.Agent(n).Get(ctx, "/readyz")
			return errors.Join(err1, err2)
		})
		ready := time.Now()
		e.Announced(e2e.Route(addr))
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
			e.Eventually("GSHUT at the peer", func(ctx context.Context) error {
				there, marked, err := pathOf(e, ctx, n, e2e.Route(addr))
				if err == nil && !(there && marked) {
					err = fmt.Errorf("r1 has the path: %v, marked: %v", there, marked)
				}
				return err
			})
			other := e.Expose(controlplane.ServiceOptions{Name: fmt.Sprintf("other-%d", i)})[0]
			ctx, cancel := context.WithTimeout(t.Context(), e2e.Patience)
			defer cancel()
			if _, err := e.Routes.Wait(ctx, e2e.Route(other), time.Now(), lab.Present()); err != nil {
				t.Error(err)
			}
			for running := true; running; {
				if there, marked, err := pathOf(e, ctx, n, e2e.Route(addr)); err != nil || there && !marked {
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
	e.Configure("peers: [{my-asn: 64512, peer-asn: 64513, peer-address: 10.10.0.254}]\n" +
		"address-pools: [{name: p, protocol: bgp, addresses: [192.0.2.0/26]}]")
	refuse(e.Nodes[1:]...)
	e.InKernel(e2e.Route(addr), e.Nodes[:1])
	for _, n := range e.Nodes[1:] { // their agents look every 2 s, and then say so to n1's
		e.Eventually(n.Name+" knows that it has no session", func(ctx context.Context) error {
			p, err := e.PeerOf(ctx, n, e.Router.Addr4)
			if err == nil && p.Session.Up() {
				err = errors.New("it has one")
			}
			return err
		})
	}
	time.Sleep(time.Second)
	pod := []*process.Process{e.Agent(n1).Process(), n1.Sidecar.Process()}
	for _, p := range pod { // Stop would not wait for so long
		if err := p.Kill(unix.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	e.Stays(5*time.Second, func() { e.InKernel(e2e.Route(addr), e.Nodes[:1]) })
	refuse()
	e.InKernel(e2e.Route(addr), e.Nodes[1:])
	for _, p := range pod {
		select {
		case <-p.Done():
		case <-time.After(e2e.Patience):
			t.Error("the pod does not end")
		}
	}
	stop()
}

// minReady returns how long a pod of the DaemonSet has to be ready before the next
// is replaced.
func minReady(t *testing.T) time.Duration {
	t.Helper()
	text, err := os.ReadFile("../../deploy/herald.yaml")
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
func pathOf(e *e2e.Test, ctx context.Context, n *lab.Node, p netip.Prefix) (there, marked bool, err error) {
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

// probed asks each container for what the manifest has the kubelet ask it for.
func probed(e *e2e.Test) {
	e.T.Helper()
	pods := e2e.ReadPods(e.T)
	probe := func(d *lab.Daemon, pod *corev1.PodSpec, name string) {
		e.T.Helper()
		c, err := lab.Container(pod, name)
		if err != nil {
			e.T.Fatal(err)
		}
		e.Eventually("probes of "+name, func(ctx context.Context) error { return d.Probes(ctx, c) })
	}
	probe(e.Controllers[0], &pods.Controller, "controller")
	for _, n := range e.Nodes {
		probe(e.Agent(n), &pods.Agent, "agent")
		probe(&n.Sidecar.Daemon, &pods.Agent, "frr")
	}
}

// confined checks who a program is and what it may do: its user, its groups, its
// capabilities, and the folders that it sees.
func confined(e *e2e.Test, d *lab.Daemon, uid, capabilities string, folders ...string) {
	e.T.Helper()
	see, err := d.Confinement()
	if err != nil {
		e.T.Fatal(err)
	}
	slices.Sort(folders)
	want := lab.Confinement{User: uid, Capabilities: capabilities, NoNewPrivileges: true, ReadOnly: true, Root: folders}
	if diff := cmp.Diff(want, see); diff != "" {
		e.T.Errorf("%s is confined otherwise (-want +got):\n%s", d.Name, diff)
	}
}
