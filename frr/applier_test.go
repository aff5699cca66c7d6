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
	"github.com/heraldlb/herald/frr/conf"
	"github.com/heraldlb/herald/frr/frrtest"
	"github.com/heraldlb/herald/frr/vty"
)

// wantedConf needs all three daemons. The line numbers matter to the tests in which
// a line is refused.
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
	f := fakeFRR{frrtest.Dir(t), frrtest.New("zebra"), frrtest.New("bfdd"), frrtest.New("bgpd")}
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

// inForce fails the test unless FRR runs text.
func (f fakeFRR) inForce(t testing.TB, text string) {
	t.Helper()
	for i, name := range conf.Daemons {
		running := conf.Parse(f.daemons()[i].Config())
		if commands := conf.Diff(running, conf.Parse(text).For(name)); len(commands) > 0 {
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
		if err := a.Apply(t.Context(), frr.PlainText([]byte(s.conf))); err != nil {
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
	if err := newApplier(t, f).Apply(t.Context(), frr.PlainText([]byte(wantedConf))); err != nil {
		t.Fatal(err)
	}
	f.sent()
	if err := newApplier(t, f).Apply(t.Context(), frr.PlainText([]byte(wantedConf))); err != nil {
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
	err := a.Apply(t.Context(), frr.PlainText([]byte(wantedConf)))
	var rejected *vty.CommandError
	if !errors.As(err, &rejected) || !errors.Is(err, vty.ErrRejected) || errors.Is(err, vty.ErrUnavailable) {
		t.Fatalf("got %v, want a rejection alone", err)
	}
	want := vty.CommandError{
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
	if err := a.Apply(t.Context(), frr.PlainText([]byte(wantedConf))); err != nil {
		t.Fatal(err)
	}
	wantSent := []string{"configure terminal", "router bgp 64512", "neighbor 192.0.2.1 password s3cr3t", "end"}
	if sent := f.sent(); !slices.Equal(sent, wantSent) {
		t.Errorf("sent %q, want %q", sent, wantSent)
	}
}

// TestApplyRejectedContext makes FRR refuse to enter a context. The commands for that
// context must not reach the outer one.
func TestApplyRejectedContext(t *testing.T) {
	f := startFRR(t)
	f.bgpd.Refuse(func(c string) string {
		if c == "address-family ipv4 unicast" {
			return "% Not here"
		}
		return ""
	})
	err := newApplier(t, f).Apply(t.Context(), frr.PlainText([]byte(wantedConf)))
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
	err := a.Apply(t.Context(), frr.PlainText([]byte(wantedConf)))
	if !errors.Is(err, vty.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want ErrUnavailable after the deadline", err)
	}
	want := map[string]bool{"zebra": true, "bfdd": false, "bgpd": true}
	if diff := cmp.Diff(want, a.State().Up); diff != "" {
		t.Errorf("Up (-want +got):\n%s", diff)
	}
	f.bfdd.Hang(false)
	if err := a.Apply(t.Context(), frr.PlainText([]byte(wantedConf))); err != nil {
		t.Errorf("after the hang: %v", err)
	}
	f.inForce(t, wantedConf)
}

func TestApplyWithoutNeedlessDaemon(t *testing.T) {
	f := startFRR(t)
	f.bfdd.Stop()
	text, _, _ := strings.Cut(wantedConf, "bfd\n profile")
	a := newApplier(t, f)
	if err := a.Apply(t.Context(), frr.PlainText([]byte(text))); err != nil {
		t.Errorf("without BFD wanted: %v", err)
	}
	if err := a.Apply(t.Context(), frr.PlainText([]byte(wantedConf))); !errors.Is(err, vty.ErrUnavailable) {
		t.Errorf("with BFD wanted: got %v, want ErrUnavailable", err)
	}
}

func TestApplyAfterDaemonRestart(t *testing.T) {
	f := startFRR(t)
	a := newApplier(t, f)
	if err := a.Apply(t.Context(), frr.PlainText([]byte(wantedConf))); err != nil {
		t.Fatal(err)
	}
	f.bgpd.Stop()
	f.bgpd.Clear()
	f.bgpd.Start(t, f.dir)
	if err := a.Apply(t.Context(), frr.PlainText([]byte(onePrefix(2)))); err != nil {
		t.Fatal(err)
	}
	f.inForce(t, onePrefix(2))
}

func TestConfFile(t *testing.T) {
	f := startFRR(t)
	path := filepath.Join(t.TempDir(), "frr.conf")
	a := frr.New(frr.Options{RunDir: f.dir, ConfPath: path})
	for _, text := range []string{wantedConf, onePrefix(2)} {
		if err := a.Apply(t.Context(), frr.PlainText([]byte(text))); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(text, string(got)); diff != "" {
			t.Errorf("frr.conf (-want +got):\n%s", diff)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v, want 0640", info.Mode(), err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("%d other files than frr.conf, %v, want none", len(entries)-1, err)
	}
}

func TestConfFileUnwritable(t *testing.T) {
	f := startFRR(t)
	a := frr.New(frr.Options{RunDir: f.dir, ConfPath: filepath.Join(t.TempDir(), "absent", "frr.conf")})
	err := a.Apply(t.Context(), frr.PlainText([]byte(wantedConf)))
	if !errors.Is(err, os.ErrNotExist) || errors.Is(err, vty.ErrUnavailable) {
		t.Errorf("got %v, want that the folder does not exist", err)
	}
	f.inForce(t, wantedConf)
	if s := a.State(); !s.Applied || s.Err != nil || !errors.Is(s.Unsaved, os.ErrNotExist) {
		t.Errorf("state %+v, want that FRR runs the text, and that it is not saved", s)
	}
}

// Lines that the operator has added stay, even where Herald would remove others.
func TestApplierLeavesExtras(t *testing.T) {
	const added = "router bgp 64512\n neighbor 192.0.2.1 description rack 7\n neighbor 192.0.2.1 remote-as 64513\nexit\n"
	for _, extras := range []string{"", added} {
		f := startFRR(t)
		f.bgpd.Do(t, "configure terminal", "router bgp 64512", "neighbor 192.0.2.1 remote-as 64513",
			"neighbor 192.0.2.1 description rack 7", "neighbor 192.0.2.1 passive", "end")
		a := frr.New(frr.Options{RunDir: f.dir, Extras: func() []byte { return []byte(extras) }})
		if err := a.Apply(t.Context(), frr.PlainText([]byte(wantedConf))); err != nil {
			t.Fatal(err)
		}
		running := f.bgpd.Config()
		if has := strings.Contains(running, "description rack 7"); has != (extras != "") {
			t.Errorf("extras %q: the line is there: %v", extras, has)
		}
		if strings.Contains(running, "neighbor 192.0.2.1 passive") {
			t.Errorf("extras %q: a line is there that is in neither text", extras)
		}
		f.inForce(t, wantedConf+extras)
	}
}

// A node that announces only on layer 2 needs no FRR.
func TestApplierWithoutFRR(t *testing.T) {
	const layer2 = "frr defaults traditional\nhostname n1\nip nht resolve-via-default\nipv6 nht resolve-via-default\n"
	a := frr.New(frr.Options{RunDir: t.TempDir()})
	_ = a.Apply(t.Context(), frr.PlainText([]byte(layer2)))
	if s := a.State(); !s.Applied || s.Err != nil || len(s.Up) > 0 {
		t.Errorf("with nothing to route: %+v", s)
	}
	_ = a.Apply(t.Context(), frr.PlainText([]byte(layer2+"router bgp 64512\nexit\n")))
	if s := a.State(); s.Applied || s.Up["bgpd"] || s.Up["zebra"] || len(s.Up) != 2 {
		t.Errorf("with routes: %+v", s)
	}
}
