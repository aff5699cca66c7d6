// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "rewrite the cases in testdata; read the difference before committing it")

// TestScripts carries out the command lines of each case in a directory that has
// the case's files. A file named "$ ARGUMENTS" is a command line, with what is on
// its standard input; "exit N" and what it printed follow.
func TestScripts(t *testing.T) {
	cases, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, name := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			path, err := filepath.Abs(name)
			if err != nil {
				t.Fatal(err)
			}
			ar, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			t.Chdir(t.TempDir())
			got := runScript(t, ar)
			if *update {
				if err := os.WriteFile(path, txtar.Format(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(txtar.Format(ar)), string(txtar.Format(got))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// runScript returns a case with what its command lines print.
func runScript(t *testing.T, ar *txtar.Archive) *txtar.Archive {
	t.Helper()
	out := &txtar.Archive{Comment: ar.Comment}
	for _, f := range ar.Files {
		line, isCommand := strings.CutPrefix(f.Name, "$ ")
		switch {
		case isCommand:
			code, stdout, stderr := runHere(t, string(f.Data), strings.Fields(line)...)
			out.Files = append(out.Files, f, txtar.File{Name: fmt.Sprintf("exit %d", code), Data: []byte(stdout)})
			if stderr != "" {
				out.Files = append(out.Files, txtar.File{Name: "stderr", Data: []byte(stderr)})
			}
		case strings.HasPrefix(f.Name, "exit ") || f.Name == "stderr":
		default:
			if err := os.MkdirAll(filepath.Dir(f.Name), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(f.Name, f.Data, 0o644); err != nil {
				t.Fatal(err)
			}
			out.Files = append(out.Files, f)
		}
	}
	return out
}
