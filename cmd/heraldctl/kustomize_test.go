// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"strings"
	"testing"
)

// A kustomization that cannot be built is an error, and keeps nothing else from being checked.
func TestKustomizationBroken(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.Mkdir("broken", 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"broken/kustomization.yaml": "resources: [none.yaml]\n", "good.yaml": quickStart} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	code, stdout, stderr := runHere(t, "", "check", "-k", "broken", "good.yaml")
	if code != exitMisuse || !strings.HasPrefix(stdout, "good.yaml: valid") || !strings.HasPrefix(stderr, "heraldctl: kustomize broken: ") || !strings.Contains(stderr, "none.yaml") {
		t.Errorf("exit %d, %q and %q", code, stdout, stderr)
	}
}
