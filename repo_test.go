// SPDX-License-Identifier: Apache-2.0

package herald_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/heraldlb/herald/"

// imports says which of our packages a package may import. A package that is
// not listed may not exist; cmd and lab may import anything.
var imports = map[string][]string{
	"wake":        {},
	"trace":       {},
	"manifest":    {},
	"excerpt":     {},
	"port":        {},
	"table":       {},
	"config":      {"excerpt", "manifest"},
	"deploy":      {},
	"deploy/crds": {},
	"schema":      {"deploy/crds"},
	"alloc":       {"config", "excerpt", "port", "wake"},
	"status":      {"excerpt"},
	"diagnosis":   {"status"},
	"kernel":      {},
	"render":      {"config", "status", "table"},
	"cluster":     {"config", "excerpt", "port", "status", "table"},
	"source":      {"cluster", "config", "status"},
	"assign":      {"alloc", "cluster", "config", "excerpt", "status", "table"},
	"announce":    {"cluster", "config", "excerpt", "render", "status", "table"},
	"condition":   {"announce", "assign", "cluster", "config", "excerpt", "status", "table", "wake"},
	"topology":    {"alloc", "announce", "assign", "cluster", "condition", "config", "source", "status", "table"},
	"doctor":      {"cluster", "config", "topology"},
	"handover":    {"announce", "cluster", "render", "status", "table", "wake"},
	"dataplane":   {"announce", "status", "table", "trace", "wake"},
	"probe":       {"announce", "config", "dataplane", "status", "table", "wake"},
	"reconcile":   {"alloc", "announce", "assign", "cluster", "condition", "config", "handover", "render", "source", "status", "table", "trace", "wake"},

	"announce/announcetest": {"announce", "cluster", "config", "port", "status"},
	"cluster/clustertest":   {"cluster", "port"},

	"l2/members/memberstest": {},

	"frr/conf":     {"status"},
	"frr/contract": {"frr/conf"},
	"frr/vty":      {"frr/conf"},

	"frr":         {"frr/conf", "frr/contract", "frr/vty", "status", "table", "trace", "wake"},
	"frr/extras":  {"frr/conf", "frr/contract", "frr/vty", "status", "wake"},
	"frr/frrtest": {},
	"frr/sidecar": {"frr/conf", "frr/contract", "frr/vty", "frr", "status", "wake"},
	"session":     {"cluster", "diagnosis", "frr", "frr/vty", "kernel", "status"},
	"kube":        {"assign", "cluster", "condition", "config", "doctor", "excerpt", "kube/object", "reconcile", "source", "status", "table", "topology", "trace", "wake"},
	"kube/lease":  {},
	"kube/object": {"cluster", "config", "excerpt", "manifest", "port", "status"},
	"l2":          {"table", "wake"},
	"l2/members":  {"wake"},
	"l2/node":     {"announce", "cluster", "excerpt", "handover", "l2", "l2/members", "reconcile", "status", "table", "wake"},

	"hack/testreport": {},
}

// restricted names packages that may be imported in few places, and why.
var restricted = []struct {
	prefix string
	in     []string
	why    string
}{
	{"k8s.io/api", []string{"kube", "lab", "cmd"}, "Kubernetes' types are decoded in kube alone"},
	{"k8s.io/client-go", []string{"kube", "lab", "cmd"}, "the API server is reached through kube alone"},
	{"k8s.io/apiextensions-apiserver", []string{"schema", "lab"}, "the API server's validators are large: heraldctl alone carries them"},
	{"k8s.io/cli-runtime", []string{"cmd/heraldctl"}, "kubectl's flags bring all of Kubernetes' types: heraldctl alone carries them"},
	{"sigs.k8s.io/kustomize", []string{"cmd/heraldctl"}, "kustomize is for heraldctl check -k alone"},
	{"k8s.io/apiserver", []string{"schema", "lab"}, "the API server's validators are large: heraldctl alone carries them"},
	{module + "schema", []string{"cmd/heraldctl", "lab"}, "the API server's validators are large: heraldctl alone carries them"},
	{"os/exec", []string{"lab", "cmd/herald-lab", "cmd/heraldctl", "frr/sidecar"}, "Herald runs no programs but FRR's, in FRR's container; heraldctl opens a browser"},
	{"github.com/chromedp", []string{"cmd/internal/page"}, "a browser is driven by the page's tests alone"},
	{"github.com/osrg/gobgp", []string{"lab"}, "Herald's BGP is FRR's"},
	{"github.com/vishvananda/netlink", []string{"l2", "lab"}, "links are layer 2's"},
	{"github.com/hashicorp/memberlist", []string{"l2/members"}, "who is alive is asked there alone"},
	{"github.com/mdlayher", []string{"l2", "lab"}, "ARP and neighbor discovery are layer 2's"},
	{"github.com/prometheus", []string{"status", "frr/sidecar", "cmd"}, "metrics are a view of the status"},
}

