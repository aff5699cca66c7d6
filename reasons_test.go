// SPDX-License-Identifier: Apache-2.0

package herald_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// wordsIn are where constants are that people meet as conditions, reasons and
// events, and how the names of those constants begin.
var wordsIn = map[string]*regexp.Regexp{
	"alloc":            regexp.MustCompile(`^[A-Z]`), // of type Reason
	"status":           regexp.MustCompile(`^[A-Z]`), // of type Reason
	"assign":           regexp.MustCompile(`^(Reason|Event|Condition)[A-Z]`),
	"source":           regexp.MustCompile(`^Event[A-Z]`),
	"reconcile":        regexp.MustCompile(`^(Reason|Event|Condition)[A-Z]`),
	"cluster":          regexp.MustCompile(`^Reason[A-Z]`),
	"condition":        regexp.MustCompile(`^(Reason|Type)[A-Z]`),
	"config":           regexp.MustCompile(`^Verdict[A-Z]`),
	"kube":             regexp.MustCompile(`^([eE]vent|condition)[A-Z]`),
	"cmd/herald-agent": regexp.MustCompile(`^event[A-Z]`),
	"frr/extras":       regexp.MustCompile(`^event[A-Z]`),
	"session":          regexp.MustCompile(`^event[A-Z]`),
}

// TestReasonsDocumented holds the table of docs/service-status.md against the code:
// each condition, reason and event has a row with an anchor, what it means and what
// to do, and each row is of something that the code has.
func TestReasonsDocumented(t *testing.T) {
	const page = "docs/service-status.md"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| <a id=\"([^\"]+)\"></a>`([^`]+)` \\| ([^|]*) \\| ([^|]*) \\| ([^|]*) \\|$")
	documented := map[string]bool{}
	last := ""
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		name := m[2]
		if m[1] != name {
			t.Errorf("%s: the anchor of %s is %q", page, name, m[1])
		}
		if documented[name] {
			t.Errorf("%s: %s has two rows", page, name)
		}
		if strings.ToLower(name) < last {
			t.Errorf("%s: %s comes before what is above it", page, name)
		}
		documented[name], last = true, strings.ToLower(name)
		for _, cell := range m[3:] {
			if strings.TrimSpace(cell) == "" {
				t.Errorf("%s: %s has an empty cell", page, name)
			}
		}
	}
	if n := strings.Count(string(text), `<a id="`); n != len(documented) {
		t.Errorf("%s has %d anchors and %d rows that can be read", page, n, len(documented))
	}
	used := words(t)
	for _, name := range slices.Sorted(maps.Keys(used)) {
		if !documented[name] {
			t.Errorf("%s has no row for %s of %s", page, name, used[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(documented)) {
		if used[name] == "" {
			t.Errorf("%s has a row for %s, which the code does not have", page, name)
		}
	}
}

// words returns the values of the constants of wordsIn, and where they are.
func words(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for dir, names := range wordsIn {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range f.Decls {
				decl, ok := d.(*ast.GenDecl)
				if !ok || decl.Tok != token.CONST {
					continue
				}
				for _, s := range decl.Specs {
					spec := s.(*ast.ValueSpec)
					typ, _ := spec.Type.(*ast.Ident)
					for i, name := range spec.Names {
						if !names.MatchString(name.Name) || i >= len(spec.Values) || (dir == "alloc" || dir == "status") && (typ == nil || typ.Name != "Reason") {
							continue
						}
						if value, ok := constant(spec.Values[i]); ok {
							out[value] = dir + "." + name.Name
							found++
						}
					}
				}
			}
		}
		t.Logf("%d in %s", found, dir)
	}
	return out
}

// constant returns the text of an expression, without the prefix of Herald's
// conditions.
func constant(e ast.Expr) (string, bool) {
	if sum, ok := e.(*ast.BinaryExpr); ok {
		e = sum.Y
	}
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(lit.Value)
	return strings.TrimPrefix(text, "heraldlb.io/"), err == nil
}
