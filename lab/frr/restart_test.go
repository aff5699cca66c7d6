// SPDX-License-Identifier: Apache-2.0

package frr_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/e2e"
	"github.com/heraldlb/herald/render"
)

// r1 holds what a node announced while the node's bgpd is gone, if the session
// has graceful restart and that was there when it was opened.
//
// Acceptance: B028, B029.
func TestBGPGracefulRestart(t *testing.T) { e2e.VersionsAtOnce(t, testBGPGracefulRestart) }

func testBGPGracefulRestart(t *testing.T, v lab.Version) {
	lab.Need(t, e2e.Network...)
	top := lab.New(t, lab.Options{Nodes: 1, FRRRoot: v.Root})
	n1 := top.Nodes[0]
	s := newSessionTest(t, top, n1)
	p := config.Peer{Name: "r1", MyASN: 64512, PeerASN: 64513, Address: top.Router.Addr4, ConnectTime: new(time.Second)}
	p.DualStack = true
	routes, err := top.Router.WatchRoutes()
	if err != nil {
		t.Fatal(err)
	}
	defer routes.Close()

	s.configure(config.Config{Peers: []config.Peer{p}})
	e2e.Routed(t, routes, "announced", e2e.Service, time.Now(), lab.Via(n1.Addr4))
	first := s.session(n1, peerAt(p.Address), established)
	if strings.Contains(s.log.String(), "session reset") {
		t.Errorf("log of a first configuration: %s", s.log.String())
	}

	// A change of it resets the session, once, and is in the log.
	p.GracefulRestart = true
	s.configure(config.Config{Peers: []config.Peer{p}})
	after := s.session(n1, peerAt(p.Address), func(f frr.Session) error {
		if err := established(f); err != nil {
			return err
		}
		if f.Established == first.Established {
			return errors.New("it was not reset")
		}
		return nil
	})
	if after.Established != first.Established+1 {
		t.Errorf("session established %d times, then %d", first.Established, after.Established)
	}
	if want := `msg="session reset" peer=10.10.0.254 reason="graceful restart changes"`; strings.Count(s.log.String(), want) != 1 {
		t.Errorf("log has not once %q:\n%s", want, s.log.String())
	}
	if mode := e2e.RestartMode(t, top.Router.FRR, n1.Addr4); mode != "Restart" {
		t.Errorf("r1 sees graceful restart mode %q, want Restart", mode)
	}
	s.configure(config.Config{Peers: []config.Peer{p}})
	if f := s.session(n1, peerAt(p.Address), established); f.Established != after.Established {
		t.Error("the same configuration again reset the session")
	}

	// bgpd goes and comes, and r1 forwards all the while.
	text, err := render.FRR(s.decide(n1, config.Config{Peers: []config.Peer{p}}).BGP)
	if err != nil {
		t.Fatal(err)
	}
	if err := n1.FRR.Configure(text); err != nil {
		t.Fatal(err)
	}
	for _, prefix := range []netip.Prefix{e2e.Service, e2e.Service6} {
		if _, err := routes.Wait(e2e.Deadline(t), prefix, time.Now(), lab.Present()); err != nil {
			t.Fatal(err)
		}
	}
	gone := time.Now()
	if err := n1.FRR.Kill("bgpd"); err != nil {
		t.Fatal(err)
	}
	e2e.AwaitStale(t, top.Router.FRR, e2e.Service)
	if err := n1.FRR.Start(e2e.Deadline(t)); err != nil {
		t.Fatal(err)
	}
	s.session(n1, peerAt(p.Address), established)
	e2e.AwaitFresh(t, top.Router.FRR, e2e.Service)
	for _, prefix := range []netip.Prefix{e2e.Service, e2e.Service6} {
		if away := e2e.Absence(routes.History(prefix), gone); away > time.Millisecond {
			t.Errorf("r1 had no route to %s for %v while bgpd restarted", prefix, away)
		}
	}

	// Over IPv6 r1 is told the same.
	q := config.Peer{Name: "r1-6", MyASN: 64512, PeerASN: 64513, Address: top.Router.Addr6, ConnectTime: new(time.Second), GracefulRestart: true}
	s.configure(config.Config{Peers: []config.Peer{p, q}})
	s.session(n1, peerAt(q.Address), established)
	if mode := e2e.RestartMode(t, top.Router.FRR, n1.Addr6); mode != "Restart" {
		t.Errorf("r1 sees graceful restart mode %q over IPv6, want Restart", mode)
	}

	// Without it the routes go with bgpd.
	p.GracefulRestart = false
	s.configure(config.Config{Peers: []config.Peer{p}})
	s.session(n1, peerAt(p.Address), established)
	e2e.Routed(t, routes, "without graceful restart", e2e.Service, time.Now(), lab.Via(n1.Addr4))
	gone = time.Now()
	if err := n1.FRR.Kill("bgpd"); err != nil {
		t.Fatal(err)
	}
	e2e.Routed(t, routes, "bgpd killed", e2e.Service, gone, lab.Absent())
	if err := n1.FRR.Start(e2e.Deadline(t)); err != nil {
		t.Fatal(err)
	}
}
