// SPDX-License-Identifier: Apache-2.0

package frr_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/heraldlb/herald/frr"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestDiff(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "diff", "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no test cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			parts := make(map[string]*txtar.File)
			for i := range a.Files {
				parts[a.Files[i].Name] = &a.Files[i]
			}
			running := frr.Parse(string(parts["running"].Data))
			wanted := frr.Parse(string(parts["wanted"].Data))

			var got strings.Builder
			for _, c := range frr.Diff(running, wanted) {
				got.WriteString(c.String() + "\n")
			}
			if *update {
				parts["commands"].Data = []byte(got.String())
				if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(parts["commands"].Data), got.String()); diff != "" {
				t.Errorf("commands (-want +got):\n%s", diff)
			}
			if again := frr.Diff(wanted, wanted); len(again) > 0 {
				t.Errorf("from the wanted to the wanted: %v", again)
			}
		})
	}
}
