// SPDX-License-Identifier: Apache-2.0

package sidecar

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/frr/conf"
	"github.com/heraldlb/herald/frr/vty"
)

var quiet = slog.New(slog.DiscardHandler)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

var fourDaemons = []string{"zebra", "staticd", "bfdd", "bgpd"}

// startSupervisor runs a supervisor, of which all daemons are needed, until the test or
// the function that it returns ends it.
func startSupervisor(t *testing.T, h *fakeHost, change func(*SupervisorOptions)) (*Supervisor, func()) {
	t.Helper()
	opts := SupervisorOptions{
		Host: h, Daemons: fourDaemons, DaemonDir: "/usr/lib/frr", RunDir: h.dir,
		Args: []string{"-P", "0"}, Own: map[string][]string{"bgpd": {"-p", "0"}},
		Hang: time.Minute, Stop: StopWithdraw, Logger: quiet,
	}
	if change != nil {
		change(&opts)
	}
	s := NewSupervisor(opts)
	for _, name := range conf.OnDemand {
		s.Need(name, true)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop := func() {
		t.Helper()
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			done <- nil
		case <-time.After(20 * time.Second):
			t.Fatal("the supervisor has not ended in 20 s")
		}
	}
	t.Cleanup(stop)
	return s, stop
}

// ready reports whether every daemon is that is needed.
func ready(s *Supervisor) bool {
	return !slices.ContainsFunc(s.Health(), func(h Health) bool { return !h.Ready && !h.Idle })
}

func TestSupervisorStarts(t *testing.T) {
	h := newFakeHost(t)
	s, stop := startSupervisor(t, h, nil)
	eventually(t, "all is ready", func() bool { return ready(s) })
	lines := h.ran()
	if lines[0] != "zebra -P 0" {
		t.Errorf("first was run %q, want zebra, which the others look for", lines[0])
	}
	for _, want := range []string{"bgpd -P 0 -p 0", "bfdd -P 0", "staticd -P 0", "vtysh -b -d bgpd", "vtysh -b -d zebra"} {
		if !slices.Contains(lines, want) {
			t.Errorf("%q was not run; these were: %q", want, lines)
		}
	}
	stop()
	for _, name := range fourDaemons {
		select {
		case <-h.process(name).ended:
		default:
			t.Errorf("%s runs after the end", name)
		}
	}
}

func TestSupervisorRestarts(t *testing.T) {
	h := newFakeHost(t)
	loaded := make(chan struct{}, 100)
	s, _ := startSupervisor(t, h, func(o *SupervisorOptions) { o.Loaded = func() { loaded <- struct{}{} } })
	eventually(t, "all is ready", func() bool { return ready(s) })
	for range fourDaemons {
		<-loaded
	}
	old := h.process("bgpd")
	old.end(errors.New("signal: segmentation fault"))
	eventually(t, "bgpd is started again", func() bool { return h.process("bgpd") != old && ready(s) })
	<-loaded // the operator's configuration follows
	if n := h.count("vtysh -b -d bgpd"); n != 2 {
		t.Errorf("frr.conf was loaded %d times into bgpd, want 2", n)
	}
	for _, c := range s.Health() {
		if want := map[bool]int{true: 1}[c.Name == "bgpd"]; c.Restarts != want {
			t.Errorf("%s was restarted %d times, want %d", c.Name, c.Restarts, want)
		}
	}
}

func TestSupervisorStartsWhatFailsAgain(t *testing.T) {
	h := newFakeHost(t)
	h.fails["zebra"] = errors.New("no memory")
	s, stop := startSupervisor(t, h, nil)
	eventually(t, "several attempts", func() bool { return h.count("zebra") > 2 })
	if h.count("bgpd") != 0 {
		t.Error("bgpd was started before zebra answered")
	}
	h.mu.Lock()
	delete(h.fails, "zebra")
	h.mu.Unlock()
	eventually(t, "all is ready", func() bool { return ready(s) })
	stop()
}

func TestSupervisorRestartsWhatHangs(t *testing.T) {
	h := newFakeHost(t)
	s, _ := startSupervisor(t, h, func(o *SupervisorOptions) { o.Hang = 100 * time.Millisecond })
	eventually(t, "all is ready", func() bool { return ready(s) })
	old := h.process("bfdd")
	old.deaf = true
	old.daemon.Hang(true)
	eventually(t, "bfdd is started again", func() bool { return h.process("bfdd") != old && ready(s) })
}

