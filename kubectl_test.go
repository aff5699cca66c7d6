// SPDX-License-Identifier: Apache-2.0

package herald_test

import (
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/heraldlb/herald/deploy/crds"
)

// TestKubectlPage holds the samples of docs/kubectl.md against the definitions: what kubectl
// get shows of a kind has the columns that it has, and the table of short names has all.
func TestKubectlPage(t *testing.T) {
	const page = "docs/kubectl.md"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	kinds := printedKinds(t)
	sample := regexp.MustCompile(`(?m)^\$ kubectl get (\S+) (.*)\n(NAME .*)$`)
	shown := map[string]bool{}
	for _, m := range sample.FindAllStringSubmatch(string(text), -1) {
		i := slices.IndexFunc(kinds, func(k printedKind) bool { return k.plural == m[1] || k.short == m[1] })
		if i < 0 {
			continue // a Service, or a category
		}
		k := kinds[i]
		shown[k.plural] = true
		header := regexp.MustCompile(` {2,}`).ReplaceAllString(strings.TrimSpace(m[3]), "  ")
		if want := "NAME  " + strings.Join(k.columns(strings.Contains(m[2], "-o wide")), "  "); header != want {
			t.Errorf("%s: the sample of kubectl get %s has the columns\n%s\nwant\n%s", page, m[1], header, want)
		}
	}
	for _, plural := range []string{"bgppeers", "ipaddresspools", "servicebgpstatuses"} {
		if !shown[plural] {
			t.Errorf("%s has no sample of %s", page, plural)
		}
	}
	for _, k := range kinds {
		if row := "| `" + k.plural + "` | `" + k.short + "` |"; !strings.Contains(string(text), row) {
			t.Errorf("%s has no row that begins with %s", page, row)
		}
	}
}

// A printedKind is a kind as kubectl get shows it.
type printedKind struct {
	plural, short string
	all           []struct {
		Name     string `json:"name"`
		Priority int    `json:"priority"`
	}
}

// columns returns the headers behind NAME.
func (k printedKind) columns(wide bool) (out []string) {
	for _, c := range k.all {
		if wide || c.Priority == 0 {
			out = append(out, strings.ToUpper(c.Name))
		}
	}
	return out
}

// printedKinds returns all kinds, as their newest versions are shown.
func printedKinds(t *testing.T) (out []printedKind) {
	t.Helper()
	files, err := fs.Glob(crds.Files(), "*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		text, err := fs.ReadFile(crds.Files(), name)
		if err != nil {
			t.Fatal(err)
		}
		var d struct {
			Spec struct {
				Names struct {
					Plural     string   `json:"plural"`
					ShortNames []string `json:"shortNames"`
				} `json:"names"`
				Versions []struct {
					Columns []struct {
						Name     string `json:"name"`
						Priority int    `json:"priority"`
					} `json:"additionalPrinterColumns"`
				} `json:"versions"`
			} `json:"spec"`
		}
		if err := yaml.Unmarshal(text, &d); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		k := printedKind{plural: d.Spec.Names.Plural, short: strings.Join(d.Spec.Names.ShortNames, " ")}
		k.all = d.Spec.Versions[len(d.Spec.Versions)-1].Columns
		out = append(out, k)
	}
	return out
}
