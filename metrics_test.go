// SPDX-License-Identifier: Apache-2.0

package herald_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var updatePages = flag.Bool("update", false, "rewrite the table of metrics in docs/monitoring.md")

// A metric is one that the code exports.
type metric struct {
	name, help, kind string
	labels           []string
	from             string // which process has it
}

// metricName matches the names of Herald's metrics, those of MetalLB included.
var metricName = regexp.MustCompile(`^(herald|metallb)_[a-z0-9_]+$`)

// TestMetricsDocumented holds the table of docs/monitoring.md against the code. -update
// writes it anew.
func TestMetricsDocumented(t *testing.T) {
	const page, begin, end = "docs/monitoring.md", "<!-- metrics, made by: go test . -run MetricsDocumented -update -->\n", "<!-- end of metrics -->\n"
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), begin)
	have, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no lines %q and %q", page, begin, end)
	}
	want := "| metric | type | labels | from | meaning |\n|---|---|---|---|---|\n"
	all := metrics(t)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		m := all[name]
		labels := ""
		if len(m.labels) > 0 {
			labels = "`" + strings.Join(m.labels, "`, `") + "`"
		}
		if m.help == "" || m.kind == "" || m.from == "" {
			t.Errorf("%s: the test cannot tell its help, type or process: %+v", name, m)
		}
		want += fmt.Sprintf("| `%s` | %s | %s | %s | %s |\n", name, m.kind, labels, m.from, m.help)
	}
	if *updatePages {
		if err := os.WriteFile(page, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if have != want {
		t.Errorf("%s is not as the code says; run go test . -run MetricsDocumented -update, and read the diff", page)
	}
}

// metrics returns the metrics that the code exports, by name. It reads the code, since which
// metrics a process has depends on what happens in it.
func metrics(t *testing.T) map[string]metric {
	t.Helper()
	all := map[string]metric{}
	add := func(m metric) {
		if !metricName.MatchString(m.name) {
			return
		}
		// herald-frr exports the metrics of sessions in place of the agent.
		if old, twice := all[m.name]; twice && old.from != m.from {
			if old.help != m.help || old.kind != m.kind {
				t.Errorf("%s is %+v, and %+v", m.name, old, m)
			}
			m.from = "FRR, or the agent"
		}
		all[m.name] = m
	}
	for dir, files := range packages(t) {
		if top, _, _ := strings.Cut(dir, "/"); top == "lab" || top == "hack" {
			continue
		}
		s := metricSource{dir: dir, constants: map[string]string{}, descs: map[string]metric{}, lists: map[string][]string{}, fields: map[string][]string{}}
		for name, f := range files {
			if !strings.HasSuffix(name, "_test.go") {
				s.files = append(s.files, f)
			}
		}
		s.read()
		for _, m := range s.found {
			add(m)
		}
		for _, m := range s.descs {
			add(m)
		}
	}
	return all
}

// A metricSource finds the metrics of a package.
type metricSource struct {
	dir       string
	files     []*ast.File
	constants map[string]string   // texts by name
	lists     map[string][]string // lists of labels by name
	fields    map[string][]string // lists of constants by name
	descs     map[string]metric   // by the variable that has the description
	found     []metric
}

func (s *metricSource) read() {
	for _, f := range s.files {
		ast.Inspect(f, s.declared)
	}
	for _, f := range s.files {
		for _, d := range f.Decls {
			in := ""
			if fn, ok := d.(*ast.FuncDecl); ok {
				in = fn.Name.Name
			}
			ast.Inspect(d, func(n ast.Node) bool { return s.visit(n, in) })
		}
	}
}

// declared takes in constants, lists of texts and descriptions.
func (s *metricSource) declared(n ast.Node) bool {
	v, ok := n.(*ast.ValueSpec)
	if !ok || len(v.Values) != len(v.Names) {
		return true
	}
	for i, name := range v.Names {
		switch x := v.Values[i].(type) {
		case *ast.BasicLit:
			s.constants[name.Name] = s.text(x)
		case *ast.CompositeLit:
			s.lists[name.Name] = s.texts(x)
			for _, e := range x.Elts {
				if id, ok := e.(*ast.Ident); ok {
					s.fields[name.Name] = append(s.fields[name.Name], id.Name)
				}
			}
		case *ast.CallExpr:
			if called(x) == "NewDesc" && len(x.Args) == 4 {
				s.descs[name.Name] = metric{name: s.text(x.Args[0]), help: s.text(x.Args[1]), labels: s.texts(x.Args[2])}
			}
		}
	}
	return true
}

// visit takes in where metrics are made.
func (s *metricSource) visit(n ast.Node, in string) bool {
	switch x := n.(type) {
	case *ast.CallExpr:
		switch name := called(x); {
		case name == "of" && len(x.Args) == 4:
			s.found = append(s.found, metric{s.text(x.Args[0]), s.text(x.Args[1]), s.kind(x.Args[2]), s.lists["sessionLabels"], "FRR"})
		case len(x.Args) > 1 && (name == "gauge" || name == "counter" || name == "send"):
			id, _ := x.Args[0].(*ast.Ident)
			if id == nil {
				break
			}
			if m, ok := s.descs[id.Name]; ok {
				m.kind, m.from = name, s.from(in)
				if name == "send" {
					m.kind = s.kind(x.Args[1])
				}
				s.descs[id.Name] = m
			}
		case strings.HasSuffix(name, "Vec") && len(x.Args) == 2:
			if opts, ok := x.Args[0].(*ast.CompositeLit); ok {
				s.options(opts, s.texts(x.Args[1]), "")
				return false
			}
		}
	case *ast.KeyValueExpr:
		if span, ok := x.Key.(*ast.Ident); ok && strings.HasPrefix(span.Name, "Span") {
			if opts, ok := x.Value.(*ast.CompositeLit); ok {
				s.options(opts, nil, span.Name)
				return false
			}
		}
	case *ast.CompositeLit:
		s.options(x, nil, "")
	}
	return true
}

// options takes in the options of a metric, if this is them.
func (s *metricSource) options(x *ast.CompositeLit, labels []string, span string) {
	m := metric{labels: labels, kind: "histogram", from: s.from("")}
	if sel, ok := x.Type.(*ast.SelectorExpr); ok {
		m.kind = strings.ToLower(strings.TrimSuffix(sel.Sel.Name, "Opts"))
	}
	for _, e := range x.Elts {
		kv, ok := e.(*ast.KeyValueExpr)
		if !ok {
			return
		}
		switch key, _ := kv.Key.(*ast.Ident); {
		case key == nil:
			return
		case key.Name == "Name":
			m.name = s.text(kv.Value)
		case key.Name == "Help":
			m.help = s.text(kv.Value)
		case key.Name == "ConstLabels":
			for _, l := range kv.Value.(*ast.CompositeLit).Elts {
				m.labels = append(m.labels, s.text(l.(*ast.KeyValueExpr).Key))
			}
		}
	}
	for _, who := range []string{"controller", "agent"} {
		if slices.Contains(s.fields[strings.ToUpper(who[:1])+who[1:]+"Spans"], span) {
			m.from = who
		}
	}
	if m.name != "" && m.help != "" {
		s.found = append(s.found, m)
	}
}

// from returns which process a metric is of that this function makes.
func (s *metricSource) from(function string) string {
	switch {
	case s.dir == "frr/sidecar":
		return "FRR"
	case function == "controller":
		return "controller"
	case function == "" || function == "Collect":
		return "controller, agent"
	}
	return "agent"
}

func (s *metricSource) kind(x ast.Expr) string {
	id, _ := x.(*ast.Ident)
	if id == nil {
		return ""
	}
	return map[string]string{"gauge": "gauge", "count": "counter"}[id.Name]
}

// text returns the text that an expression is.
func (s *metricSource) text(x ast.Expr) string {
	switch x := x.(type) {
	case *ast.Ident:
		return s.constants[x.Name]
	case *ast.BasicLit:
		if x.Kind == token.STRING {
			text, _ := strconv.Unquote(x.Value)
			return text
		}
	}
	return ""
}

func (s *metricSource) texts(x ast.Expr) (out []string) {
	switch x := x.(type) {
	case *ast.Ident:
		return s.lists[x.Name]
	case *ast.CompositeLit:
		for _, e := range x.Elts {
			if text := s.text(e); text != "" {
				out = append(out, text)
			}
		}
	}
	return out
}

// called returns the name of the function that is called.
func called(x *ast.CallExpr) string {
	switch f := x.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	}
	return ""
}