// A slowLoad is a host on which the loading of frr.conf into bgpd takes until it is
// canceled, and then some time to end.
type slowLoad struct {
	*fakeHost
	loading, ended chan struct{}
}

func (h *slowLoad) Output(ctx context.Context, path string, args ...string) (string, error) {
	if !slices.Contains(args, "bgpd") {
		return h.fakeHost.Output(ctx, path, args...)
	}
	close(h.loading)
	<-ctx.Done()
	time.Sleep(2 * firstRestart)
	close(h.ended)
	return "", nil
}

// A daemon that ends while frr.conf is being loaded into it is not started again
// before that has ended too: the new one would pass for loaded.
func TestSupervisorEndsLoadFirst(t *testing.T) {
	h := &slowLoad{newFakeHost(t), make(chan struct{}), make(chan struct{})}
	startSupervisor(t, h.fakeHost, func(o *SupervisorOptions) { o.Host = h })
	<-h.loading
	old := h.process("bgpd")
	old.end(errors.New("signal: segmentation fault"))
	h.mu.Lock()
	h.fails["bgpd"] = errors.New("no memory") // one load is enough
	h.mu.Unlock()
	starts := h.count("bgpd")
	eventually(t, "bgpd is to be started again", func() bool { return h.count("bgpd") > starts })
	select {
	case <-h.ended:
	default:
		t.Error("bgpd was started again while the load into the old one still ran")
	}
}

// get asks a supervisor's handler.
func get(s *Supervisor, path string) (int, string) {
	w := httptest.NewRecorder()
	NewHandler(s, prometheus.NewRegistry()).ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Code, w.Body.String()
}

// /livez and /readyz name each daemon; one that hangs fails both.
func TestHandler(t *testing.T) {
	h := newFakeHost(t)
	s, _ := startSupervisor(t, h, nil)
	eventually(t, "all is ready", func() bool { return ready(s) })
	page := func(path string) (int, string) { return get(s, path) }
	for _, path := range []string{"/livez", "/readyz"} {
		if code, text := page(path); code != http.StatusOK || text != "zebra: ok\nstaticd: ok\nbfdd: ok\nbgpd: ok\n" {
			t.Errorf("%s is %d: %s", path, code, text)
		}
	}
	h.process("bfdd").daemon.Hang(true)
	eventually(t, "bfdd is down", func() bool { return !s.daemons[2].health().Up })
	for _, path := range []string{"/livez", "/readyz"} {
		if code, text := page(path); code != http.StatusServiceUnavailable || !strings.Contains(text, "bfdd: no answer\nbgpd: ok\n") {
			t.Errorf("%s is %d with a daemon that hangs: %s", path, code, text)
		}
	}
}

func TestSupervisorWithdraws(t *testing.T) {
	h := newFakeHost(t)
	s, _ := startSupervisor(t, h, nil)
	eventually(t, "all is ready", func() bool { return ready(s) })
	page := func(path string) (int, string) { return get(s, path) }
	if code, _ := page("/readyz"); code != http.StatusOK {
		t.Errorf("/readyz says %d of daemons that are", code)
	}
	old := h.process("bgpd")
	s.Withdraw(true)
	<-old.ended
	eventually(t, "bgpd is down", func() bool { return !s.daemons[3].health().Up })
	if code, text := page("/livez"); code != http.StatusOK || !strings.Contains(text, "bgpd: stopped, no agent") {
		t.Errorf("/livez says %d: %s", code, text)
	}
	if code, _ := page("/readyz"); code != http.StatusServiceUnavailable {
		t.Errorf("/readyz says %d while all is withdrawn", code)
	}
	if h.process("bgpd") != old {
		t.Error("bgpd was started again")
	}
	s.Withdraw(false)
	eventually(t, "bgpd runs again", func() bool { return h.process("bgpd") != old && ready(s) })
}

