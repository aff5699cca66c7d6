// SPDX-License-Identifier: Apache-2.0

package exclusion

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestList(t *testing.T) {
	path := filepath.Join(t.TempDir(), "excludel2.yaml")
	sets := make(chan string, 10)
	l := New(path, func(list []*regexp.Regexp) {
		var text []string
		for _, r := range list {
			text = append(text, r.String())
		}
		sets <- strings.Join(text, " ")
	}, slog.New(slog.NewTextHandler(t.Output(), nil)))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	write := func(text string) {
		t.Helper()
		// A rename, as the kubelet does it, shows no half of a file.
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	await := func(want string) {
		t.Helper()
		select {
		case got := <-sets:
			if got != want {
				t.Errorf("excluded: %q, want %q", got, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%q is not excluded after 10 s", want)
		}
	}
	write("announcedInterfacesToExclude: [^docker.*, ^lo$]")
	await("^docker.* ^lo$")
	write("announcedInterfacesToExclude: ['^(']") // refused
	write("announcedInterfacesToExclude: [^cali.*]")
	await("^cali.*")
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	for _, text := range []string{"announcedInterfacesToExclude: ['^(']", "interfaces: [x]", "- x"} {
		if list, err := parse([]byte(text)); err == nil {
			t.Errorf("%s: accepted as %v", text, list)
		}
	}
}
