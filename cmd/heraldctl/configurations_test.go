// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// TestConfigurations runs each file of testdata/configurations: the lines of args
// are commands, each of which ends with the status exit (0 if there is none), and
// together they print the lines of says and nothing of silent.
func TestConfigurations(t *testing.T) {
	files, err := filepath.Glob("testdata/configurations/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no configurations: %v", err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			parts := map[string]string{}
			for _, f := range txtar.Parse(text).Files {
				parts[f.Name] = string(f.Data)
			}
			want := exitOK
			if exit, ok := parts["exit"]; ok {
				if want, err = strconv.Atoi(strings.TrimSpace(exit)); err != nil {
					t.Fatal(err)
				}
			}
			var said strings.Builder
			for line := range strings.Lines(parts["args"]) {
				code, stdout, stderr := runIn(t, string(text), "", strings.Fields(line)...)
				if code != want {
					t.Errorf("%s: exit code %d, want %d", strings.TrimSpace(line), code, want)
				}
				said.WriteString(stdout + stderr)
			}
			for line := range strings.Lines(parts["says"]) {
				if !strings.Contains(said.String(), strings.TrimSuffix(line, "\n")) {
					t.Errorf("no %q in\n%s", line, said.String())
				}
			}
			for line := range strings.Lines(parts["silent"]) {
				if strings.Contains(said.String(), strings.TrimSuffix(line, "\n")) {
					t.Errorf("%q is in\n%s", line, said.String())
				}
			}
		})
	}
}
