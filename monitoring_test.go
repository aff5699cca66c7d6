// SPDX-License-Identifier: Apache-2.0

package herald_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/heraldlb/herald/lab/need"
)

// TestDashboards wants dashboards that Grafana can update in place, for any data source.
func TestDashboards(t *testing.T) {
	files, err := filepath.Glob("deploy/monitoring/dashboards/*.json")
	if err != nil || len(files) != 3 {
		t.Fatalf("%q, %v", files, err)
	}
	type at struct{ X, Y, W, H int }
	for _, file := range files {
		name := strings.TrimSuffix(path.Base(file), ".json")
		var d struct {
			UID, Title string
			Templating struct{ List []struct{ Name, Type string } }
			Panels     []struct {
				ID          int
				Type, Title string
				Datasource  struct{ UID string }
				GridPos     at
				Targets     []struct {
					Expr, RefID string
					Datasource  struct{ UID string }
				}
			}
		}
		b, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(b, &d)
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if d.UID != "herald-"+name || d.Title == "" {
			t.Errorf("%s has the uid %q and the title %q", file, d.UID, d.Title)
		}
		variables := map[string]bool{}
		for _, v := range d.Templating.List {
			variables[v.Name] = true
		}
		if !variables["datasource"] || !variables["namespace"] {
			t.Errorf("%s has the variables %v", file, variables)
		}
		ids, used := map[int]bool{}, map[string]bool{"datasource": true}
		var places []at
		for _, p := range d.Panels {
			if ids[p.ID] {
				t.Errorf("%s: two panels have the ID %d", file, p.ID)
			}
			ids[p.ID] = true
			for _, o := range places {
				if g := p.GridPos; g.X < o.X+o.W && o.X < g.X+g.W && g.Y < o.Y+o.H && o.Y < g.Y+g.H {
					t.Errorf("%s: %s covers another panel", file, p.Title)
				}
			}
			places = append(places, p.GridPos)
			if p.Type == "row" {
				continue
			}
			if p.Title == "" || p.Datasource.UID != "${datasource}" || len(p.Targets) == 0 {
				t.Errorf("%s: panel %d, %q, of data source %q, has %d expressions", file, p.ID, p.Title, p.Datasource.UID, len(p.Targets))
			}
			for _, q := range p.Targets {
				if q.Datasource.UID != "${datasource}" {
					t.Errorf("%s: %s, %s has the data source %q", file, p.Title, q.RefID, q.Datasource.UID)
				}
				for _, v := range regexp.MustCompile(`\$([a-z]+)`).FindAllStringSubmatch(q.Expr, -1) {
					used[v[1]] = true
					if !variables[v[1]] {
						t.Errorf("%s: %s names $%s, which is no variable", file, p.Title, v[1])
					}
				}
			}
		}
		for v := range variables {
			if !used[v] {
				t.Errorf("%s: no panel uses $%s", file, v)
			}
		}
	}
}

// TestScrapeConfig wants the configuration of Prometheus in docs/monitoring.md to be good.
func TestScrapeConfig(t *testing.T) {
	need.Program(t, "promtool")
	b, err := os.ReadFile("docs/monitoring.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```yaml\n(rule_files:.*?)```").FindStringSubmatch(string(b))
	if m == nil {
		t.Fatal("there is none")
	}
	// Debian's Prometheus is built without Kubernetes.
	discovery := regexp.MustCompile(`kubernetes_sd_configs: \[\{role: pod, namespaces: \{names: \[metallb-system\]\}\}\]`)
	if !discovery.MatchString(m[1]) {
		t.Errorf("it finds no pods:\n%s", m[1])
	}
	file := filepath.Join(t.TempDir(), "prometheus.yml")
	if err := os.WriteFile(file, []byte(discovery.ReplaceAllString(m[1], "static_configs: []")), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "promtool", "check", "config", "--syntax-only", file).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestLinks wants links between pages to lead to a page and a section that exist.
func TestLinks(t *testing.T) {
	pages, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	pages = append(pages, "README.md", "CHANGELOG.md", "ARCHITECTURE.md", "CONTRIBUTING.md")
	anchors := map[string][]string{}
	texts := map[string]string{}
	link := regexp.MustCompile(`\]\(([^)#:]*)(?:#([^)]*))?\)`)
	plain := regexp.MustCompile("[^a-z0-9 _-]")
	for _, page := range pages {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		texts[page] = regexp.MustCompile("(?s)```.*?```").ReplaceAllString(string(b), "")
		for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(texts[page], -1) {
			anchors[page] = append(anchors[page], strings.ReplaceAll(plain.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-"))
		}
		for _, m := range regexp.MustCompile(`<a id="([^"]+)">`).FindAllStringSubmatch(texts[page], -1) {
			anchors[page] = append(anchors[page], m[1])
		}
	}
	for page, text := range texts {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			to := page
			if m[1] != "" {
				to = path.Join(path.Dir(page), m[1])
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s: %s: %v", page, m[0], err)
			}
			if _, read := texts[to]; read && m[2] != "" && !slices.Contains(anchors[to], m[2]) {
				t.Errorf("%s: %s: %s has no such section", page, m[0], to)
			}
		}
	}
}

// TestMonitorsNameNodes wants the series of agents and FRR to have the label that alerts and
// dashboards use.
func TestMonitorsNameNodes(t *testing.T) {
	m := readManifests(t, "deploy/monitoring/operator/podmonitors.yaml")
	type endpoint struct {
		Port        string
		Relabelings []struct {
			SourceLabels []string
			TargetLabel  string
		}
	}
	type monitor struct {
		APIVersion, Kind string
		Metadata         any
		Spec             struct {
			Selector, NamespaceSelector any
			PodMetricsEndpoints         []endpoint
		}
	}
	if ports := object[monitor](t, m, "PodMonitor/herald-controller").Spec.PodMetricsEndpoints; len(ports) != 1 || len(ports[0].Relabelings) > 0 {
		t.Errorf("the controllers' monitor is %+v", ports)
	}
	ports := object[monitor](t, m, "PodMonitor/herald-agent").Spec.PodMetricsEndpoints
	if len(ports) != 2 {
		t.Fatalf("the agents' monitor is %+v", ports)
	}
	for _, p := range ports {
		if len(p.Relabelings) != 1 || p.Relabelings[0].TargetLabel != "node" || !slices.Equal(p.Relabelings[0].SourceLabels, []string{"__meta_kubernetes_pod_node_name"}) {
			t.Errorf("port %s has the relabelings %+v", p.Port, p.Relabelings)
		}
	}
}