func TestCanRestart(t *testing.T) {
	up := func(peer string, gr bool) frr.BGPCounters {
		return frr.BGPCounters{VRF: "default", Peer: peer, Up: true, GracefulRestart: gr}
	}
	down := frr.BGPCounters{VRF: "default", Peer: "192.0.2.9"}
	guard := []frr.BFDCounters{{VRF: "default", Peer: addr("192.0.2.1")}}
	tests := []struct {
		name string
		in   frr.Counters
		want share
	}{
		{"nobody", frr.Counters{}, noSessions},
		{"down", frr.Counters{BGP: []frr.BGPCounters{down}}, noSessions},
		{"one", frr.Counters{BGP: []frr.BGPCounters{up("192.0.2.1", true), down}}, all},
		{"not all", frr.Counters{BGP: []frr.BGPCounters{up("192.0.2.1", true), up("192.0.2.2", false)}}, some},
		{"with BFD", frr.Counters{BGP: []frr.BGPCounters{up("192.0.2.1", true)}, BFD: guard}, some},
		{"unnumbered with BFD", frr.Counters{BGP: []frr.BGPCounters{up("eth1", true)}, BFD: []frr.BFDCounters{{VRF: "default", Peer: addr("fe80::1"), Interface: "eth1"}}}, some},
		{"BFD not known", frr.Counters{BGP: []frr.BGPCounters{up("192.0.2.1", true)}, BFDError: vty.ErrUnavailable}, some},
		{"BFD of another", frr.Counters{BGP: []frr.BGPCounters{up("192.0.2.2", true)}, BFD: guard}, all},
	}
	for _, tt := range tests {
		if got := canRestart(tt.in); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// The peers get GSHUT before the sessions close. A bgpd that restarts gracefully sends
// nothing.
func TestStop(t *testing.T) {
	const (
		neighbors = `{"default":{"vrfId":0,"192.0.2.1":{"bgpState":"Established","gracefulRestartInfo":{"localGrMode":"LOCAL","remoteGrMode":"Helper"}}}}`
		none      = `{"default":{"vrfId":0}}`
	)
	restart := strings.Replace(neighbors, "LOCAL", "Restart", 1)
	helper := strings.Replace(neighbors, "LOCAL", "Helper*", 1)
	tests := []struct {
		name     string
		mode     StopMode
		sessions string
		hangs    string // a daemon
		idle     bool   // bfdd is not needed, and does not run
		marked   bool
		end      string // of bgpd
		says     string // in the log
	}{
		{"auto, all can restart", StopAuto, restart, "", false, false, "signal: killed", ""},
		{"auto, all can restart, without bfdd", StopAuto, restart, "", true, false, "signal: killed", ""},
		{"auto, not all can", StopAuto, helper, "", false, true, "", ""},
		{"auto, no session", StopAuto, none, "", false, false, "", ""},
		{"auto, bfdd hangs", StopAuto, restart, "bfdd", false, true, "", "no graceful restart: which sessions have BFD is not known"},
		{"auto, bgpd hangs", StopAuto, restart, "bgpd", false, false, "", "peers not warned"},
		{"gshut", StopGSHUT, restart, "", false, true, "", ""},
		{"gshut, bfdd hangs", StopGSHUT, restart, "bfdd", false, true, "", ""},
		{"graceful restart", StopGracefulRestart, helper, "", false, false, "signal: killed", ""},
		{"withdraw", StopWithdraw, restart, "", false, false, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newFakeHost(t)
			var log strings.Builder // a slog handler's writes are one after the other
			s, stop := startSupervisor(t, h, func(o *SupervisorOptions) {
				o.Stop, o.StopWait = tt.mode, time.Millisecond
				o.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
			})
			eventually(t, "all is ready", func() bool { return ready(s) })
			p := h.process("bgpd")
			p.daemon.Reply("show bgp vrf all neighbors json", tt.sessions, 0)
			h.process("bfdd").daemon.Reply("show bfd peers json", "[]", 0)
			h.process("bfdd").daemon.Reply("show bfd peers counters json", "[]", 0)
			if tt.idle {
				s.Need("bfdd", false)
				<-h.process("bfdd").ended
			}
			p.daemon.Do(t, "configure terminal", "router bgp 64512", "neighbor 192.0.2.1 remote-as 64513", "end")
			if tt.hangs != "" {
				h.process(tt.hangs).daemon.Hang(true)
			}
			stop()
			if marked := slices.Contains(p.daemon.Sent(), "bgp graceful-shutdown"); marked != tt.marked {
				t.Errorf("routes were marked: %v, want %v", marked, tt.marked)
			}
			if said := log.String(); !strings.Contains(said, tt.says) || tt.says == "" && said != "" {
				t.Errorf("the log says %q, want %q", said, tt.says)
			}
			var end string
			if p.err != nil {
				end = p.err.Error()
			}
			if end != tt.end {
				t.Errorf("bgpd ended by %q, want %q", end, tt.end)
			}
		})
	}
}
