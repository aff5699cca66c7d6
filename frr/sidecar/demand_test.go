// SPDX-License-Identifier: Apache-2.0

package sidecar

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/heraldlb/herald/frr/contract"
)

// A demandRig is a Demand and the folder that it watches.
type demandRig struct {
	t          *testing.T
	host       *fakeHost
	dir        string
	supervisor *Supervisor
	demand     *Demand
}

// newDemandRig returns a rig in which nothing has been needed yet.
func newDemandRig(t *testing.T) *demandRig {
	r := &demandRig{t: t, host: newFakeHost(t), dir: t.TempDir()}
	r.supervisor, _ = startSupervisor(t, r.host, nil)
	r.demand = NewDemand(DemandOptions{Dir: r.dir, RunDir: r.host.dir, Supervisor: r.supervisor, Logger: quiet})
	eventually(t, "all is ready", func() bool { return ready(r.supervisor) })
	r.retire()
	r.runs("at first", "zebra", "bgpd")
	return r
}

func (r *demandRig) write(name, text string) {
	r.t.Helper()
	if err := contract.ReplaceFile(filepath.Join(r.dir, name), []byte(text)); err != nil {
		r.t.Fatal(err)
	}
}

// retire looks as after a time in which nothing has changed.
func (r *demandRig) retire() {
	r.demand.Look()
	r.demand.mu.Lock()
	for name := range r.demand.used {
		r.demand.last[name] = time.Now().Add(-linger)
	}
	r.demand.mu.Unlock()
	r.demand.retire(r.t.Context())
}

// runs waits until these daemons run and no others.
func (r *demandRig) runs(when string, names ...string) {
	r.t.Helper()
	want := make(map[string]bool)
	for _, name := range names {
		want[name] = true
	}
	eventually(r.t, when, func() bool {
		for _, h := range r.supervisor.Health() {
			if h.Up != want[h.Name] || h.Idle == want[h.Name] || h.Restarts != 0 {
				return false
			}
		}
		return true
	})
}

const profile = "bfd\n profile fast\n exit\nexit\n"

// A daemon runs while one of the texts needs it, and some time longer.
func TestDemand(t *testing.T) {
	r := newDemandRig(t)
	r.write(contract.ConfFile, "router bgp 64512\n neighbor 10.0.0.1 bfd\n")
	r.demand.Look()
	r.runs("a neighbor with BFD", "zebra", "bgpd", "bfdd")
	r.host.process("bfdd").daemon.Reply("show bfd peers json", "[\n]\n", 0)
	r.write(contract.ConfFile, "")
	r.demand.Look()
	r.demand.retire(t.Context())
	r.runs("just removed", "zebra", "bgpd", "bfdd")
	r.retire()
	r.runs("removed", "zebra", "bgpd")

	r.write(contract.ExtrasFile, "ip route 10.0.0.0/8 blackhole\n")
	r.demand.Look()
	r.runs("raw configuration with a static route", "zebra", "bgpd", "staticd")
	r.write(contract.ExtrasAppliedFile, "ip route 10.0.0.0/8 blackhole\n")
	r.write(contract.ExtrasFile, "")
	r.retire()
	r.runs("raw configuration is still in force", "zebra", "bgpd", "staticd")
	r.write(contract.ExtrasAppliedFile, profile)
	r.retire()
	r.runs("other raw configuration is in force", "zebra", "bgpd", "bfdd")
}

// Bfdd stays while it has sessions: the agent has yet to remove them.
func TestDemandOfSessions(t *testing.T) {
	r := newDemandRig(t)
	r.write(contract.ConfFile, profile)
	r.demand.Look()
	r.runs("a profile", "zebra", "bgpd", "bfdd")
	d := r.host.process("bfdd").daemon
	d.Reply("show bfd peers json", `[{"peer":"10.0.0.1","status":"up"}]`, 0)
	r.write(contract.ConfFile, "")
	r.retire()
	r.runs("a session", "zebra", "bgpd", "bfdd")
	d.Reply("show bfd peers json", "[]", 0)
	r.demand.retire(t.Context())
	r.runs("a session until just now", "zebra", "bgpd", "bfdd")
	r.retire()
	r.runs("no session", "zebra", "bgpd")
}

// A text that cannot be read stops nothing.
func TestDemandOfUnreadable(t *testing.T) {
	r := newDemandRig(t)
	r.write(contract.ConfFile, profile)
	r.demand.Look()
	r.runs("a profile", "zebra", "bgpd", "bfdd")
	if err := os.Remove(filepath.Join(r.dir, contract.ConfFile)); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(r.dir, contract.ConfFile), 0o755); err != nil {
		t.Fatal(err)
	}
	r.host.process("bfdd").daemon.Reply("show bfd peers json", "[]", 0)
	r.retire()
	r.runs("the text is a folder", "zebra", "bgpd", "bfdd")
}

// Files are noticed as they are replaced. Who has another text waits until the daemon
// has read frr.conf.
func TestDemandRun(t *testing.T) {
	r := newDemandRig(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.demand.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	r.write(contract.ConfFile, profile)
	r.runs("a profile", "zebra", "bgpd", "bfdd")

	r.write(contract.ExtrasFile, "ip route 10.0.0.0/8 blackhole\n")
	r.demand.Started(ctx)
	if h := r.supervisor.Health()[1]; h.Name != "staticd" || !h.Ready {
		t.Errorf("not started yet: %+v", h)
	}
	// It is not waited for one that cannot be started for ever.
	r.host.mu.Lock()
	r.host.fails["staticd"] = os.ErrPermission
	r.host.mu.Unlock()
	r.host.process("staticd").end(os.ErrClosed)
	short, end := context.WithTimeout(ctx, 50*time.Millisecond)
	defer end()
	eventually(t, "staticd is down", func() bool { return !r.supervisor.Health()[1].Up })
	r.demand.Started(short)
}

// Nothing is started any more once the daemons are being stopped.
func TestSupervisorStopsForGood(t *testing.T) {
	h := newFakeHost(t)
	s, stop := startSupervisor(t, h, nil)
	eventually(t, "all is ready", func() bool { return ready(s) })
	s.Need("staticd", false)
	s.Withdraw(true)
	eventually(t, "two are stopped", func() bool { return !s.child("staticd").health().Up && !s.child("bgpd").health().Up })
	stop()
	starts := h.count("staticd") + h.count("bgpd")
	s.Need("staticd", true)
	s.Withdraw(false)
	if s.Runs("staticd") || s.Runs("bgpd") || h.count("staticd")+h.count("bgpd") != starts {
		t.Error("a daemon is to run after the end")
	}
}

// Health says which daemons nothing needs, and is good without them.
func TestHandlerOfIdle(t *testing.T) {
	r := newDemandRig(t)
	for _, path := range []string{"/livez", "/readyz"} {
		if code, text := get(r.supervisor, path); code != 200 || text != "zebra: ok\nstaticd: not needed\nbfdd: not needed\nbgpd: ok\n" {
			t.Errorf("%s is %d: %s", path, code, text)
		}
	}
}
