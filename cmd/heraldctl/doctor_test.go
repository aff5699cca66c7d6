// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	"sigs.k8s.io/yaml"

	"github.com/heraldlb/herald/deploy/crds"
	"github.com/heraldlb/herald/doctor"
)

// TestDoctor runs doctor on clusters with something beside Herald. The files are as those of
// TestMistakes; denied has what service accounts may not do, and missing the definitions that
// are not installed.
func TestDoctor(t *testing.T) {
	found := map[string]bool{}
	runFiles(t, "testdata/doctor/*.txtar", func(output string) {
		for _, m := range regexp.MustCompile(`(?m)^          docs: docs/doctor.md#(\w+)$`).FindAllStringSubmatch(output, -1) {
			found[m[1]] = true
		}
	})
	for _, c := range doctor.Examine(doctor.Facts{}).Checks {
		if !found[c.ID] {
			t.Errorf("no file has a finding of %s", c.ID)
		}
	}
}

// As JSON the report has each check, each finding with its page, and what could not be asked.
func TestDoctorJSON(t *testing.T) {
	serveCluster(t, abs(t, "testdata/doctor/forbidden.txtar"))
	code, stdout, stderr := runHere(t, "", "doctor", "-o", "json", "--context=c")
	var r doctor.Report
	if err := json.Unmarshal([]byte(stdout), &r); err != nil || code != exitUnknown || stderr != "" {
		t.Fatalf("exit %d, %v, %q in\n%s", code, err, stderr, stdout)
	}
	if r.SchemaVersion != doctor.SchemaVersion || r.Namespace != heraldNamespace || r.Overall != "unknown" || r.At.IsZero() || len(r.Checks) < 10 || len(r.Unasked) == 0 {
		t.Errorf("%+v", r)
	}
	if len(r.Findings) != 1 || r.Findings[0].ID != doctor.OneEndpoint || r.Findings[0].Docs != "docs/doctor.md#OneEndpoint" ||
		r.Findings[0].Next != "heraldctl why shop/web --context=c" {
		t.Errorf("findings %+v", r.Findings)
	}
}

// The page explains each member of the JSON, and shows what is really printed.
func TestDoctorPage(t *testing.T) {
	text, err := os.ReadFile("../../docs/doctor.md")
	if err != nil {
		t.Fatal(err)
	}
	wantMembers(t, reflect.TypeFor[doctor.Report](), string(text), map[reflect.Type]bool{})
	var printed strings.Builder
	files, err := filepath.Glob("testdata/doctor/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		printed.Write(b)
	}
	samples := fences(string(text), "console")
	for _, sample := range samples {
		command, output, _ := strings.Cut(sample, "\n")
		if !strings.Contains(printed.String(), "-- $ "+strings.TrimPrefix(command, "$ heraldctl ")+" --\n"+output) {
			t.Errorf("no case prints\n%s", sample)
		}
	}
	if len(samples) == 0 {
		t.Error("no samples")
	}
}

// environment answers what doctor alone asks: definitions, webhooks and rights.
func (c *fakeCluster) environment(w http.ResponseWriter, r *http.Request, fail func(code int, reason, message string)) bool {
	kind, name := path.Base(path.Dir(r.URL.Path)), path.Base(r.URL.Path)
	var answer any
	switch {
	case name == "subjectaccessreviews":
		var ask authorizationv1.SubjectAccessReview
		if err := json.NewDecoder(r.Body).Decode(&ask); err != nil {
			c.t.Error(err)
		}
		a := ask.Spec.ResourceAttributes
		who := ask.Spec.User[strings.LastIndex(ask.Spec.User, ":")+1:]
		what := a.Resource
		if a.Subresource != "" {
			what += "/" + a.Subresource
		}
		ask.Status.Allowed = !slices.Contains(c.denied, who+":"+a.Verb+":"+what)
		kind, answer = name, ask
	case kind == "customresourcedefinitions":
		if o := c.objects["CustomResourceDefinition//"+name]; o != nil {
			answer = o
		} else if !slices.Contains(c.missing, name) {
			text, err := fs.ReadFile(crds.Files(), strings.TrimSuffix(name, ".metallb.io")+".yaml")
			var o map[string]any
			if err == nil {
				err = yaml.Unmarshal(text, &o)
			}
			if err != nil {
				c.t.Error(err)
			}
			answer = o
		}
	case kind == "validatingwebhookconfigurations":
		if o := c.objects["ValidatingWebhookConfiguration//"+name]; o != nil {
			answer = o
		}
	default:
		return false
	}
	switch {
	case slices.Contains(c.forbidden, kind):
		fail(http.StatusForbidden, "Forbidden", kind+" is forbidden")
	case answer == nil:
		fail(http.StatusNotFound, "NotFound", "there is no such object")
	default:
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			c.t.Error(err)
		}
	}
	return true
}
