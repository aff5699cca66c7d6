// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/l2/members"
)

func TestReadKeys(t *testing.T) {
	keys := func(secrets ...string) (out string) {
		for _, s := range secrets {
			out += string(members.Key(s))
		}
		return out
	}
	for _, tt := range []struct {
		name  string
		files map[string]string // nil: no directory is named
		want  string
		err   string // %s is the directory
	}{
		{"no directory", nil, "", ""},
		{"a key", map[string]string{keyFile: "abc\n"}, keys("abc"), ""},
		{"two keys", map[string]string{keyFile: "new", previousFile: "old\n"}, keys("new", "old"), ""},
		{"the same key twice", map[string]string{keyFile: "abc", previousFile: "abc\n"}, keys("abc"), ""},
		{"no key", map[string]string{}, "", "open %s/secretkey: no such file or directory: put the key of gossip into secretkey of the Secret"},
		{"an empty key", map[string]string{keyFile: " \n"}, "", "%s/secretkey is empty: put the key of gossip into secretkey of the Secret"},
		{"an empty previous key", map[string]string{keyFile: "abc", previousFile: ""}, "", "%s/secretkey-previous is empty: put the key of gossip into secretkey-previous of the Secret"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := ""
			if tt.files != nil {
				dir = t.TempDir()
			}
			for name, text := range tt.files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got, err := readKeys(dir)
			reason := ""
			if err != nil {
				reason = err.Error()
			}
			want := strings.ReplaceAll(tt.err, "%s", dir)
			if all := string(slices.Concat(got...)); all != tt.want || !strings.HasPrefix(reason, want) || want == "" && err != nil {
				t.Errorf("%x, %v; want %x, %s", all, err, tt.want, want)
			}
		})
	}
}

// A mounted Secret changes as the kubelet does it: files are links into a directory that
// is replaced at once.
func TestKeyFollower(t *testing.T) {
	dir := t.TempDir()
	version := 0
	write := func(files map[string]string) {
		t.Helper()
		version++
		name := "..v" + string(rune('0'+version))
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		for f, text := range files {
			if err := os.WriteFile(filepath.Join(dir, name, f), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		link := filepath.Join(dir, "..new")
		if err := os.Symlink(name, link); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(link, filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	write(map[string]string{keyFile: "one"})
	for _, f := range []string{keyFile, previousFile} {
		if err := os.Symlink(filepath.Join("..data", f), filepath.Join(dir, f)); err != nil {
			t.Fatal(err)
		}
	}
	type result struct {
		keys string
		bad  bool
	}
	results := make(chan result, 100)
	k := keyFollower{dir: dir, log: slog.New(slog.DiscardHandler), set: func(keys [][]byte, err error) error {
		results <- result{string(slices.Concat(keys...)), err != nil}
		return err
	}}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- k.run(ctx) }()
	await := func(what string, want result) {
		t.Helper()
		deadline := time.After(30 * time.Second)
		for {
			select {
			case got := <-results:
				if got == want {
					return
				}
			case <-deadline:
				t.Fatalf("not read in 30 s: %s", what)
			}
		}
	}
	one, two := string(members.Key("one")), string(members.Key("two"))
	await("the first key", result{one, false})
	write(map[string]string{keyFile: "two", previousFile: "one"})
	await("both keys", result{two + one, false})
	write(map[string]string{keyFile: ""})
	await("an empty key", result{"", true})
	write(map[string]string{keyFile: "two"})
	await("the second key", result{two, false})
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
