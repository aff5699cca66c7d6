// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/kube/object"
	"github.com/heraldlb/herald/manifest"
)

// fences returns the blocks of a language in a page.
func fences(page, language string) []string {
	var out []string
	for _, m := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(page, -1) {
		out = append(out, m[1])
	}
	return out
}

// TestAllocationPage wants every sample of the page to be good, and its console
// to show what really happens.
func TestAllocationPage(t *testing.T) {
	text, err := os.ReadFile("../../docs/allocation.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	samples := fences(page, "yaml")
	for _, sample := range samples {
		if err := checkSample(t, sample); err != nil {
			t.Errorf("%v in\n%s", err, sample)
		}
	}
	if len(samples) < 3 {
		t.Fatalf("%d samples", len(samples))
	}
	last := samples[len(samples)-3:]
	archive := "-- old.yaml --\n" + last[0] + "-- new.yaml --\n" + last[1] + "-- services.yaml --\n" + last[2]
	for _, console := range fences(page, "console") {
		for _, command := range strings.Split("\n"+console, "\n$ heraldctl ")[1:] {
			line, want, _ := strings.Cut(command, "\n")
			_, stdout, stderr := runIn(t, archive, "", strings.Fields(line)...)
			if diff := cmp.Diff(strings.TrimSuffix(want, "\n"), strings.TrimSuffix(stdout+stderr, "\n")); diff != "" {
				t.Errorf("heraldctl %s (-page +got):\n%s", line, diff)
			}
		}
	}
}

// checkSample reads a sample as what it is.
func checkSample(t *testing.T, sample string) error {
	t.Helper()
	if strings.Contains(sample, "kind: Service") {
		_, err := object.ReadDraft(strings.NewReader(sample))
		return err
	}
	if code, _, stderr := runHere(t, sample, "check", "-f", "-"); code != exitOK {
		return errors.New(stderr)
	}
	return nil
}

// The page lists the IDs of findings, and the samples are good.
func TestCheckPage(t *testing.T) {
	text, err := os.ReadFile("../../docs/heraldctl.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	_, table, _ := strings.Cut(string(text), "| `id` | |\n")
	table, _, _ = strings.Cut(table, "\n\n")
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\|").FindAllStringSubmatch(table, -1) {
		listed[m[1]] = true
	}
	ids := []string{
		manifest.IDSyntax, manifest.IDMetadata, manifest.IDKind, manifest.IDDuplicate, manifest.IDField, manifest.IDNamespace, manifest.IDEmpty,
		manifest.IDNotRead, manifest.IDConfigMap, idDocument, idSchema, manifest.IDUnlikely, idTwoSources,
		config.VerdictInvalid, config.VerdictConflict, config.VerdictMissing,
	}
	for _, id := range ids {
		if !listed[id] {
			t.Errorf("%s is not on the page", id)
		}
		delete(listed, id)
	}
	for id := range listed {
		t.Errorf("there is no %s", id)
	}
	// IDs that a case prints are among them.
	cases, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range cases {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`"id": "(\w+)"`).FindAllStringSubmatch(string(text), -1) {
			if !slices.Contains(ids, m[1]) {
				t.Errorf("%s: %s is not listed", name, m[1])
			}
		}
	}
}