// pure lists packages whose code, tests aside, has no I/O, clock, environment
// or log.
var pure = map[string][]string{
	"wake":     {"os", "net", "log", "log/slog", "sync", "context"},
	"manifest": {"os", "net", "log", "log/slog", "sync", "context"},
	"excerpt":  {"os", "net", "log", "log/slog", "sync", "context"},
	"port":     {"os", "net", "log", "log/slog", "sync", "context"},

	"config": {"os", "net", "log", "log/slog", "sync", "context"},
	"alloc":  {"os", "net", "log", "log/slog", "sync", "context"},
	"render": {"os", "net", "log", "log/slog", "sync", "context"},

	"cluster":   {"os", "net", "log", "log/slog", "sync", "context"},
	"assign":    {"os", "net", "log", "log/slog", "sync", "context"},
	"announce":  {"os", "net", "log", "log/slog", "sync", "context"},
	"condition": {"os", "net", "log", "log/slog", "sync", "context"},
	"topology":  {"os", "net", "log", "log/slog", "sync", "context"},
	"doctor":    {"os", "net", "log", "log/slog", "sync", "context"},
	"handover":  {"os", "net", "log", "log/slog", "sync", "context"},

	"frr/conf":    {"os", "net", "log", "log/slog", "sync", "context"},
	"kube/object": {"os", "net", "log", "log/slog", "sync", "context"},

	"diagnosis": {"os", "net", "log", "log/slog", "sync", "context"},
}

func TestImports(t *testing.T) {
	for dir, files := range packages(t) {
		top, _, _ := strings.Cut(dir, "/")
		allowed, listed := imports[dir]
		if !listed && top != "cmd" && top != "lab" && dir != "." {
			t.Errorf("%s: not in the import table; add it there and in ARCHITECTURE.md", dir)
		}
		for name, f := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			for _, spec := range f.Imports {
				p, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					t.Fatal(err)
				}
				if ours, ok := strings.CutPrefix(p, module); ok && listed && !slices.Contains(allowed, ours) {
					t.Errorf("%s imports %s; the table allows %v", name, ours, allowed)
				}
				for _, r := range restricted {
					in := slices.ContainsFunc(r.in, func(d string) bool { return dir == d || strings.HasPrefix(dir, d+"/") })
					if (p == r.prefix || strings.HasPrefix(p, r.prefix+"/")) && !in {
						t.Errorf("%s imports %s: %s", name, p, r.why)
					}
				}
				// slog is allowed where a value only says how it is logged.
				if slices.Contains(pure[dir], p) && path.Base(name) != "secret.go" {
					t.Errorf("%s imports %s, but %s is pure", name, p, dir)
				}
			}
		}
	}
}

// TestPureClocks wants pure packages to be told what time it is.
func TestPureClocks(t *testing.T) {
	clock := []string{"Now", "Since", "Until", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick", "Sleep"}
	for dir, files := range packages(t) {
		if _, ok := pure[dir]; !ok {
			continue
		}
		for name, f := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			ast.Inspect(f, func(n ast.Node) bool {
				sel, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				if pkg, ok := sel.X.(*ast.Ident); ok && pkg.Name == "time" && slices.Contains(clock, sel.Sel.Name) {
					t.Errorf("%s uses time.%s, but %s is pure", name, sel.Sel.Name, dir)
				}
				return true
			})
		}
	}
}

// TestLabKubeVersions wants lab/kube to use the versions of Herald's own module:
// otherwise what both need is compiled twice, which takes minutes.
func TestLabKubeVersions(t *testing.T) {
	ours, kube := requirements(t, "go.mod"), requirements(t, "lab/kube/go.mod")
	for _, name := range slices.Sorted(maps.Keys(kube)) {
		if our, ok := ours[name]; ok && our != kube[name] {
			t.Errorf("lab/kube requires %s %s, Herald %s; in lab/kube, run go get %[1]s@%[3]s", name, kube[name], our)
		}
	}
}

// requirements returns the versions of the modules that a go.mod file requires.
func requirements(t *testing.T, file string) map[string]string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	versions := map[string]string{}
	for line := range strings.Lines(string(b)) {
		if name, version, ok := strings.Cut(strings.TrimSpace(line), " v"); ok && strings.HasPrefix(line, "\t") {
			versions[name], _, _ = strings.Cut("v"+version, " ")
		}
	}
	if len(versions) == 0 {
		t.Fatalf("%s: no requirements", file)
	}
	return versions
}

func TestPackageComments(t *testing.T) {
	for dir, files := range packages(t) {
		var comments []string
		for name, f := range files {
			if f.Doc != nil && !strings.HasSuffix(name, "_test.go") {
				comments = append(comments, f.Doc.Text())
			}
		}
		if len(comments) != 1 {
			t.Errorf("%s: %d package comments, want one", dir, len(comments))
		}
	}
}

func TestLicenseLines(t *testing.T) {
	const want = "// SPDX-License-Identifier: Apache-2.0\n\n"
	for _, files := range packages(t) {
		for _, name := range slices.Sorted(maps.Keys(files)) {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(string(b), want) {
				t.Errorf("%s does not start with %q", name, want)
			}
		}
	}
}

// packages parses every Go file below the root, by directory and file name.
func packages(t *testing.T) map[string]map[string]*ast.File {
	t.Helper()
	out := map[string]map[string]*ast.File{}
	fset := token.NewFileSet()
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "bin" || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if d.IsDir() || filepath.Ext(name) != ".go" {
			return nil
		}
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		dir := filepath.ToSlash(filepath.Dir(name))
		if out[dir] == nil {
			out[dir] = map[string]*ast.File{}
		}
		out[dir][name] = f
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
