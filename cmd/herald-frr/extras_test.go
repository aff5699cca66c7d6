// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/heraldlb/herald/frr/contract"
)

// An extrasRig is an extras with programs that are told what to answer.
type extrasRig struct {
	*extras
	t    *testing.T
	host *fakeHost
	etc  string
	file string // what the last program that was given a file found there
}

func newExtrasRig(t *testing.T) *extrasRig {
	r := &extrasRig{t: t, host: newFakeHost(t), etc: t.TempDir()}
	r.extras = newExtras(extrasOptions{Host: r.host, EtcDir: r.etc, RunDir: r.host.dir, DaemonDir: "/usr/lib/frr", Logger: quiet})
	if err := prepare(r.etc, fourDaemons, true); err != nil {
		t.Fatal(err)
	}
	return r
}

// pass writes a text and returns the programs that were run for it, shortened,
// and the result.
func (r *extrasRig) pass(text string, anew bool) ([]string, contract.ExtrasResult) {
	r.t.Helper()
	if _, err := contract.WriteExtras(r.etc, []byte(text)); err != nil {
		r.t.Fatal(err)
	}
	before := len(r.host.ran())
	if err := r.extras.pass(r.t.Context(), anew); err != nil {
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

func TestExtras(t *testing.T) {
	r := newExtrasRig(t)
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
		anew       bool
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
		did, result := r.pass(s.text, s.anew)
		if !slices.Equal(did, s.want) {
			t.Errorf("%s: ran %q, want %q", s.name, did, s.want)
		}
		if len(s.want) > 0 && (!result.Applied || result.Sum != contract.Sum([]byte(s.text)) || result.Error != "" || result.Remark != "") {
			t.Errorf("%s: %+v", s.name, result)
		}
	}
	if files, _ := os.ReadDir(r.host.dir); len(files) > 0 {
		t.Errorf("%s is left", files[0].Name())
	}
}

// Lines that FRR shows in other words, in another place or not at all are named.
func TestExtrasUnlike(t *testing.T) {
	r := newExtrasRig(t)
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
		"router bgp 64512\n maximum-paths 8\n":                        "router bgp 64512 / maximum-paths 8",
		"router bgp 64512\n neigh 192.0.2.1 desc rack\nhostname n1\n": "router bgp 64512 / neigh 192.0.2.1 desc rack",
		"router bgp 64512\nneighbor 192.0.2.1 description rack\n":     "neighbor 192.0.2.1 description rack",
		"router bgp 64512\n neighbor 192.0.2.9 password t0p\n":        "router bgp 64512 / neighbor 192.0.2.9 password [redacted]",
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

// The reload script is given everything that FRR runs but the lines that go.
func TestExtrasReload(t *testing.T) {
	r := newExtrasRig(t)
	var given string
	r.host.say = func(line string) (string, error) {
		switch f := strings.Fields(line); {
		case strings.Contains(line, "show running-config"):
			return "frr version 8.4.4\nrouter bgp 64512\n neighbor 192.0.2.1 remote-as 64513\n neighbor 192.0.2.1 description x\n" +
				" address-family ipv4 unicast\n  network 198.51.100.1/32\n exit-address-family\nexit\nend\n", nil
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
		" address-family ipv4 unicast\n  network 198.51.100.1/32\n exit-address-family\nexit\nhostname n2\n"
	if given != want {
		t.Errorf("given:\n%swant:\n%s", given, want)
	}
}

func TestExtrasRefused(t *testing.T) {
	r := newExtrasRig(t)
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
	// A daemon that is started is given what was in force, by another herald-frr too.
	next := newExtras(r.opts)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	before := len(r.host.ran())
	go func() { done <- next.run(ctx) }()
	next.again()
	eventually(t, "the text in force is given again", func() bool {
		ran := r.host.ran()[before:]
		return len(ran) == 2 && strings.HasPrefix(ran[0], "vtysh -C -f ") && strings.HasPrefix(ran[1], "vtysh -f ")
	})
	stop()
	if err := <-done; err != nil || string(next.applied) != "hostname n1\n" {
		t.Errorf("in force is %q, %v", next.applied, err)
	}
	// What FRR took for valid and then did not do is tried again.
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
	r := newExtrasRig(t)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.run(ctx) }()
	// What was there before the watch began comes with the first daemon.
	if _, err := contract.WriteExtras(r.etc, []byte("hostname n1\n")); err != nil {
		t.Fatal(err)
	}
	r.again()
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
