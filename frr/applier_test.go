// SPDX-License-Identifier: Apache-2.0

package frr_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/frr/frrtest"
)

// wantedConf needs all three daemons. The line numbers matter to the tests that
// have a line refused.
const wantedConf = `hostname n1
ip nht resolve-via-default
route-map herald-class-a permit 10
 set tag 1
exit
router bgp 64512
 no bgp default ipv4-unicast
 neighbor 192.0.2.1 remote-as 64513
 neighbor 192.0.2.1 password s3cr3t
 neighbor 192.0.2.1 bfd profile fast
 !
 address-family ipv4 unicast
  network 198.51.100.1/32 route-map herald-class-a
  neighbor 192.0.2.1 activate
 exit-address-family
exit
bfd
 profile fast
  receive-interval 150
 exit
exit
`

// onePrefix returns wantedConf with one prefix more.
func onePrefix(n int) string {
	return strings.Replace(wantedConf, "  network ", fmt.Sprintf("  network 198.51.100.%d/32 route-map herald-class-a\n  network ", n), 1)
}

// A fakeFRR is one fake of each daemon.
type fakeFRR struct {
	dir               string
	zebra, bfdd, bgpd *frrtest.Daemon
}

func startFRR(t testing.TB) fakeFRR {
	t.Helper()
	f := fakeFRR{socketDir(t), frrtest.New("zebra"), frrtest.New("bfdd"), frrtest.New("bgpd")}
	for _, d := range f.daemons() {
		d.Start(t, f.dir)
	}
	return f
}

func (f fakeFRR) daemons() []*frrtest.Daemon { return []*frrtest.Daemon{f.zebra, f.bfdd, f.bgpd} }

// sent returns the commands that changed something, of all daemons.
func (f fakeFRR) sent() []string {
	var all []string
	for _, d := range f.daemons() {
		all = append(all, d.Sent()...)
	}
	return slices.DeleteFunc(all, func(c string) bool {
		return c == "enable" || strings.HasPrefix(c, "show ")
	})
}

// inForce fails the test unless FRR runs conf.
func (f fakeFRR) inForce(t testing.TB, conf string) {
	t.Helper()
	for i, name := range frr.Daemons {
		running := frr.Parse(f.daemons()[i].Config())
		if commands := frr.Diff(running, frr.Parse(conf).For(name)); len(commands) > 0 {
			t.Errorf("%s does not run what is wanted: %v", name, commands)
		}
	}
}

func newApplier(t testing.TB, f fakeFRR) *frr.Applier {
	t.Helper()
	return frr.New(frr.Options{RunDir: f.dir, Timeout: 5 * time.Second})
}

func TestApply(t *testing.T) {
	f := startFRR(t)
	a := newApplier(t, f)
	steps := []struct {
		name string
		conf string
		want []string // commands sent
	}{
		{"the first", wantedConf, nil},
		{"the same", wantedConf, []string{}},
		{"one prefix", onePrefix(2), []string{
			"configure terminal", "router bgp 64512", "address-family ipv4 unicast",
			"network 198.51.100.2/32 route-map herald-class-a", "end",
		}},
		{"the prefix goes", wantedConf, []string{
			"configure terminal", "router bgp 64512", "address-family ipv4 unicast",
			"no network 198.51.100.2/32 route-map herald-class-a", "end",
		}},
	}
	for _, s := range steps {
		if err := a.Apply(t.Context(), []byte(s.conf)); err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		sent := f.sent()
		if s.want != nil && !slices.Equal(sent, s.want) {
			t.Errorf("%s: sent %q, want %q", s.name, sent, s.want)
		}
		f.inForce(t, s.conf)
		if st := a.State(); !st.Applied || st.Err != nil || st.AppliedAt.IsZero() {
			t.Errorf("%s: state %+v, want applied", s.name, st)
		}
	}
	if diff := cmp.Diff(map[string]bool{"zebra": true, "bfdd": true, "bgpd": true}, a.State().Up); diff != "" {
		t.Errorf("Up (-want +got):\n%s", diff)
	}
	if n := f.bgpd.Sessions(); n != 1 {
		t.Errorf("%d connections to bgpd, want 1", n)
	}
}

func TestApplyAfterAgentRestart(t *testing.T) {
	f := startFRR(t)
	if err := newApplier(t, f).Apply(t.Context(), []byte(wantedConf)); err != nil {
		t.Fatal(err)
	}
	f.sent()
	if err := newApplier(t, f).Apply(t.Context(), []byte(wantedConf)); err != nil {
		t.Fatal(err)
	}
	if sent := f.sent(); len(sent) > 0 {
		t.Errorf("a new Applier sent %q to an FRR that runs it already", sent)
	}
}

