// SPDX-License-Identifier: Apache-2.0

package manifest_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/manifest"
)

// described returns a description of objects: where each begins, its identity and its
// mistakes.
func described(objects []*manifest.Object, mistakes []manifest.Finding) []string {
	var out []string
	for _, m := range mistakes {
		out = append(out, m.ID+" "+m.String())
	}
	for _, o := range objects {
		line := strings.Join([]string{o.APIVersion, o.Kind, o.Namespace, o.Name}, "|")
		out = append(out, string(rune('0'+o.Line("")/10))+string(rune('0'+o.Line("")%10))+" "+line)
		for _, m := range o.Mistakes {
			out = append(out, m.ID+" "+m.String())
		}
	}
	return out
}

func TestRead(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string
	}{
		{"nothing", "# soon\n---\n---\n", nil},
		{"an object", "apiVersion: v1\nkind: Secret\nmetadata: {name: a, namespace: b}\n", []string{"01 v1|Secret|b|a"}},
		{"JSON", `{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}}`, []string{"01 v1|Secret||a"}},
		{"lines of DOS and a byte order mark", "\ufeffkind: A\r\n---\r\nkind: B\r\n", []string{"01 |A||", "03 |B||"}},
		{
			"a comment after a marker, and an end", "--- # first\nkind: A\n...\n# more\n--- {kind: B}\n---  \nkind: C\n",
			[]string{"02 |A||", "05 |B||", "07 |C||"},
		},
		{
			"what YAML 1.1 takes for something else",
			"kind: A\nmetadata:\n  name: y\n  namespace: 1e3\n  labels:\n    vlan: 120\n    on: \"yes\"\n    no: no\n  annotations: {a.b/c: null, d: [1]}\n",
			[]string{
				"01 |A|1e3|y",
				"Metadata f:3: A/y: metadata.name: want a string, not a boolean: put it in quotes",
				"Metadata f:4: A/y: metadata.namespace: want a string, not a number: put it in quotes",
				"Metadata f:5: A/y: metadata.labels.false: want a string, not a boolean: put it in quotes",
				"Metadata f:6: A/y: metadata.labels.vlan: want a string, not a number: put it in quotes",
				"Metadata f:9: A/y: metadata.annotations.d: want a string, not a list",
			},
		},
		{
			"metadata of another type", "kind: A\nmetadata: [a]\n---\nkind: B\nmetadata:\n  name: b\n  labels: none\n---\nkind: [C]\n",
			[]string{
				"01 |A||", "Metadata f:2: A: metadata: want an object, not a list",
				"04 |B||b", "Metadata f:7: B/b: metadata.labels: want an object, not a string",
				"09 |||", "Metadata f:9: kind: want a string, not a list",
			},
		},
		{
			"a broken document harms no other", "kind: A\n---\na: [\n---\nkind: B\n---\n- c\n---\n\tkind: D\n---\nx: 1\nx: 2\n---\nx: *no\n",
			[]string{
				"Syntax f:3: invalid YAML: did not find expected node content",
				"Syntax f:7: document 4 is no object",
				"Syntax f:9: indented with a tab, which YAML does not allow",
				"Duplicate f:12: key \"x\" already set in map",
				"Syntax f:14: an alias refers to an anchor that is not defined; a string that starts with * must be in quotes",
				"01 |A||", "05 |B||",
			},
		},
		{
			"lists", "kind: List\nitems:\n- kind: A\n  metadata: {name: a}\n- 7\n- {kind: BList, apiVersion: v1, items: [{metadata: {name: b}}, {metadata: {name: 1}}]}\n",
			[]string{
				"Syntax f:5: item 1 of the list is no object",
				"03 |A||a", "06 v1|B||b", "06 v1|B||1",
				"Metadata f:6: B/1: metadata.name: want a string, not a number: put it in quotes",
			},
		},
		{
			"anchors", "kind: A\nbase: &b {name: a}\nmetadata: {<<: *b, namespace: c}\n", []string{"01 |A|c|a"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, described(manifest.Read("f", []byte(tt.text)))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestObjectLine(t *testing.T) {
	objects, _ := manifest.Read("f", []byte(`# a pool
---
items:
- kind: Pool
  metadata:
    name: a
    annotations:
      heraldlb.io/quota: shop=1
      heraldlb.io: x
  base: &b
    deep: 1
  spec:
    <<: *b
    addresses:
    - 192.0.2.0/24
    - bad
    text: |
      one
      two
kind: List
`))
	for field, want := range map[string]int{
		"": 4, "metadata.name": 6, "metadata.labels.x": 5, "metadata.annotations[heraldlb.io/quota]": 8,
		"metadata.annotations.heraldlb.io/quota": 8, "metadata.annotations.heraldlb.io": 9, "spec": 12, "spec.addresses": 14,
		"spec.addresses[1]": 16, "spec.addresses[2]": 14, "spec.addresses[x]": 14, "spec.deep": 11, "spec.none.of.it": 12, "status": 4,
	} {
		if got := objects[0].Line(field); got != want {
			t.Errorf("%q is on line %d, want %d", field, got, want)
		}
	}
	if got := objects[0].Block("spec.text")(2); got != 19 {
		t.Errorf("the second line of a block is %d", got)
	}
	if got := objects[0].Block("metadata.name")(1); got != 6 {
		t.Errorf("the line of a plain string is %d", got)
	}
}

// Content has the values that were probably intended.
func TestObjectContent(t *testing.T) {
	objects, _ := manifest.Read("f", []byte("kind: A\nmetadata: {name: 7, labels: {a: 1, b: x}}\nspec: {count: 3, Name: b}\n"))
	want := map[string]any{
		"apiVersion": "", "kind": "A", "metadata": map[string]any{"name": "7", "labels": map[string]any{"a": "1", "b": "x"}},
		"spec": map[string]any{"count": int64(3), "Name": "b"},
	}
	if diff := cmp.Diff(want, objects[0].Content()); diff != "" {
		t.Errorf("content (-want +got):\n%s", diff)
	}
	var into struct {
		Metadata struct {
			Name string `json:"name"`
		} `json:"metadata"`
		Spec struct {
			N    int    `json:"count"`
			Name string `json:"name"`
		} `json:"spec"`
	}
	unknown, err := objects[0].Decode(&into)
	if err != nil || into.Metadata.Name != "7" || into.Spec.N != 3 || into.Spec.Name != "" {
		t.Errorf("decoded %+v, %v", into, err)
	}
	if diff := cmp.Diff([]string{"apiVersion", "kind", "metadata.labels", "spec.Name"}, unknown); diff != "" {
		t.Errorf("unknown fields (-want +got):\n%s", diff)
	}
}

// lineBreak is what ends a line in YAML.
var lineBreak = regexp.MustCompile("\r\n|[\r\n\u0085\u2028\u2029]")

func FuzzRead(f *testing.F) {
	f.Add("apiVersion: v1\nkind: List\nitems: [{metadata: {name: y}}]\n---\na: &a [*a]\n")
	f.Fuzz(func(t *testing.T, text string) {
		lines := len(lineBreak.FindAllString(text, -1)) + 1
		objects, _ := manifest.Read("f", []byte(text))
		for _, o := range objects {
			o.Content()
			if n := o.Line("spec.a[0]"); n < 1 || n > lines {
				t.Errorf("line %d of %d", n, lines)
			}
		}
	})
}
