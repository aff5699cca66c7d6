// SPDX-License-Identifier: Apache-2.0

package extras

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heraldlb/herald/frr/contract"
)

var quiet = slog.New(slog.DiscardHandler)

// A fakePrograms records what is run.
type fakePrograms struct {
	say func(line string) (string, error) // the programs' answers; nil: they succeed and print nothing

	mu    sync.Mutex // guards lines
	lines []string   // the programs that were run, with their arguments
}

func (p *fakePrograms) Group() int { return -1 }

func (p *fakePrograms) Output(_ context.Context, path string, args ...string) (string, error) {
	line := strings.Join(append([]string{path}, args...), " ")
	p.mu.Lock()
	p.lines = append(p.lines, line)
	say := p.say
	p.mu.Unlock()
	if say == nil {
		return "", nil
	}
	return say(line)
}

// ran returns what was run so far.
func (p *fakePrograms) ran() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.lines)
}

// eventually waits until check is true.
func eventually(t testing.TB, what string, check func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !check() {
		if time.Now().After(deadline) {
			t.Fatalf("not in 20 s: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// An applierRig is an Applier with programs that give prepared answers.
type applierRig struct {
	*Applier
	t    *testing.T
	host *fakePrograms
	etc  string
	run  string
	file string // what the last program that was given a file found there
}

func newApplierRig(t *testing.T) *applierRig {
	r := &applierRig{t: t, host: &fakePrograms{}, etc: t.TempDir(), run: t.TempDir()}
	r.Applier = NewApplier(ApplierOptions{Programs: r.host, EtcDir: r.etc, RunDir: r.run, DaemonDir: "/usr/lib/frr", Logger: quiet})
	if err := contract.CreateFile(filepath.Join(r.etc, contract.ConfFile), nil); err != nil {
		t.Fatal(err)
	}
	return r
}

// pass writes a text and returns the programs that were run for it, shortened,
// and the result.
func (r *applierRig) pass(text string, again bool) ([]string, contract.ExtrasResult) {
	r.t.Helper()
	if _, err := contract.WriteExtras(r.etc, []byte(text)); err != nil {
		r.t.Fatal(err)
	}
	before := len(r.host.ran())
	if err := r.Applier.pass(r.t.Context(), again); err != nil {
		r.t.Fatal(err)
	}
	var did []string
	for _, line := range r.host.ran()[before:] {
		f := strings.Fields(line)
		if strings.Contains(line, "frr-reload.py") {
			f = []string{"reload"}
		}
		did = append(did, strings.Join(slices.DeleteFunc(f, func(s string) bool { return strings.Contains(s, ".extras-") }), " "))
	}
	result, err := contract.ReadExtrasResult(r.etc)
	if err != nil {
		r.t.Fatal(err)
	}
	return did, result
}

// FRR gets nothing before the daemons run that the text needs: vtysh would leave out
// their lines, and say nothing.
func TestExtrasAwaitsDaemons(t *testing.T) {
	r := newApplierRig(t)
	calls := 0
	r.opts.Started = func(context.Context) {
		calls++
		text, err := contract.ReadExtras(r.etc)
		if err != nil || calls == 1 && string(text) != "bfd\n" {
			t.Errorf("daemons are started for %q, %v", text, err)
		}
		if ran := r.host.ran(); calls == 1 && len(ran) > 0 {
			t.Errorf("daemons are awaited after %q", ran)
		}
	}
	if did, result := r.pass("bfd\n", false); len(did) == 0 || !result.Applied || calls != 1 {
		t.Errorf("ran %q, result %+v, awaited %d times", did, result, calls)
	}
	r.pass("bfd\n", false)
	if calls != 1 {
		t.Errorf("awaited %d times, the second for nothing", calls)
	}
}

func TestExtras(t *testing.T) {
	r := newApplierRig(t)
	const (
		one = "ip prefix-list a seq 5 permit 192.0.2.0/24\n"
		two = one + "router bgp 64512\n neighbor 192.0.2.1 description x\nexit\n"
	)
	r.host.say = func(line string) (string, error) {
		f := strings.Fields(line)
		if path := f[len(f)-1]; strings.Contains(path, ".extras-") {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Error(err)
			}
			r.file = string(text)
		}
		if strings.Contains(line, "show running-config") {
			return "frr version 8.4.4\nhostname n1\n!\n" + two + "router bgp 64512\n neighbor 192.0.2.1 remote-as 64513\nexit\n", nil
		}
		return "", nil
	}
	check, apply, look := "vtysh -C -f", "vtysh -f", "vtysh -c show running-config"
	steps := []struct {
		name, text string
		again      bool
		want       []string
	}{
		{"nothing at all", "", false, nil},
		{"nothing, and a daemon was started", "", true, nil},
		{"the first line", one, false, []string{check, apply, look}},
		{"the same again", one, false, nil},
		{"a daemon was started", one, true, []string{check, apply, look}},
		{"more lines", two, false, []string{check, apply, look}},
		{"a line less", one, false, []string{check, look, "reload", "vtysh -b", apply, look}},
		{"no lines", "", false, []string{check, look, "reload", "vtysh -b", apply}},
		{"no lines still", "", true, nil},
	}
	for _, s := range steps {
		did, result := r.pass(s.text, s.again)
		if !slices.Equal(did, s.want) {
			t.Errorf("%s: ran %q, want %q", s.name, did, s.want)
		}
		if len(s.want) > 0 && (!result.Applied || result.Sum != contract.Sum([]byte(s.text)) || result.Error != "" || result.Remark != "") {
			t.Errorf("%s: %+v", s.name, result)
		}
	}
	if files, _ := os.ReadDir(r.run); len(files) > 0 {
		t.Errorf("%s is left", files[0].Name())
	}
}

// Lines that FRR shows differently, in another place or not at all are named.
func TestExtrasUnlike(t *testing.T) {
	r := newApplierRig(t)
	const running = "hostname n1\nrouter bgp 64512\n neighbor 192.0.2.1 description rack\n neighbor 192.0.2.1 password s3cret\n" +
		" !\n address-family ipv4 unicast\n  maximum-paths 8\n exit-address-family\nexit\nend\n"
	r.host.say = func(line string) (string, error) {
		if strings.Contains(line, "show running-config") {
			return running, nil
		}
		return "", nil
	}
	for text, want := range map[string]string{
		"hostname n1\nrouter bgp 64512\n neighbor 192.0.2.1 description rack\n address-family ipv4 unicast\n  maximum-paths 8\n": "",
		"router bgp 64512\n maximum-paths 8\n":                        "router bgp [redacted] / maximum-paths 8",
		"router bgp 64512\n neigh 192.0.2.1 desc rack\nhostname n1\n": "router bgp [redacted] / neigh 192.0.2.1 [redacted]",
		"router bgp 64512\nneighbor 192.0.2.1 description rack\n":     "neighbor 192.0.2.1 [redacted]",
		"router bgp 64512\n neighbor 192.0.2.9 password t0p\n":        "router bgp [redacted] / neighbor 192.0.2.9 [redacted]",
		"a\nb\nc\nd\ne\nf\ng\n":                                       "a, b, c, d, e, and 2 more",
	} {
		_, result := r.pass(text, false)
		if want != "" {
			want = "FRR does not show as they are written: " + want
		}
		if !result.Applied || result.Remark != want {
			t.Errorf("%q: %+v, want the remark %q", text, result, want)
		}
	}
}

// The reload script is given everything that FRR runs but the lines that go. A neighbor is
// activated after it has its route-maps.
func TestExtrasReload(t *testing.T) {
	r := newApplierRig(t)
	var given string
	r.host.say = func(line string) (string, error) {
		switch f := strings.Fields(line); {
		case strings.Contains(line, "show running-config"):
			return "frr version 8.4.4\nrouter bgp 64512\n neighbor 192.0.2.1 remote-as 64513\n neighbor 192.0.2.1 description x\n" +
				" address-family ipv4 unicast\n  network 198.51.100.1/32\n  neighbor 192.0.2.1 activate\n  neighbor 192.0.2.1 route-map out out\n exit-address-family\nexit\nend\n", nil
		case strings.Contains(line, "frr-reload.py"):
			text, err := os.ReadFile(f[len(f)-1])
			if err != nil {
				t.Error(err)
			}
			given = string(text)
		}
		return "", nil
	}
	r.pass("router bgp 64512\n neighbor 192.0.2.1 description x\nexit\n", false)
	r.pass("hostname n2\n", false)
	const want = "frr version 8.4.4\nrouter bgp 64512\n neighbor 192.0.2.1 remote-as 64513\n" +
		" address-family ipv4 unicast\n  network 198.51.100.1/32\n  neighbor 192.0.2.1 route-map out out\n  neighbor 192.0.2.1 activate\n exit-address-family\nexit\nhostname n2\n"
	if given != want {
		t.Errorf("given:\n%swant:\n%s", given, want)
	}
}

func TestExtrasRefused(t *testing.T) {
	r := newApplierRig(t)
	r.pass("hostname n1\n", false)
	mistake := "line 2: % Unknown command[4]: neighbor 192.0.2.1 pasword password s3cret"
	r.host.say = func(line string) (string, error) {
		if strings.Contains(line, "-C") {
			return mistake, errors.New("exit status 2")
		}
		return "", nil
	}
	did, result := r.pass("hostname n1\nneighbor 192.0.2.1 pasword password s3cret\n", false)
	if len(did) != 1 {
		t.Errorf("ran %q", did)
	}
	if result.Applied || !strings.Contains(result.Error, "line 2: % Unknown command") || strings.Contains(result.Error, "s3cret") {
		t.Errorf("%+v", result)
	}
	if string(r.applied) != "hostname n1\n" {
		t.Errorf("in force is %q", r.applied)
	}
	if applied, err := contract.ReadExtrasApplied(r.etc); err != nil || string(applied) != "hostname n1\n" {
		t.Errorf("left as in force is %q, %v", applied, err)
	}
	// A daemon that is started gets the text in force, from another herald-frr too.
	next := NewApplier(r.opts)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	before := len(r.host.ran())
	go func() { done <- next.Run(ctx) }()
	next.Reapply()
	eventually(t, "the text in force is given again", func() bool {
		ran := r.host.ran()[before:]
		return len(ran) == 2 && strings.HasPrefix(ran[0], "vtysh -C -f ") && strings.HasPrefix(ran[1], "vtysh -f ")
	})
	stop()
	if err := <-done; err != nil || string(next.applied) != "hostname n1\n" {
		t.Errorf("in force is %q, %v", next.applied, err)
	}
	// A text that FRR found valid and then did not apply is tried again.
	r.host.say = func(line string) (string, error) {
		if strings.HasPrefix(line, "vtysh -f") {
			return "", errors.New("exit status 1")
		}
		return "", nil
	}
	if _, result = r.pass("hostname n3\n", false); result.Applied || !r.failed {
		t.Errorf("%+v, to be tried again: %v", result, r.failed)
	}
	r.host.say = nil
	if _, result = r.pass("hostname n3\n", r.failed); !result.Applied || r.failed {
		t.Errorf("%+v, to be tried again: %v", result, r.failed)
	}
}

func TestExtrasRun(t *testing.T) {
	r := newApplierRig(t)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	// A text from before the watch began is applied with the first daemon.
	if _, err := contract.WriteExtras(r.etc, []byte("hostname n1\n")); err != nil {
		t.Fatal(err)
	}
	r.Reapply()
	in := func(text string) func() bool {
		return func() bool {
			result, _ := contract.ReadExtrasResult(r.etc)
			return result.Applied && result.Sum == contract.Sum([]byte(text))
		}
	}
	eventually(t, "the first text", in("hostname n1\n"))
	if _, err := contract.WriteExtras(r.etc, []byte("hostname n2\n")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the second text", in("hostname n2\n"))
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Nothing of a raw line beyond its second word gets out, whichever program fails and
// however it quotes the text, nor does a secret that is the second word.
func TestExtrasSecrets(t *testing.T) {
	const text = `key chain rip
 key 1
  key-string canary1
interface eth0
 ip ospf message-digest-key 1 md5 canary2
 ip ospf authentication-key canary3
router isis x
 area-password clear canary4
router bgp 64512
 neighbor 192.0.2.1 password canary5
 neighbor 192.0.2.1 description canary6 (canary7)
enable password canary8
snmp-server community canary9
`
	quotes := []string{
		"line 3: % Unknown command[10]:   key-string canary1",
		"line 5: Failure to communicate[13] to ospfd, line:  ip ospf message-digest-key 1 md5 canary2",
		"% Malformed value: canary3, 'canary4'",
		"2026-11-29 01:02:03,456 ERROR: Failed (('router bgp 64512', 'neighbor 192.0.2.1 password canary5'), (\"canary6\" (canary7))",
		"enable password canary8\nsnmp-server community canary9",
	}
	fail := ""
	r := newApplierRig(t)
	var logged strings.Builder
	r.opts.Logger = slog.New(slog.NewTextHandler(&logged, nil))
	quote := ""
	r.host.say = func(line string) (string, error) {
		switch {
		case strings.Contains(line, "show running-config"):
			return "hostname n1\n", nil
		case fail != "" && strings.Contains(line, fail):
			return quote, errors.New("exit status 2")
		}
		return "", nil
	}
	for _, program := range []string{"-C", "vtysh -f", "frr-reload.py", "vtysh -b", ""} {
		for i, q := range quotes {
			fail, quote = "", ""
			r.pass("hostname n1\n"+text, false)
			fail, quote = program, q
			_, result := r.pass(text+"! "+program+strings.Repeat("!", i)+"\n", false)
			if result.Applied != (program == "") || program == "" && result.Remark == "" {
				t.Errorf("%s: %+v", program, result)
			}
			if shown := result.Error + result.Remark + logged.String(); strings.Contains(shown, "canary") {
				t.Fatalf("%s: %s", program, shown)
			}
			if strings.Contains(result.Error, "2026-") {
				t.Errorf("%s: the time is in %s", program, result.Error)
			}
			if i == 0 && program == "-C" && result.Error != "refused: line 3: % Unknown command[10]:   key-string [redacted]" {
				t.Errorf("got %s", result.Error)
			}
		}
	}
}

// A result that cannot be written, because the disk is full, is written later.
func TestExtrasUnwritable(t *testing.T) {
	r := newApplierRig(t)
	taken := filepath.Join(r.etc, contract.ExtrasResultFile)
	if err := os.MkdirAll(filepath.Join(taken, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := contract.WriteExtras(r.etc, []byte("hostname n1\n")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := r.Applier.pass(t.Context(), false); err == nil || err.Error() != "write "+taken+": file exists" {
			t.Errorf("got %v", err)
		}
	}
	if err := os.RemoveAll(taken); err != nil {
		t.Fatal(err)
	}
	if _, result := r.pass("hostname n1\n", false); !result.Applied {
		t.Errorf("%+v", result)
	}
}
