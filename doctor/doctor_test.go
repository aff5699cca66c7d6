// SPDX-License-Identifier: Apache-2.0

package doctor_test

import (
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/deploy"
	"github.com/heraldlb/herald/deploy/crds"
	"github.com/heraldlb/herald/doctor"
	"github.com/heraldlb/herald/topology"
)

// Each ID has a heading with its anchor on the page, and the page explains no others.
func TestPage(t *testing.T) {
	page, err := os.ReadFile("../" + doctor.Page)
	if err != nil {
		t.Fatal(err)
	}
	var have, want []string
	for _, m := range regexp.MustCompile("(?m)^### <a id=\"(\\w+)\"></a>`(\\w+)`$").FindAllStringSubmatch(string(page), -1) {
		if have = append(have, m[1]); m[1] != m[2] {
			t.Errorf("the anchor of %s is %s", m[2], m[1])
		}
	}
	for _, c := range doctor.Examine(doctor.Facts{}).Checks {
		want = append(want, c.ID)
	}
	if diff := cmp.Diff(want, have); diff != "" || len(want) < 10 {
		t.Errorf("the page explains (-want +got):\n%s", diff)
	}
}

// What could not be read is said, and is no finding. Without it nothing is called fine.
func TestLacking(t *testing.T) {
	for kind, want := range map[string][]string{
		doctor.KindDaemonSets:       {doctor.LoadBalancerBeside, doctor.StrictARPOff},
		doctor.KindWebhook:          {doctor.WebhookLeft},
		doctor.KindDefinitions:      {doctor.WebhookLeft, doctor.DefinitionOld},
		doctor.KindRights:           {doctor.RightMissing},
		doctor.KindProxy:            {doctor.StrictARPOff},
		topology.KindNodes:          {doctor.PoolOverlap, doctor.OneEndpoint},
		topology.KindEndpointSlices: {doctor.OneEndpoint},
		topology.KindResources:      {doctor.StrictARPOff, doctor.ExternalIPInPool, doctor.PoolOverlap, doctor.BFDNotUp},
		topology.KindServices:       {doctor.LoadBalancerBeside, doctor.StatusOverwritten, doctor.ExternalIPInPool, doctor.PoolOverlap, doctor.OneEndpoint},
		topology.KindPods:           {doctor.LoadBalancerBeside, doctor.RightMissing, doctor.VersionsDiffer, doctor.ClockSkew, doctor.BFDNotUp},
		doctor.KindCilium:           nil, // there is none
		topology.KindConfigMaps:     nil, // see Config.Unread
		topology.KindLease:          nil,
	} {
		f := doctor.Facts{Accounts: []string{"herald-agent"}, Wanted: definitions(t), Definitions: definitions(t)}
		f.Topology.Unasked = []topology.Unasked{{What: kind, Error: "no"}}
		r := doctor.Examine(f)
		var skipped []string
		for _, c := range r.Checks {
			if c.Skipped != "" {
				skipped = append(skipped, c.ID)
			}
		}
		if diff := cmp.Diff(want, skipped); diff != "" {
			t.Errorf("without %s these are skipped (-want +got):\n%s", kind, diff)
		}
		if fine := r.Overall == topology.ChainFine; fine != (len(want) == 0) || len(r.Findings) > 0 {
			t.Errorf("without %s: %s, %v", kind, r.Overall, r.Findings)
		}
	}
}

func definitions(t *testing.T) (out []doctor.Definition) {
	t.Helper()
	files, err := fs.Glob(crds.Files(), "*.yaml")
	if err != nil || len(files) != 9 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		text, err := fs.ReadFile(crds.Files(), name)
		if err != nil {
			t.Fatal(err)
		}
		d, err := doctor.ReadDefinition(text)
		if err != nil {
			t.Fatal(err)
		}
		if d.Name != strings.TrimSuffix(name, ".yaml")+".metallb.io" || len(d.Served) == 0 {
			t.Errorf("%s: %q serves %d versions", name, d.Name, len(d.Served))
		}
		out = append(out, d)
	}
	return out
}

// A definition lacks the outermost fields that it does not have, also in lists.
func TestDefinitionOld(t *testing.T) {
	read := func(fields string) doctor.Definition {
		d, err := doctor.ReadDefinition([]byte(`
metadata: {name: things.metallb.io}
spec:
  versions:
  - name: v1
    served: true
    schema: {openAPIV3Schema: {properties: {spec: {properties: ` + fields + `}}}}
  - {name: v0, served: false}
`))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	want := read(`{a: {}, b: {properties: {c: {}, d: {properties: {e: {}}}}}, list: {items: {properties: {f: {}, g: {}}}}}`)
	for _, tt := range []struct{ have, cause string }{
		{`{a: {}, b: {properties: {c: {}, d: {properties: {e: {}}}}}, list: {items: {properties: {f: {}, g: {}}}}, more: {}}`, ""},
		{`{a: {}, b: {x-kubernetes-preserve-unknown-fields: true}, list: {items: {properties: {f: {}, g: {}}}}}`, ""},
		{`{b: {properties: {c: {}}}, list: {items: {properties: {g: {}}}}}`, "it is another version's: the API server drops spec.a, spec.b.d, spec.list[].f"},
	} {
		r := doctor.Examine(doctor.Facts{Wanted: []doctor.Definition{want}, Definitions: []doctor.Definition{read(tt.have)}})
		cause := ""
		for _, f := range r.Findings {
			cause += f.Cause
		}
		if cause != tt.cause {
			t.Errorf("%s: %q, want %q", tt.have, cause, tt.cause)
		}
	}
}

// The rights are those of the manifests, without Secrets, and each once.
func TestReadRights(t *testing.T) {
	all, err := doctor.ReadRights(deploy.RBAC)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []doctor.Right{
		{"controller", "", "services/status", "", "patch", false},
		{"controller", "coordination.k8s.io", "leases", "herald-controller", "update", true},
		{"agent", "", "nodes", "", "watch", false},
		{"agent", "metallb.io", "servicebgpstatuses/status", "", "patch", true},
	} {
		if !slices.Contains(all, want) {
			t.Errorf("%+v is missing", want)
		}
		if needed := want.Needed(true); needed != (want.Group != "metallb.io") || !want.Needed(false) {
			t.Errorf("%+v is needed without statuses of Services: %t", want, needed)
		}
	}
	seen := map[doctor.Right]bool{}
	for _, r := range all {
		if seen[r] || r.Resource == "secrets" || r.Component != "agent" && r.Component != "controller" {
			t.Errorf("%+v", r)
		}
		seen[r] = true
	}
	if len(all) < 60 {
		t.Errorf("%d rights", len(all))
	}
}
