// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/reconcile"
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
	switch {
	case strings.Contains(sample, "kind: IPAddressPool"):
		return checkPool([]byte(sample))
	case strings.Contains(sample, "kind: Service"):
		_, err := reconcile.ReadDraft(bytes.NewReader([]byte(sample)))
		return err
	}
	if code, _, stderr := runHere(t, sample, "check", "-f", "-"); code != exitOK {
		return errors.New(stderr)
	}
	return nil
}

// checkPool reads the parts of a resource that the page is about.
func checkPool(text []byte) error {
	var raw struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Metadata   struct {
			Name, Namespace string
			Annotations     map[string]string
		}
		Spec struct {
			Addresses         []string
			ServiceAllocation struct {
				Priority           int
				Namespaces         []string
				NamespaceSelectors []any
				ServiceSelectors   []any
			}
		}
	}
	if err := yaml.UnmarshalStrict(text, &raw); err != nil {
		return err
	}
	p := config.Pool{Name: raw.Metadata.Name}
	for _, s := range raw.Spec.Addresses {
		r, err := config.ParseRange(s)
		if err != nil {
			return err
		}
		p.Addresses = append(p.Addresses, r)
	}
	return p.Annotate(raw.Metadata.Annotations)
}
