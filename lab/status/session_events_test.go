// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
)

// What becomes of a session is told as events of the Node, once, with FRR's
// reason; and is in the agent's status.
func TestSessionEvents(t *testing.T) {
	e := e2e.New(t)
	nodes, selectors := e.VersionNodes("match-labels")
	var routers []*lab.GoBGP
	for i, opts := range []lab.GoBGPOptions{
		{Name: "comes", ASN: 64601, Listen: []netip.Addr{netip.MustParseAddr("10.10.0.203")}},
		{Name: "other-as", ASN: 64602, Listen: []netip.Addr{netip.MustParseAddr("10.10.0.204")}},
		{Name: "other-password", ASN: 64603, Listen: []netip.Addr{netip.MustParseAddr("10.10.0.205")}, Password: theirs},
	} {
		opts.HoldTime, opts.Peers = 6*time.Second, e2e.Addrs4(nodes)
		g, err := e.StartGoBGP(t.Context(), opts)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if routers[i] != nil {
				routers[i].Stop()
			}
		})
		routers = append(routers, g)
	}
	comes, at := routers[0], routers[0].Addrs[0]
	start := time.Now()
	on := "node-selectors: " + selectors + "}\n"
	e.Configure(e2e.AllPeers + "- {my-asn: 64512, peer-asn: 64601, peer-address: 10.10.0.203, hold-time: 6s, keepalive-time: 2s, " + on +
		"- {my-asn: 64512, peer-asn: 64999, peer-address: 10.10.0.204, " + on +
		"- {my-asn: 64512, peer-asn: 64603, peer-address: 10.10.0.205, password: " + ours + ", " + on + `
address-pools:
- {name: p, protocol: bgp, addresses: [203.0.113.224/28]}
`)
	addr := e.Expose(controlplane.ServiceOptions{Name: "web"})[0]
	e.InKernel(e2e.Route(addr), e.Nodes)
	tell := func(since time.Time, words ...string) {
		t.Helper()
		for _, n := range nodes {
			e.NodeEvent(n, since, words...)
		}
	}
	tell(start, "Normal BGPSessionUp", "(10.10.0.203) is up")

	// An agent that starts has no news of what goes on as before.
	for _, n := range nodes {
		if err := e.Agent(n).Restart(); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range nodes {
		e.Eventually("session in the status of "+n.Name, func(ctx context.Context) error {
			p, err := e.PeerOf(ctx, n, at)
			if err == nil && (!p.Session.Up() || p.Session.PrefixesSent != 1 || p.Session.Since.Before(start.Add(-time.Minute))) {
				err = fmt.Errorf("it is %+v", p.Session)
			}
			return err
		})
	}

	// It is frozen: nothing is heard of it until the hold time is over.
	frozen := time.Now()
	if err := comes.Process().Kill(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		e.NodeEvent(n, frozen, "Warning BGPSessionDown", "(10.10.0.203) is down after ", "Hold Timer Expired")
		if p, err := e.PeerOf(t.Context(), n, at); err != nil || p.Session.Up() || p.Session.LastError != "Hold Timer Expired" {
			t.Errorf("%v: the session of %s is %+v", err, n.Name, p.Session)
		}
	}
	thawed := time.Now()
	if err := comes.Process().Kill(unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	tell(thawed, "Normal BGPSessionUp", "(10.10.0.203) is up after ")
	for _, n := range nodes {
		sessionTold(e, n, at, frozen)
	}
	controllersTold(e, e.Namespace+"/web", addr)

	// It goes, and another one takes its place.
	gone := time.Now()
	if err := comes.Stop(); err != nil {
		t.Fatal(err)
	}
	routers[0] = nil
	tell(gone, "Warning BGPSessionDown", "(10.10.0.203) is down after ")
	back := time.Now()
	again, err := e.StartGoBGP(t.Context(), lab.GoBGPOptions{Name: "comes-again", ASN: 64601, Listen: []netip.Addr{at}, Peers: e2e.Addrs4(nodes)})
	if err != nil {
		t.Fatal(err)
	}
	routers[0] = again
	tell(back, "Normal BGPSessionUp", "(10.10.0.203) is up after ")

	// Those that cannot come up say why.
	tell(start, "Warning BGPSessionNotUp", "(10.10.0.204) is not up after ", "Bad Peer AS")
	tell(start, "Warning BGPSessionNotUp", "(10.10.0.205) is not up after ")

	for _, n := range nodes {
		all, err := e.NodeEvents(t.Context(), n, start)
		if err != nil {
			t.Fatal(err)
		}
		count := map[string]int{}
		for _, ev := range all {
			if strings.Contains(ev, "(10.10.0.203)") {
				count[strings.Join(strings.Fields(ev)[:2], " ")]++
			}
		}
		if count["Normal BGPSessionUp"] != 3 || count["Warning BGPSessionDown"] != 2 || len(count) != 2 {
			t.Errorf("events of %s about %s: %v, want 3 of it coming up and 2 of it going down\n%s", n.Name, at, count, strings.Join(all, "\n"))
		}
	}
}

// A new password on both sides resets the sessions that it is for, and no others,
// while agent and FRR go on; the agent says so.
func TestSessionPassword(t *testing.T) {
	e := e2e.New(t)
	at := []netip.Addr{netip.MustParseAddr("10.10.0.206"), netip.MustParseAddr("fd00:10:10::206")}
	var peers []netip.Addr
	for _, n := range e.Nodes {
		peers = append(peers, n.Addr4, n.Addr6)
	}
	var router *lab.GoBGP
	rekey := func(password string) {
		t.Helper()
		if router != nil {
			if err := router.Stop(); err != nil {
				t.Fatal(err)
			}
		}
		var err error
		router, err = e.StartGoBGP(t.Context(), lab.GoBGPOptions{Name: "rekeyed-" + password, ASN: 64601, Listen: at, Peers: peers, Password: password})
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if router != nil {
			router.Stop()
		}
	})
	configure := func(password string) {
		t.Helper()
		e.Configure(e2e.AllPeers + fmt.Sprintf(`- {my-asn: 64512, peer-asn: 64601, peer-address: 10.10.0.206, password: %[1]s}
- {my-asn: 64512, peer-asn: 64601, peer-address: "fd00:10:10::206", password: %[1]s}
address-pools:
- {name: p, protocol: bgp, addresses: [203.0.113.208/28]}
`, password))
	}
	rekey("f1rst")
	configured := time.Now()
	configure("f1rst")
	addr := e.Expose(controlplane.ServiceOptions{Name: "web"})[0]
	e.Announced(e2e.Route(addr))
	e.Learned(router, e2e.Route(addr), e.Nodes)
	for _, n := range e.Nodes {
		e.NodeEvent(n, configured, "Normal BGPSessionUp", "(10.10.0.206)")
	}
	before := e.Connections()
	pids := map[string]int{}
	for _, n := range e.Nodes {
		pids[n.Name] = e.Agent(n).Process().PID()
	}
	stop := e.Load(addr)

	start := time.Now()
	configure("s3cond")
	e.Established(router, nil)
	for _, n := range e.Nodes {
		e.NodeEvent(n, start, "Warning BGPSessionDown", "(10.10.0.206)")
	}
	rekey("s3cond")
	rekeyed := time.Now()
	e.Learned(router, e2e.Route(addr), e.Nodes)
	t.Logf("announced again %v after the router has the password", time.Since(rekeyed).Round(100*time.Millisecond))
	for _, n := range e.Nodes {
		e.NodeEvent(n, rekeyed, "Normal BGPSessionUp", "(10.10.0.206)")
	}
	stop()
	for name, now := range e.Connections() {
		want := before[name]
		if _, peer, _ := strings.Cut(name, " to "); peer == at[0].String() || peer == at[1].String() {
			want++
		}
		if now != want {
			t.Errorf("the session of %s was established %d times, then %d, want %d", name, before[name], now, want)
		}
	}
	for _, n := range e.Nodes {
		if pid := e.Agent(n).Process().PID(); pid != pids[n.Name] {
			t.Errorf("the agent of %s is another process", n.Name)
		}
		log, err := os.ReadFile(e.LogFile("agent-" + n.Name))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(log), `msg="session reset" component=frr peer=10.10.0.206 reason="its password changes"`) {
			t.Errorf("the agent of %s does not say that it resets a session", n.Name)
		}
		if strings.Contains(string(log), "s3cond") {
			t.Errorf("the password is in the log of the agent of %s", n.Name)
		}
	}
}
