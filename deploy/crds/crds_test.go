// SPDX-License-Identifier: Apache-2.0

package crds_test

import (
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/heraldlb/herald/deploy/crds"
)

// A schema is as much of an OpenAPI schema as people see by kubectl explain.
type schema struct {
	Description string            `json:"description"`
	Type        string            `json:"type"`
	Default     any               `json:"default"`
	Properties  map[string]schema `json:"properties"`
	Items       *schema           `json:"items"`
}

// A definition is as much of a CustomResourceDefinition as people see by kubectl.
type definition struct {
	Spec struct {
		Names struct {
			Plural     string   `json:"plural"`
			ShortNames []string `json:"shortNames"`
			Categories []string `json:"categories"`
		} `json:"names"`
		Versions []struct {
			Name    string   `json:"name"`
			Columns []column `json:"additionalPrinterColumns"`
			Schema  struct {
				OpenAPIV3Schema schema `json:"openAPIV3Schema"`
			} `json:"schema"`
		} `json:"versions"`
	} `json:"spec"`
}

// A column is one of kubectl get.
type column struct {
	Name     string `json:"name"`
	JSONPath string `json:"jsonPath"`
	Priority int    `json:"priority"`
}

func definitions(t *testing.T) []definition {
	t.Helper()
	files, err := fs.Glob(crds.Files(), "*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var out []definition
	for _, name := range files {
		text, err := fs.ReadFile(crds.Files(), name)
		if err != nil {
			t.Fatal(err)
		}
		var d definition
		if err := yaml.Unmarshal(text, &d); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out = append(out, d)
	}
	if len(out) == 0 {
		t.Fatal("there are no definitions")
	}
	return out
}

// each calls f with every field below a schema, and its path.
func (s schema) each(path string, f func(path string, s schema)) {
	if s.Items != nil {
		s.Items.each(path+"[]", f)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		p := strings.TrimPrefix(path+"."+name, ".")
		if p == "apiVersion" || p == "kind" || p == "metadata" {
			continue // the API server describes them
		}
		f(p, s.Properties[name])
		s.Properties[name].each(p, f)
	}
}

// leaf reports whether a field has values and no fields of its own.
func (s schema) leaf() bool {
	if s.Items != nil {
		return s.Items.leaf()
	}
	return len(s.Properties) == 0
}

// unitOf tells by its name that a number is a time, and the word for its unit.
var unitOf = regexp.MustCompile(`(Seconds|Interval)$`)

// kubectl explain says what each field means. Of a field that people set it also says what
// is in force without it, gives an example, and names the unit of a time.
func TestDescriptions(t *testing.T) {
	for _, d := range definitions(t) {
		for _, v := range d.Spec.Versions {
			of := d.Spec.Names.Plural + " " + v.Name
			if v.Schema.OpenAPIV3Schema.Description == "" {
				t.Errorf("%s has no description", of)
			}
			fields := 0
			v.Schema.OpenAPIV3Schema.each("", func(path string, s schema) {
				fields++
				text := s.Description
				if !strings.HasSuffix(text, ".") {
					t.Errorf("%s: %s has no description, or one that does not end: %q", of, path, text)
				}
				if !strings.HasPrefix(path, "spec.") || !s.leaf() {
					return
				}
				if !strings.Contains(text, "Default: ") && !strings.Contains(text, "equired") {
					t.Errorf("%s: the description of %s says neither a default nor that it is required: %q", of, path, text)
				}
				if !strings.Contains(text, "Example: ") {
					t.Errorf("%s: the description of %s has no example: %q", of, path, text)
				}
				switch unit := unitOf.FindString(path); {
				case unit == "Seconds" && !strings.Contains(strings.ToLower(text), "seconds "), unit == "Interval" && !strings.Contains(text, "milliseconds"):
					t.Errorf("%s: the description of %s has no unit: %q", of, path, text)
				}
				if byDefault, ok := s.Default.(string); ok && !strings.Contains(text, "Default: "+byDefault+".") {
					t.Errorf("%s: the default of %s is %s, and the description says %q", of, path, byDefault, text)
				}
			})
			if fields < 3 {
				t.Errorf("%s: %d fields were found", of, fields)
			}
		}
	}
}

// foreign are short names of Kubernetes and of other products with addresses or BGP.
var foreign = []string{
	"cm", "ev", "no", "ns", "po", "svc", "ep", "deploy", "ds", "hpa", "ing", "netpol", "pdb", "crd", "sc", "pc", // Kubernetes
	"ippool", "ippools", "lbippool", "lbippools", "bgpp", "cbgppeer", "cbgpcluster", "cbgpnode", "cbgpadvert", "l2announcement", // Cilium
	"sg", "lbna", // PureLB
}

// Each kind has a short name of its own, and a category. Those with an object for each
// Service and node have another one: kubectl get herald shows what fits on a screen.
func TestNames(t *testing.T) {
	of := map[string]string{}
	for _, d := range definitions(t) {
		n := d.Spec.Names
		if len(n.ShortNames) != 1 {
			t.Errorf("%s has the short names %q, want one", n.Plural, n.ShortNames)
		}
		for _, short := range n.ShortNames {
			if other := of[short]; other != "" || slices.Contains(foreign, short) || !strings.HasPrefix(short, "h") {
				t.Errorf("the short name %s of %s is one of %s, of another product, or does not begin with h", short, n.Plural, other)
			}
			of[short] = n.Plural
		}
		want := "herald"
		if strings.HasPrefix(n.Plural, "service") {
			want = "herald-services"
		}
		if !slices.Equal(n.Categories, []string{want}) {
			t.Errorf("the categories of %s are %q, want %s", n.Plural, n.Categories, want)
		}
	}
}

// Each column shows a field that exists, and the last one that kubectl get shows without
// -o wide is the age.
func TestColumns(t *testing.T) {
	filter := regexp.MustCompile(`\[\?.*\]`)
	for _, d := range definitions(t) {
		for _, v := range d.Spec.Versions {
			last := ""
			for _, c := range v.Columns {
				if c.Priority == 0 {
					last = c.Name
				}
				path := strings.Split(strings.TrimPrefix(filter.ReplaceAllString(c.JSONPath, ""), "."), ".")
				if path[0] == "metadata" {
					continue
				}
				s := v.Schema.OpenAPIV3Schema
				for _, name := range path {
					if s.Items != nil {
						s = *s.Items
					}
					next, ok := s.Properties[name]
					if !ok {
						t.Errorf("%s %s: column %s shows %s, and there is no %s", d.Spec.Names.Plural, v.Name, c.Name, c.JSONPath, name)
					}
					s = next
				}
			}
			if last != "Age" {
				t.Errorf("%s %s: the last column is %q, want Age", d.Spec.Names.Plural, v.Name, last)
			}
		}
	}
}
