// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/heraldlb/herald/topology"
)

// TestGet runs get and top on clusters. A file is one of testdata/mistakes, without want: each
// command line has its output, standard error and exit status.
func TestGet(t *testing.T) {
	runFiles(t, "testdata/get/*.txtar", func(string) {})
}

// runFiles runs the command lines of files and compares what they print and their exit status.
// It calls seen with each output.
func runFiles(t *testing.T, pattern string, seen func(output string)) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			full := abs(t, name)
			archive := serveCluster(t, full)
			commands := 0
			for i, f := range archive.Files {
				line, ok := strings.CutPrefix(f.Name, "$ ")
				if !ok {
					continue
				}
				commands++
				code, stdout, stderr := runHere(t, "", strings.Fields(line)...)
				got := fmt.Sprintf("%s%sexit %d\n", stdout, stderr, code)
				seen(got)
				if *update {
					archive.Files[i].Data = []byte(got)
				} else if diff := cmp.Diff(string(f.Data), got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", line, diff)
				}
			}
			if commands == 0 {
				t.Fatal("the file has no command")
			}
			if *update {
				if err := os.WriteFile(full, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func abs(t *testing.T, name string) string {
	t.Helper()
	full, err := filepath.Abs(name)
	if err != nil {
		t.Fatal(err)
	}
	return full
}

// serveCluster serves the cluster of a file: that of testdata/mistakes/base.yaml, and what the
// file changes. "90m ago" in it is that time.
func serveCluster(t *testing.T, file string) *txtar.Archive {
	t.Helper()
	base, err := os.ReadFile("testdata/mistakes/base.yaml")
	if err != nil {
		t.Fatal(err)
	}
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c := &fakeCluster{t: t, objects: map[string]map[string]any{}, reports: map[string]string{}}
	c.add(base)
	for _, f := range archive.Files {
		switch text := string(f.Data); {
		case f.Name == "objects.yaml":
			c.add([]byte(strings.ReplaceAll(text, "90m ago", time.Now().Add(-90*time.Minute).UTC().Format(time.RFC3339))))
		case f.Name == "delete":
			for _, id := range strings.Fields(text) {
				c.delete(id)
			}
		case f.Name == "forbidden":
			c.forbidden = strings.Fields(text)
		case f.Name == "denied":
			c.denied = strings.Fields(text)
		case f.Name == "missing":
			c.missing = strings.Fields(text)
		case strings.HasPrefix(f.Name, "report-"):
			c.reports[strings.TrimSuffix(strings.TrimPrefix(f.Name, "report-"), ".json")] = text
		}
	}
	c.serve()
	return archive
}

// As JSON a list has what was asked for, the problems about it, and what could not be asked.
func TestGetJSON(t *testing.T) {
	serveCluster(t, abs(t, "testdata/get/some-work.txtar"))
	code, stdout, stderr := runHere(t, "", "get", "services", "shop/", "-o", "json")
	var got listing[topology.Service]
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != exitOK || stderr != "" {
		t.Fatalf("exit %d, %v, %q in\n%s", code, err, stderr, stdout)
	}
	var items, problems []string
	for _, s := range got.Items {
		items = append(items, s.Name+" "+s.State)
	}
	for _, p := range got.Problems {
		problems = append(problems, p.ID+" "+strings.Join(p.Objects, ","))
	}
	if diff := cmp.Diff([]string{"shop/api NotAnnounced", "shop/db NoAddress", "shop/web Degraded"}, items); diff != "" {
		t.Errorf("items (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"NoEndpoints Service/shop/api", "PoolUnknown Service/shop/db", "Degraded Service/shop/web"}, problems); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	if got.SchemaVersion != topology.SchemaVersion || got.At.IsZero() || got.Namespace != heraldNamespace || len(got.Unasked) != 1 {
		t.Errorf("version %d at %v in %q, not asked: %v", got.SchemaVersion, got.At, got.Namespace, got.Unasked)
	}
	code, stdout, _ = runHere(t, "", "get", "routes", "--ip=203.0.113.1", "-o", "yaml")
	if code != exitOK || !strings.Contains(stdout, "items: []\n") || !strings.Contains(stdout, "problems: []\n") {
		t.Errorf("without routes: exit %d in\n%s", code, stdout)
	}
	code, stdout, _ = runHere(t, "", "top", "-o", "json")
	var seen usage
	if err := json.Unmarshal([]byte(stdout), &seen); err != nil || code != exitOK || len(seen.Nodes) != 3 || len(seen.Pools) != 1 || seen.Services[topology.StateNoAddress] != 1 {
		t.Errorf("top: exit %d, %v, %+v", code, err, seen)
	}
}

// What is in a frame that is larger than the terminal is cut, and names cannot control it.
func TestPaint(t *testing.T) {
	var b strings.Builder
	text := strings.Repeat("a line that is long\n", 3) + "evil\x1b[2J\n" + strings.Repeat("more\n", 5)
	paint(screen{&b}, func() (int, int) { return 12, 7 }, text)
	want := "\x1b[H" + strings.Repeat("a line that \x1b[K\r\n", 3) + "evil\\u001b[2\x1b[K\r\nmore\x1b[K\r\nand 4 more l\x1b[K\r\n\x1b[J"
	if b.String() != want {
		t.Errorf("want %q\n got %q", want, b.String())
	}
}

// The page shows what is really printed.
func TestHeraldctlPage(t *testing.T) {
	text, err := os.ReadFile("../../docs/heraldctl.md")
	if err != nil {
		t.Fatal(err)
	}
	printed, err := os.ReadFile("testdata/get/some-work.txtar")
	if err != nil {
		t.Fatal(err)
	}
	samples := 0
	for _, sample := range fences(string(text), "console") {
		command, output, _ := strings.Cut(sample, "\n")
		line := regexp.MustCompile(`^\$ heraldctl (.+)$`).FindStringSubmatch(command)
		if line == nil {
			t.Errorf("no command line: %s", command)
			continue
		}
		samples++
		if !strings.Contains(string(printed), "-- $ "+line[1]+" --\n"+output) {
			t.Errorf("the file does not print\n%s", sample)
		}
	}
	if samples < 4 {
		t.Errorf("%d samples", samples)
	}
	for _, cmd := range rootCommand(ownName).Commands() {
		if !strings.Contains(string(text), "heraldctl "+cmd.Name()) {
			t.Errorf("the page does not name %s", cmd.Name())
		}
	}
}
