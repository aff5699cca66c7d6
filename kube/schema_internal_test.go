// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"io/fs"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/heraldlb/herald/deploy/crds"
)

// A property is as much of an OpenAPI schema as Go's types say too.
type property struct {
	Properties map[string]property `json:"properties"`
	Items      *property           `json:"items"`
}

// What is written of sessions is in the definitions: an API server drops what is not.
func TestSchemasOfSessions(t *testing.T) {
	for _, tt := range []struct {
		file string
		of   reflect.Type
		path []string // below status
	}{
		{"bgppeers.yaml", reflect.TypeFor[peerSessions](), []string{"sessions"}},
		{"bgppeers.yaml", reflect.TypeFor[nodeSession](), []string{"sessions", "nodes"}},
		{"configurationstates.yaml", reflect.TypeFor[sessionStatus](), []string{"sessions"}},
	} {
		text, err := fs.ReadFile(crds.Files(), tt.file)
		if err != nil {
			t.Fatal(err)
		}
		var crd struct {
			Spec struct {
				Versions []struct {
					Name   string
					Schema struct {
						OpenAPIV3Schema property `json:"openAPIV3Schema"`
					}
				}
			}
		}
		if err := yaml.Unmarshal(text, &crd); err != nil {
			t.Fatal(err)
		}
		var want []string
		for i := range tt.of.NumField() {
			name, _, _ := strings.Cut(tt.of.Field(i).Tag.Get("json"), ",")
			want = append(want, name)
		}
		slices.Sort(want)
		for _, v := range crd.Spec.Versions {
			p := v.Schema.OpenAPIV3Schema.Properties["status"]
			for _, name := range tt.path {
				if p = p.Properties[name]; p.Items != nil {
					p = *p.Items
				}
			}
			var got []string
			for name := range p.Properties {
				got = append(got, name)
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("%s %s: status.%s has %v, and %v is written", tt.file, v.Name, strings.Join(tt.path, "."), got, want)
			}
		}
	}
}