// TestMetricsNamed wants every metric that a page, rule or dashboard names to exist.
func TestMetricsNamed(t *testing.T) {
	all := metrics(t)
	word := regexp.MustCompile(`\b(herald|metallb)_[a-z0-9_]+\b`)
	// What looks like a metric, and is none: names with a wildcard, and those that pages say
	// do not exist.
	others := map[string]bool{"metallb_bgp_pending_prefixes_total": true}
	var files []string
	for _, pattern := range []string{"docs/*.md", "README.md", "deploy/monitoring/*.yaml", "deploy/monitoring/*/*.yaml", "deploy/monitoring/*/*.json"} {
		some, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, some...)
	}
	named := map[string]bool{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range word.FindAllString(string(b), -1) {
			base := name
			for _, suffix := range []string{"_bucket", "_count", "_sum"} {
				if m, ok := all[strings.TrimSuffix(name, suffix)]; ok && m.kind == "histogram" {
					base = m.name
				}
			}
			if _, ok := all[base]; !ok && !others[name] && !strings.HasSuffix(name, "_") {
				t.Errorf("%s names %s, which is no metric", file, name)
			}
			if path.Dir(file) != "docs" {
				named[base] = true
			}
		}
	}
	if len(named) < 30 {
		t.Errorf("rules and dashboards name %d metrics: %q", len(named), slices.Sorted(maps.Keys(named)))
	}
}
