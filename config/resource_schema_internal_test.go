// SPDX-License-Identifier: Apache-2.0

package config

import (
	"io/fs"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/heraldlb/herald/deploy/crds"
)

// A schema is as much of an OpenAPI schema as Go's types say too.
type schema struct {
	Type       string            `json:"type"`
	Properties map[string]schema `json:"properties"`
	Items      *schema           `json:"items"`
	Map        *schema           `json:"additionalProperties"`
}

// The fields that are decoded are those of the schemas, and of their types.
func TestSchemas(t *testing.T) {
	raw := map[string]any{
		KindPool:             rawPool{},
		KindBFDProfile:       rawBFDProfile{},
		KindCommunity:        rawCommunity{},
		KindPeer:             rawPeer{},
		KindBGPAdvertisement: rawBGPAdvertisement{},
		KindL2Advertisement:  rawL2Advertisement{},
	}
	files, err := fs.Glob(crds.Files(), "*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		text, err := fs.ReadFile(crds.Files(), name)
		if err != nil {
			t.Fatal(err)
		}
		var crd struct {
			Spec struct {
				Names    struct{ Kind string }
				Versions []struct {
					Name   string
					Schema struct {
						OpenAPIV3Schema schema `json:"openAPIV3Schema"`
					}
				}
			}
		}
		if err := yaml.Unmarshal(text, &crd); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		kind := crd.Spec.Names.Kind
		if slices.Contains(statusKinds, kind) {
			continue
		}
		want, ok := raw[kind]
		if !ok {
			t.Errorf("%s defines %s, which is not decoded", name, kind)
			continue
		}
		delete(raw, kind)
		var versions []string
		for _, v := range crd.Spec.Versions {
			versions = append(versions, ResourceGroup+"/"+v.Name)
			compare(t, kind+" "+v.Name+": spec", v.Schema.OpenAPIV3Schema.Properties["spec"], reflect.TypeOf(want))
		}
		slices.Sort(versions)
		if served := slices.Sorted(slices.Values(resourceVersions(kind))); !slices.Equal(versions, served) {
			t.Errorf("%s is defined in the versions %v, and read in %v", kind, versions, served)
		}
	}
	for kind := range raw {
		t.Errorf("%s is decoded, but not defined", kind)
	}
}

// compare fails the test where a schema and a Go type differ.
func compare(t *testing.T, path string, s schema, g reflect.Type) {
	t.Helper()
	if g.Kind() == reflect.Pointer {
		g = g.Elem()
	}
	want := map[reflect.Kind]string{reflect.Struct: "object", reflect.Map: "object", reflect.Slice: "array", reflect.String: "string", reflect.Bool: "boolean"}[g.Kind()]
	if want == "" {
		want = "integer"
	}
	if s.Type != want {
		t.Errorf("%s is %q in the schema, %s in Go", path, s.Type, g)
		return
	}
	switch g.Kind() {
	case reflect.Slice:
		compare(t, path+"[]", *s.Items, g.Elem())
	case reflect.Map:
		compare(t, path+"{}", *s.Map, g.Elem())
	case reflect.Struct:
		fields := map[string]reflect.Type{}
		collectFields(g, fields)
		if a, b := slices.Sorted(maps.Keys(s.Properties)), slices.Sorted(maps.Keys(fields)); !slices.Equal(a, b) {
			t.Errorf("%s has the properties %v in the schema, %v in Go", path, a, b)
			return
		}
		for name, f := range fields {
			compare(t, path+"."+name, s.Properties[name], f)
		}
	}
}

// collectFields finds the JSON fields of a struct.
func collectFields(g reflect.Type, into map[string]reflect.Type) {
	for i := range g.NumField() {
		f := g.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous {
			collectFields(f.Type, into)
			continue
		}
		into[name] = f.Type
	}
}
