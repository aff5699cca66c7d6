// SPDX-License-Identifier: Apache-2.0

package reconcile_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/kube/object"
	"github.com/heraldlb/herald/render"
	"github.com/heraldlb/herald/status"
)

var update = flag.Bool("update", false, "rewrite the golden files of testdata/scenarios")

// TestScenarios takes each scenario all the way: config.yaml and objects.yaml
// give decisions.json and frr.conf on the node.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("../testdata/scenarios/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			scenario, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			in := map[string][]byte{}
			for _, f := range scenario.Files {
				in[f.Name] = f.Data
			}
			s, err := object.Read(bytes.NewReader(in["objects.yaml"]))
			if err != nil {
				t.Fatalf("objects.yaml: %v", err)
			}
			s.Config, err = config.Parse(in["config.yaml"])
			if err != nil {
				t.Fatalf("config.yaml: %v", err)
			}
			node := strings.TrimSpace(string(in["node"]))
			d := announce.Foresee(s, node, announce.Options{})

			decisions, err := json.MarshalIndent(struct {
				Peers     []status.Peer     `json:"peers"`
				Decisions []status.Decision `json:"decisions"`
			}{d.Peers, d.Decisions}, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			conf, err := render.FRR(d.BGP)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, file, scenario, "decisions.json", append(decisions, '\n'))
			golden(t, file, scenario, "frr.conf", conf)
		})
	}
}

// golden compares got with a file of a scenario, or with -update writes it.
func golden(t *testing.T, path string, scenario *txtar.Archive, name string, got []byte) {
	t.Helper()
	var want *txtar.File
	for i := range scenario.Files {
		if scenario.Files[i].Name == name {
			want = &scenario.Files[i]
		}
	}
	if *update {
		if want == nil {
			scenario.Files = append(scenario.Files, txtar.File{Name: name})
			want = &scenario.Files[len(scenario.Files)-1]
		}
		want.Data = got
		if err := os.WriteFile(path, txtar.Format(scenario), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want == nil {
		t.Fatalf("the scenario has no %s; run go test with -update", name)
	}
	if diff := cmp.Diff(string(want.Data), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}
