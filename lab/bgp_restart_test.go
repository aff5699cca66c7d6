// SPDX-License-Identifier: Apache-2.0

package lab_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/render"
)

// r1 holds what a node announced while the node's bgpd is gone, if the session
// has graceful restart and that was there when it was opened.
//
// Acceptance: B028, B029.
func TestBGPGracefulRestart(t *testing.T) { versionsAtOnce(t, testBGPGracefulRestart) }

func testBGPGracefulRestart(t *testing.T, v lab.Version) {
	lab.Need(t, network...)
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
	routed(t, routes, "announced", service, time.Now(), lab.Via(n1.Addr4))
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
	if mode := restartMode(t, top.Router.FRR, n1.Addr4); mode != "Restart" {
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
	for _, prefix := range []netip.Prefix{service, service6} {
		if _, err := routes.Wait(deadline(t), prefix, time.Now(), lab.Present()); err != nil {
			t.Fatal(err)
		}
	}
	gone := time.Now()
	if err := n1.FRR.Kill("bgpd"); err != nil {
		t.Fatal(err)
	}
	awaitStale(t, top.Router.FRR, service)
	if err := n1.FRR.Start(deadline(t)); err != nil {
		t.Fatal(err)
	}
	s.session(n1, peerAt(p.Address), established)
	awaitFresh(t, top.Router.FRR, service)
	for _, prefix := range []netip.Prefix{service, service6} {
		if away := absence(routes.History(prefix), gone); away > time.Millisecond {
			t.Errorf("r1 had no route to %s for %v while bgpd restarted", prefix, away)
		}
	}

	// Over IPv6 r1 is told the same.
	q := config.Peer{Name: "r1-6", MyASN: 64512, PeerASN: 64513, Address: top.Router.Addr6, ConnectTime: new(time.Second), GracefulRestart: true}
	s.configure(config.Config{Peers: []config.Peer{p, q}})
	s.session(n1, peerAt(q.Address), established)
	if mode := restartMode(t, top.Router.FRR, n1.Addr6); mode != "Restart" {
		t.Errorf("r1 sees graceful restart mode %q over IPv6, want Restart", mode)
	}

	// Without it the routes go with bgpd.
	p.GracefulRestart = false
	s.configure(config.Config{Peers: []config.Peer{p}})
	s.session(n1, peerAt(p.Address), established)
	routed(t, routes, "without graceful restart", service, time.Now(), lab.Via(n1.Addr4))
	gone = time.Now()
	if err := n1.FRR.Kill("bgpd"); err != nil {
		t.Fatal(err)
	}
	routed(t, routes, "bgpd killed", service, gone, lab.Absent())
	if err := n1.FRR.Start(deadline(t)); err != nil {
		t.Fatal(err)
	}
}

// absence returns how long a route was not there since a time, in all. r1's zebra
// replaces an IPv6 route by removing it and adding another: that takes the kernel
// some microseconds.
func absence(history []lab.RouteChange, since time.Time) time.Duration {
	var sum time.Duration
	for i, c := range history {
		if c.Present || c.Time.Before(since) {
			continue
		}
		until := time.Now()
		if i+1 < len(history) {
			until = history[i+1].Time
		}
		sum += until.Sub(c.Time)
	}
	return sum
}

// restartMode returns how a router sees its neighbor's graceful restart.
func restartMode(t *testing.T, f *lab.FRR, neighbor netip.Addr) string {
	t.Helper()
	info, _ := neighborJSON(t, f, neighbor.String())["gracefulRestartInfo"].(map[string]any)
	mode, _ := info["remoteGrMode"].(string)
	return mode
}

// awaitStale waits until a router holds a route of a session that has ended.
func awaitStale(t *testing.T, f *lab.FRR, p netip.Prefix) { t.Helper(); awaitPath(t, f, p, true) }

// awaitFresh waits until the route is one of a session again.
func awaitFresh(t *testing.T, f *lab.FRR, p netip.Prefix) { t.Helper(); awaitPath(t, f, p, false) }

func awaitPath(t *testing.T, f *lab.FRR, p netip.Prefix, stale bool) {
	t.Helper()
	ctx := deadline(t)
	for {
		out, err := f.Vtysh(ctx, fmt.Sprintf("show bgp ipv4 unicast %s json", p))
		if err != nil {
			t.Fatal(err)
		}
		var route struct {
			Paths []struct {
				Stale bool `json:"stale"`
			} `json:"paths"`
		}
		if err := json.Unmarshal([]byte(out), &route); err != nil {
			t.Fatal(err)
		}
		if len(route.Paths) == 1 && route.Paths[0].Stale == stale {
			return
		}
	}
}