func TestApplyRejectedLine(t *testing.T) {
	f := startFRR(t)
	f.bgpd.Refuse(func(c string) string {
		if strings.HasPrefix(c, "neighbor 192.0.2.1 password") {
			return "% Invalid: " + c
		}
		return ""
	})
	a := newApplier(t, f)
	err := a.Apply(t.Context(), []byte(wantedConf))
	var rejected *frr.CommandError
	if !errors.As(err, &rejected) || !errors.Is(err, frr.ErrRejected) || errors.Is(err, frr.ErrUnavailable) {
		t.Fatalf("got %v, want a rejection alone", err)
	}
	want := frr.CommandError{
		Daemon:  "bgpd",
		Line:    9,
		Command: "neighbor 192.0.2.1 password [redacted]",
		Output:  "% Invalid: neighbor 192.0.2.1 password [redacted]",
	}
	if diff := cmp.Diff(want, *rejected); diff != "" {
		t.Errorf("rejection (-want +got):\n%s", diff)
	}
	f.inForce(t, strings.Replace(wantedConf, " neighbor 192.0.2.1 password s3cr3t\n", "", 1))
	if st := a.State(); st.Applied || st.Err == nil || strings.Contains(st.Err.Error(), "s3cr3t") || !st.Up["bgpd"] {
		t.Errorf("state %+v, want not applied, bgpd up, no password", st)
	}

	// Only the line that is missing is sent again.
	f.bgpd.Refuse(nil)
	f.sent()
	if err := a.Apply(t.Context(), []byte(wantedConf)); err != nil {
		t.Fatal(err)
	}
	wantSent := []string{"configure terminal", "router bgp 64512", "neighbor 192.0.2.1 password s3cr3t", "end"}
	if sent := f.sent(); !slices.Equal(sent, wantSent) {
		t.Errorf("sent %q, want %q", sent, wantSent)
	}
}

// TestApplyRejectedContext has the way into a context refused: what is for it
// must not reach the context around it.
func TestApplyRejectedContext(t *testing.T) {
	f := startFRR(t)
	f.bgpd.Refuse(func(c string) string {
		if c == "address-family ipv4 unicast" {
			return "% Not here"
		}
		return ""
	})
	err := newApplier(t, f).Apply(t.Context(), []byte(wantedConf))
	if err == nil || !strings.Contains(err.Error(), "bgpd: line 12: address-family ipv4 unicast: % Not here") {
		t.Errorf("got %v, want the refused head of the context", err)
	}
	for _, c := range f.sent() {
		if strings.HasPrefix(c, "network ") {
			t.Errorf("sent %q outside of its context", c)
		}
	}
}

func TestApplyHang(t *testing.T) {
	f := startFRR(t)
	f.bfdd.Hang(true)
	a := frr.New(frr.Options{RunDir: f.dir, Timeout: time.Second})
	err := a.Apply(t.Context(), []byte(wantedConf))
	if !errors.Is(err, frr.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want ErrUnavailable after the deadline", err)
	}
	want := map[string]bool{"zebra": true, "bfdd": false, "bgpd": true}
	if diff := cmp.Diff(want, a.State().Up); diff != "" {
		t.Errorf("Up (-want +got):\n%s", diff)
	}
	f.bfdd.Hang(false)
	if err := a.Apply(t.Context(), []byte(wantedConf)); err != nil {
		t.Errorf("after the hang: %v", err)
	}
	f.inForce(t, wantedConf)
}

func TestApplyWithoutNeedlessDaemon(t *testing.T) {
	f := startFRR(t)
	f.bfdd.Stop()
	conf, _, _ := strings.Cut(wantedConf, "bfd\n profile")
	a := newApplier(t, f)
	if err := a.Apply(t.Context(), []byte(conf)); err != nil {
		t.Errorf("without BFD wanted: %v", err)
	}
	if err := a.Apply(t.Context(), []byte(wantedConf)); !errors.Is(err, frr.ErrUnavailable) {
		t.Errorf("with BFD wanted: got %v, want ErrUnavailable", err)
	}
}

func TestApplyAfterDaemonRestart(t *testing.T) {
	f := startFRR(t)
	a := newApplier(t, f)
	if err := a.Apply(t.Context(), []byte(wantedConf)); err != nil {
		t.Fatal(err)
	}
	f.bgpd.Stop()
	f.bgpd.Clear()
	f.bgpd.Start(t, f.dir)
	if err := a.Apply(t.Context(), []byte(onePrefix(2))); err != nil {
		t.Fatal(err)
	}
	f.inForce(t, onePrefix(2))
}

func TestConfFile(t *testing.T) {
	f := startFRR(t)
	path := filepath.Join(t.TempDir(), "frr.conf")
	a := frr.New(frr.Options{RunDir: f.dir, ConfPath: path})
	for _, conf := range []string{wantedConf, onePrefix(2)} {
		if err := a.Apply(t.Context(), []byte(conf)); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(conf, string(got)); diff != "" {
			t.Errorf("frr.conf (-want +got):\n%s", diff)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v, want 0640", info.Mode(), err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("%d files beside frr.conf, %v, want none", len(entries)-1, err)
	}
}

func TestConfFileUnwritable(t *testing.T) {
	f := startFRR(t)
	a := frr.New(frr.Options{RunDir: f.dir, ConfPath: filepath.Join(t.TempDir(), "absent", "frr.conf")})
	err := a.Apply(t.Context(), []byte(wantedConf))
	if !errors.Is(err, os.ErrNotExist) || errors.Is(err, frr.ErrUnavailable) {
		t.Errorf("got %v, want that the folder does not exist", err)
	}
	f.inForce(t, wantedConf) // FRR itself is well
}
