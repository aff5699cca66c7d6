// SPDX-License-Identifier: Apache-2.0

package page_test

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/heraldlb/herald/cmd/internal/page"
)

// Each file is served with the policy that keeps it from asking anybody else, and contains
// nothing that makes HTML of a text.
func TestFiles(t *testing.T) {
	p := page.New(page.Options{})
	names, err := filepath.Glob("files/*")
	if err != nil || len(names) < 10 {
		t.Fatal(names, err)
	}
	for _, name := range append(names, "files/") {
		path := strings.TrimPrefix(name, "files")
		w := get(p.Files(), path)
		policy := w.Header().Get("Content-Security-Policy")
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") == "" || !strings.HasPrefix(policy, "default-src 'none'; ") || strings.Contains(policy, "unsafe") || strings.Contains(policy, "http") {
			t.Errorf("%s: %d %v", path, w.Code, w.Header())
		}
		if again := get(p.Files(), path, "If-None-Match", w.Header().Get("ETag")); again.Code != http.StatusNotModified {
			t.Errorf("%s: the same again is answered with %d", path, again.Code)
		}
		text := w.Body.String()
		if found := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc|DOMParser|style="|\bon[a-z]+="`).FindString(text); found != "" {
			t.Errorf("%s contains %s", name, found)
		}
		for _, url := range regexp.MustCompile(`(?:https?:)?//[a-z][a-z.]+\.[a-z]+[^'" ]*`).FindAllString(text, -1) {
			if url != "http://www.w3.org/2000/svg" && url != "https://github.com/heraldlb/herald/blob/main/docs/" {
				t.Errorf("%s names %s", name, url)
			}
		}
	}
	for _, path := range []string{"/nothing.js", "/files/app.js", "/../page.go", "/api/v1/topology"} {
		if w := get(p.Files(), path); w.Code == http.StatusOK {
			t.Errorf("%s is served", path)
		}
	}
}

// The page knows which problems docs/troubleshooting.md explains: each leads there, and all
// others to docs/service-status.md.
func TestDocs(t *testing.T) {
	script, err := os.ReadFile("files/words.js")
	if err != nil {
		t.Fatal(err)
	}
	_, set, _ := strings.Cut(string(script), "troubleshooting = new Set([")
	set, _, _ = strings.Cut(set, "]")
	var have, want []string
	for _, m := range regexp.MustCompile(`'(\w+)'`).FindAllStringSubmatch(set, -1) {
		have = append(have, m[1])
	}
	docs, err := os.ReadFile("../../../docs/troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`<a id="(\w+)">`).FindAllStringSubmatch(string(docs), -1) {
		want = append(want, m[1])
	}
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) || len(want) < 10 {
		t.Errorf("the page knows %q, docs/troubleshooting.md explains %q", have, want)
	}
}
