// SPDX-License-Identifier: Apache-2.0

package schema_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/manifest"
	"github.com/heraldlb/herald/schema"
)

// object reads an object.
func object(t *testing.T, text string) map[string]any {
	t.Helper()
	objects, mistakes := manifest.Read("", []byte(text))
	if len(objects) != 1 || len(mistakes) > 0 {
		t.Fatalf("%d objects, %v", len(objects), mistakes)
	}
	return objects[0].Content()
}

func definitions(t *testing.T) *schema.Definitions {
	t.Helper()
	d, err := schema.New()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Objects that config takes are those that the definitions take. A test of the
// lab compares them with an API server.
func TestApplyCorpus(t *testing.T) {
	d := definitions(t)
	files, err := filepath.Glob("../testdata/resources/good/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no corpus: %v", err)
	}
	seen := map[string]int{}
	for _, file := range files {
		ar, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range ar.Files {
			if !strings.HasSuffix(f.Name, ".yaml") {
				continue
			}
			objects, _ := manifest.Read(f.Name, f.Data)
			for _, o := range objects {
				if o.Group() != config.ResourceGroup {
					continue
				}
				content := o.Content()
				content["metadata"].(map[string]any)["namespace"] = "metallb-system"
				problems, err := d.Apply(t.Context(), content)
				if err != nil || len(problems) > 0 {
					t.Errorf("%s: %s: %v, %v", file, o.ID(), problems, err)
				}
				seen[o.Kind]++
			}
		}
	}
	for _, kind := range config.ResourceKinds {
		if seen[kind] == 0 {
			t.Errorf("the corpus has no %s", kind)
		}
	}
}

func TestApply(t *testing.T) {
	const pool = "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: a, namespace: b}\nspec: "
	const peer = "apiVersion: metallb.io/v1beta2\nkind: BGPPeer\nmetadata: {name: a, namespace: b}\nspec: "
	tests := []struct {
		name, text string
		want       []string // FIELD: MESSAGE
	}{
		{"a pool", pool + "{addresses: [192.0.2.0/24]}", nil},
		{"null where there is a default", pool + "{addresses: [192.0.2.0/24], autoAssign: null}", nil},
		{"a status", pool + "{addresses: [192.0.2.0/24]}\nstatus: {conditions: [{type: x}]}", nil},
		{"nothing", pool + "{}", []string{"spec.addresses: Required value"}},
		{"an empty list", pool + "{addresses: []}", []string{"spec.addresses: Invalid value: 0: should have at least 1 items"}},
		{"a field that is not there", pool + "{addresses: [192.0.2.0/24], autoasign: true}", []string{"spec.autoasign: unknown field"}},
		{"one in the status", pool + "{addresses: [192.0.2.0/24]}\nstatus: {assigned: 1}", []string{"status.assigned: unknown field"}},
		{"one in the metadata", "apiVersion: metallb.io/v1beta1\nkind: Community\nmetadata: {name: a, namespace: b, lables: {}}", []string{"metadata.lables: unknown field"}},
		{"no namespace", "apiVersion: metallb.io/v1beta1\nkind: Community\nmetadata: {name: a}", []string{"metadata.namespace: Required value"}},
		{"a number below the least", peer + "{myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, localASN: 0}", []string{"spec.localASN: Invalid value: 0: should be greater than or equal to 1"}},
		{"a rule", peer + "{myASN: 1, peerASN: 2}", []string{"spec: exactly one of peerAddress and interface must be set"}},
		{"a probe that lasts longer than its period", strings.Replace(pool, "IPAddressPool", "BGPAdvertisement", 1) + "{probe: {timeoutSeconds: 6}}", []string{"spec.probe: timeoutSeconds must not be above periodSeconds: a probe must end before the next"}},
		{"likewise on layer 2", strings.Replace(pool, "IPAddressPool", "L2Advertisement", 1) + "{probe: {periodSeconds: 2, timeoutSeconds: 3}}", []string{"spec.probe: timeoutSeconds must not be above periodSeconds: a probe must end before the next"}},
		{"a probe that lasts as long", strings.Replace(pool, "IPAddressPool", "L2Advertisement", 1) + "{probe: {periodSeconds: 2, timeoutSeconds: 2}}", nil},
		{"the older version", strings.Replace(peer, "v1beta2", "v1beta1", 1) + "{myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, bfdProfil: a}", []string{"spec.bfdProfil: unknown field"}},
		{"a password is not shown", peer + "{myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, password: [correct-horse]}", []string{`spec.password: Invalid value: "[redacted]": must be of type string: "array"`}},
	}
	d := definitions(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			problems, err := d.Apply(t.Context(), object(t, tt.text))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range problems {
				got = append(got, p.Field+": "+p.Message)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
	if _, err := d.Apply(t.Context(), object(t, "apiVersion: v1\nkind: Secret\n")); err == nil || d.Known("v1", "Secret") {
		t.Errorf("a Secret is defined: %v", err)
	}
}

func TestApplyDefaults(t *testing.T) {
	o := object(t, "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: a, namespace: b}\nspec: {addresses: [192.0.2.0/24], more: 1}\nstatus: {assignedIPv4: 1}")
	problems, err := definitions(t).Apply(t.Context(), o)
	if err != nil || len(problems) != 1 || !cmp.Equal(problems[0].Known, []string{"addresses", "autoAssign", "avoidBuggyIPs", "serviceAllocation"}) {
		t.Errorf("got %+v, %v", problems, err)
	}
	want := map[string]any{
		"apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool", "metadata": map[string]any{"name": "a", "namespace": "b"},
		"spec": map[string]any{"addresses": []any{"192.0.2.0/24"}, "autoAssign": true, "avoidBuggyIPs": false},
	}
	if diff := cmp.Diff(want, o); diff != "" {
		t.Errorf("the object (-want +got):\n%s", diff)
	}
}

// A cluster's objects may have been stored with other definitions.
func TestPrune(t *testing.T) {
	d := definitions(t)
	o := object(t, "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: a, namespace: b}\nspec: {addresses: [192.0.2.0/24], more: 1}\nstatus: {other: 1}")
	if err := d.Prune(o); err != nil {
		t.Fatal(err)
	}
	if problems, err := d.Apply(t.Context(), o); err != nil || len(problems) > 0 {
		t.Errorf("got %v, %v", problems, err)
	}
}
