// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"bytes"
	"encoding/json"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/invopop/jsonschema"
	validator "github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/heraldlb/herald/status"
)

// schemaFile is the published schema of /status.
const schemaFile = "../docs/status.schema.json"

// absent is how comments speak of members that are left out.
var absent = regexp.MustCompile(`\b(nil|zero|empty):`)

// schema returns the JSON schema of a Report, made of the types and their comments. A strict
// one has no other members: the published one allows those of later versions.
func schema(t *testing.T, strict bool) []byte {
	t.Helper()
	text := func(format string) *jsonschema.Schema { return &jsonschema.Schema{Type: "string", Format: format} }
	kinds := map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[netip.Addr](): text(""), reflect.TypeFor[netip.AddrPort](): text(""), reflect.TypeFor[netip.Prefix](): text(""),
		reflect.TypeFor[time.Time](): text("date-time"), reflect.TypeFor[big.Int](): {Type: "integer"},
	}
	r := &jsonschema.Reflector{
		AllowAdditionalProperties: !strict,
		Anonymous:                 true,
		Mapper: func(t reflect.Type) *jsonschema.Schema {
			if known := kinds[t]; known != nil {
				copied := *known
				return &copied
			}
			return nil
		},
	}
	if err := r.AddGoComments("github.com/heraldlb/herald/status", ".", jsonschema.WithFullComment()); err != nil {
		t.Fatal(err)
	}
	for name, comment := range r.CommentMap {
		r.CommentMap[name] = absent.ReplaceAllString(strings.Join(strings.Fields(comment), " "), "missing:")
	}
	s := r.Reflect(&status.Report{})
	s.Title, s.Description = "Herald's /status", "What herald-controller and herald-agent say of themselves. See docs/status-json.md."
	page, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(page, '\n')
}

// validate returns why a page does not agree with a schema; nil: it does.
func validate(t *testing.T, schema []byte, page string) error {
	t.Helper()
	doc, err := validator.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		t.Fatal(err)
	}
	c := validator.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("status.json", doc); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("status.json")
	if err != nil {
		t.Fatal(err)
	}
	instance, err := validator.UnmarshalJSON(strings.NewReader(page))
	if err != nil {
		t.Fatalf("%v in %s", err, page)
	}
	return compiled.Validate(instance)
}

// The published schema is that of the types. -update writes it.
func TestSchema(t *testing.T) {
	is := schema(t, false)
	if *update {
		if err := os.WriteFile(schemaFile, is, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	published, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(published), string(is)); diff != "" {
		t.Errorf("%s is not that of the types; run: go test ./status -update (-published +types):\n%s", schemaFile, diff)
	}
	var defs struct {
		Defs map[string]struct {
			Description string
			Properties  map[string]struct{ Description string }
		} `json:"$defs"`
	}
	if err := json.Unmarshal(is, &defs); err != nil {
		t.Fatal(err)
	}
	for name, d := range defs.Defs {
		if d.Description == "" {
			t.Errorf("%s has no description: give its type a comment", name)
		}
	}
	for member, p := range defs.Defs["Report"].Properties {
		if plain := []string{"component", "version", "pod"}; p.Description == "" && !slices.Contains(plain, member) {
			t.Errorf("%s has no description: give its field a comment", member)
		}
	}
}

// A Report with all members agrees with the schema, and so do the golden ones. With the
// strict schema nothing may be in a page that is not in the schema.
func TestSchemaOfReports(t *testing.T) {
	strict := schema(t, true)
	full := filled(reflect.TypeFor[status.Report]()).Interface().(status.Report)
	page, err := json.Marshal(full)
	if err != nil {
		t.Fatal(err)
	}
	pages := map[string]string{"all members": string(page)}
	for _, name := range []string{"agent.json", "controller.json"} {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		pages[name] = string(text)
	}
	for name, page := range pages {
		if err := validate(t, strict, page); err != nil {
			t.Errorf("%s: %v\n%s", name, err, page)
		}
	}
	for name, page := range map[string]string{
		"no version":       strings.Replace(pages["agent.json"], `"schemaVersion": 1,`, "", 1),
		"another type":     strings.Replace(pages["agent.json"], `"synced": true`, `"synced": "yes"`, 1),
		"an unknown one":   strings.Replace(pages["agent.json"], `"synced": true`, `"synced": true, "surprise": 1`, 1),
		"a time of no day": strings.Replace(pages["agent.json"], `"now": "2026-01-02T03:04:05Z"`, `"now": "yesterday"`, 1),
	} {
		if validate(t, strict, page) == nil {
			t.Errorf("%s agrees with the schema", name)
		}
	}
	// Members of a later version do no harm to who validates.
	later := strings.Replace(pages["agent.json"], `"synced": true`, `"synced": true, "surprise": 1`, 1)
	if err := validate(t, schema(t, false), later); err != nil {
		t.Errorf("a later version: %v", err)
	}
}

// filled returns a value of a type in which nothing is empty.
func filled(t reflect.Type) reflect.Value {
	v := reflect.New(t).Elem()
	switch x := v.Addr().Interface().(type) {
	case *time.Time:
		*x = time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
		return v
	case *netip.Addr:
		*x = netip.MustParseAddr("2001:db8::1")
		return v
	case *netip.Prefix:
		*x = netip.MustParsePrefix("192.0.2.0/24")
		return v
	case *netip.AddrPort:
		*x = netip.MustParseAddrPort("192.0.2.1:7946")
		return v
	case *big.Int:
		x.Lsh(big.NewInt(1), 64)
		return v
	}
	switch t.Kind() {
	case reflect.Struct:
		for i := range t.NumField() {
			if t.Field(i).Type.Kind() != reflect.Func {
				v.Field(i).Set(filled(t.Field(i).Type))
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(t.Elem()))
		v.Elem().Set(filled(t.Elem()))
	case reflect.Slice:
		v.Set(reflect.Append(v, filled(t.Elem())))
	case reflect.Map:
		v.Set(reflect.MakeMap(t))
		v.SetMapIndex(filled(t.Key()), filled(t.Elem()))
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64, reflect.Int32:
		v.SetInt(7)
	case reflect.Float64:
		v.SetFloat(0.5)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(7)
	default:
		panic("a member of kind " + t.Kind().String())
	}
	return v
}
