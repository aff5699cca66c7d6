// SPDX-License-Identifier: Apache-2.0

package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/topology"
)

// The page names each member of the JSON, shows what is really printed, and explains each
// problem that no other page does.
func TestTroubleshootingPage(t *testing.T) {
	text, err := os.ReadFile("../../docs/troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	_, members, _ := strings.Cut(page, "## For programs")
	seen := map[reflect.Type]bool{}
	wantMembers(t, reflect.TypeFor[topology.Topology](), members, seen)
	wantMembers(t, reflect.TypeFor[topology.Chain](), members, seen)
	if !seen[reflect.TypeFor[status.Share]()] || len(seen) < 15 {
		t.Errorf("%d types were looked at", len(seen))
	}

	cases, err := filepath.Glob("testdata/mistakes/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var printed strings.Builder
	for _, name := range cases {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		printed.Write(b)
	}
	samples := fences(page, "console")
	for _, sample := range samples {
		command, output, _ := strings.Cut(sample, "\n")
		if !strings.Contains(printed.String(), "-- "+strings.TrimPrefix(command, "$ heraldctl ")+" --\n"+output) {
			t.Errorf("no case prints\n%s", sample)
		}
	}
	if len(samples) < 2 {
		t.Errorf("%d samples", len(samples))
	}

	for _, id := range problemIDs(t) {
		if !strings.Contains(page, `<a id="`+id+"\"></a>`"+id+"`") {
			t.Errorf("the page does not explain %s", id)
		}
	}
	other, err := os.ReadFile("../../docs/service-status.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^  (?:error|warning) +[^:]+: (\w+): `).FindAllStringSubmatch(printed.String(), -1) {
		anchor := `<a id="` + m[1] + `">`
		if !strings.Contains(page, anchor) && !strings.Contains(string(other), anchor) {
			t.Errorf("no page explains %s", m[1])
		}
	}
}

// wantMembers wants the JSON members of a type on the page, and those of the types in it.
func wantMembers(t *testing.T, typ reflect.Type, page string, seen map[reflect.Type]bool) {
	t.Helper()
	for typ.Kind() == reflect.Slice || typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	if typ.Kind() != reflect.Struct || seen[typ] || !strings.Contains(typ.PkgPath(), "heraldlb") {
		return
	}
	seen[typ] = true
	for i := range typ.NumField() {
		f := typ.Field(i)
		if !f.IsExported() {
			continue
		}
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && !strings.Contains(page, "`"+name+"`") {
			t.Errorf("the page lacks %s of %s", name, typ)
		} else if name == "" && !f.Anonymous {
			t.Errorf("%s.%s has no name in JSON", typ, f.Name)
		}
		wantMembers(t, f.Type, page, seen)
	}
}

// problemIDs returns the values of the constants Problem* of package topology.
func problemIDs(t *testing.T) (out []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "../../topology/problem.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "Problem") {
			return true
		}
		if lit, ok := spec.Values[0].(*ast.BasicLit); ok {
			id, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, id)
		}
		return true
	})
	if len(out) < 10 {
		t.Fatalf("%d problems", len(out))
	}
	return out
}
