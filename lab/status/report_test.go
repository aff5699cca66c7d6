// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/e2e"
	"github.com/heraldlb/herald/status"
)

// planted are passwords of configurations and routers. No report has them.
const (
	ours   = "pl4nted-ours"
	theirs = "pl4nted-theirs"
)

// reportOf reads /status of a daemon, which agrees with the published schema and shows no
// password.
func reportOf(t *testing.T, d *lab.Daemon) status.Report {
	t.Helper()
	page, err := d.Get(t.Context(), "/status")
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{ours, theirs} {
		if strings.Contains(page, secret) {
			t.Errorf("%s shows the password %s:\n%s", d.Name, secret, page)
		}
	}
	schema, err := jsonschema.NewCompiler().Compile("../../docs/status.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	instance, err := jsonschema.UnmarshalJSON(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(instance); err != nil {
		t.Errorf("%s: /status does not agree with its schema: %v\n%s", d.Name, err, page)
	}
	var r status.Report
	if err := json.Unmarshal([]byte(page), &r); err != nil {
		t.Fatal(err)
	}
	began := time.Since(r.Started)
	if r.SchemaVersion != status.SchemaVersion || time.Since(r.Now).Abs() > time.Minute || began < 0 || began > time.Hour || r.Version == "" || r.LogLevel == "" {
		t.Errorf("%s is version %q since %v, log level %q; its clock is %v, schema %d", d.Name, r.Version, r.Started, r.LogLevel, r.Now, r.SchemaVersion)
	}
	for _, w := range r.Watches {
		if w.State == "Listed" && time.Since(w.Heard) > 3*time.Minute {
			t.Errorf("%s has heard nothing of %s since %v", d.Name, w.Kind, w.Heard)
		}
	}
	if !slices.ContainsFunc(r.Watches, func(w status.Watch) bool { return w.Kind == "services" && w.State == "Listed" }) {
		t.Errorf("%s does not say how it reads Services: %+v", d.Name, r.Watches)
	}
	return r
}

// sessionTold fails the test unless an agent says of a session that went down and came up
// again when, why, and how both ends stand.
func sessionTold(e *e2e.Test, n *lab.Node, at netip.Addr, down time.Time) {
	e.T.Helper()
	r := reportOf(e.T, e.Agent(n))
	i := slices.IndexFunc(r.Peers, func(p status.Peer) bool { return p.Address == at })
	if i < 0 {
		e.T.Fatalf("%s has no peer %s: %+v", n.Name, at, r.Peers)
	}
	s := r.Peers[i].Session
	if !s.Up() || s.Since.Before(down) || !s.DownSince.IsZero() || s.Details == nil {
		e.T.Fatalf("the session of %s is %+v", n.Name, s)
	}
	d := s.Details
	if d.LocalASN != 64512 || d.RemoteASN != 64601 || d.LocalAddress != n.Addr4 || !d.LocalRouterID.IsValid() || !d.RemoteRouterID.IsValid() ||
		d.HoldTime != 6 || d.Keepalive != 2 || d.MD5 || len(d.Families) == 0 || !d.Families[0].Agreed || d.Families[0].Sent != 1 || d.Capabilities["4byteAs"] != status.CapabilityAgreed {
		e.T.Errorf("the session of %s has %+v", n.Name, *d)
	}
	if l := d.LastReset; l == nil || l.Error != "Hold Timer Expired" || l.At.Before(down.Add(-time.Minute)) {
		e.T.Errorf("the session of %s went down last: %+v", n.Name, l)
	}
	about := fmt.Sprintf("(%s)", at)
	fell := slices.IndexFunc(r.Changes, func(c status.Change) bool {
		return c.Kind == status.ChangeSession && strings.Contains(c.Subject, about) && c.Before == "Established" && c.After != "Established" && c.Cause == "Hold Timer Expired"
	})
	rose := slices.IndexFunc(r.Changes, func(c status.Change) bool {
		return c.Kind == status.ChangeSession && strings.Contains(c.Subject, about) && c.Before != "Established" && c.After == "Established" && !c.At.Before(down)
	})
	if fell < 0 || rose < 0 || rose > fell || r.Changes[fell].At.Before(down) || r.Changes[rose].Lasted < 1 {
		e.T.Errorf("%s says that the session fell (%d) and rose (%d, of which the newest is 0): %+v", n.Name, fell, rose, r.Changes)
	}
	if !slices.ContainsFunc(r.Decisions, func(d status.Decision) bool { return d.Announce && d.Since.After(r.Started) && d.Since.Before(r.Now) }) {
		e.T.Errorf("%s does not say since when it announces: %+v", n.Name, r.Decisions)
	}
	bgpd := r.FRR.Processes["bgpd"]
	if r.FRR.Version == "" || bgpd.Started.IsZero() || bgpd.Started.After(r.Now) {
		e.T.Errorf("FRR of %s is version %q, bgpd %+v", n.Name, r.FRR.Version, bgpd)
	}
	// A packet with a version may be lost: the next exchange of states has it.
	e.Eventually("members of "+n.Name, func(context.Context) error {
		for _, m := range reportOf(e.T, e.Agent(n)).Layer2.Members {
			if m.Version == "" || !m.Address.IsValid() || m.Node != n.Name && (m.Since.IsZero() || m.Started.IsZero()) {
				return fmt.Errorf("one is %+v", m)
			}
		}
		return nil
	})
}

// controllersTold fails the test unless both controllers say of a Service when it got its
// address, and which addresses are in use. One of them leads.
func controllersTold(e *e2e.Test, service string, addr netip.Addr) {
	e.T.Helper()
	leaders := map[string]int{}
	leading := 0
	for _, d := range e.Controllers {
		r := reportOf(e.T, d)
		leaders[r.Leader]++
		if r.Leading {
			leading++
		}
		used := 0
		for _, p := range r.Pools {
			used += p.InUseV4
		}
		if used == 0 {
			e.T.Errorf("%s, which leads: %v, says that no address is in use: %+v", d.Name, r.Leading, r.Pools)
		}
		if !slices.ContainsFunc(r.Changes, func(c status.Change) bool {
			return c.Kind == status.ChangeAddress && c.Subject == service && c.Before == "" && c.After == addr.String() && strings.Contains(c.Cause, "from pool p")
		}) {
			e.T.Errorf("%s does not say that %s got %s: %+v", d.Name, service, addr, r.Changes)
		}
	}
	if leading != 1 || len(leaders) != 1 || leaders[""] > 0 {
		e.T.Errorf("%d controllers lead; they say that these do: %v", leading, leaders)
	}
}
