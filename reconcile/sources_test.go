// SPDX-License-Identifier: Apache-2.0

package reconcile_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/reconcile"
)

// A fixed source of documents.
type fixed struct {
	doc  reconcile.Document
	read bool
}

func (f *fixed) Document() (reconcile.Document, bool) { return f.doc, f.read }

func poolResources(specs ...string) *config.Resources {
	r := &config.Resources{}
	for i, s := range specs {
		r.Objects = append(r.Objects, config.Object{
			ID:   config.ID{Kind: config.KindPool, Name: fmt.Sprintf("p%d", i)},
			Spec: fmt.Appendf(nil, `{"addresses":[%q]}`, s),
		})
	}
	return r
}

func TestSourcesAuto(t *testing.T) {
	const text = "address-pools: [{name: text, protocol: bgp, addresses: [192.0.2.0/28]}]"
	gone := reconcile.Document{Source: "configmap x", Err: reconcile.ErrNotFound}
	there := reconcile.Document{Source: "configmap x", Text: []byte(text)}
	resources := func(r *config.Resources) reconcile.Document {
		return reconcile.Document{Source: "resources x", Resources: r}
	}
	none := reconcile.Document{Source: "resources x", Err: reconcile.ErrNotFound} // not installed
	one, other, empty := poolResources("10.0.0.0/24"), poolResources("10.1.0.0/24", "bad/24"), poolResources()
	steps := []struct {
		name      string
		configMap *reconcile.Document // nil: not read yet
		resources *reconcile.Document
		pools     string // in force
		err       string // contained
		notice    bool
		refused   int
	}{
		{name: "nothing is read"},
		{name: "the resources are not read", configMap: &gone},
		{name: "nothing exists", configMap: &gone, resources: &none, err: "not found, nor are there resources x"},
		{name: "resources are installed, but there are none", configMap: &gone, resources: ptr(resources(empty)), err: "not found"},
		{name: "there are some", configMap: &gone, resources: ptr(resources(one)), pools: "p0"},
		{name: "one more is bad", configMap: &gone, resources: ptr(resources(other)), pools: "p0", err: "IPAddressPool/p1: Invalid", refused: 1},
		{name: "a ConfigMap comes", configMap: &there, resources: ptr(resources(other)), pools: "text", notice: true, refused: 2},
		{name: "the resources go", configMap: &there, resources: ptr(resources(empty)), pools: "text"},
		{name: "the ConfigMap goes, too", configMap: &gone, resources: ptr(resources(empty)), pools: "text", err: "not found"},
		{name: "resources come", configMap: &gone, resources: ptr(resources(one)), pools: "p0"},
		{name: "the last is deleted", configMap: &gone, resources: ptr(resources(empty)), pools: ""},
		{name: "a ConfigMap without a document", configMap: &reconcile.Document{Source: "configmap x", Err: fmt.Errorf("no key")}, resources: ptr(resources(one)), pools: "", err: "no key", notice: true, refused: 1},
	}
	configMap, res := &fixed{}, &fixed{}
	s := &reconcile.Sources{ConfigMap: configMap, Resources: res}
	var l reconcile.Loaded
	for _, step := range steps {
		*configMap, *res = fixed{}, fixed{}
		if step.configMap != nil {
			*configMap = fixed{*step.configMap, true}
		}
		if step.resources != nil {
			*res = fixed{*step.resources, true}
		}
		doc, read := s.Document()
		if want := step.configMap != nil && (step.resources != nil || step.configMap.Err == nil); read != want {
			t.Fatalf("%s: read is %v", step.name, read)
		}
		if !read {
			continue
		}
		l = l.Next(doc)
		var names []string
		if l.Config != nil {
			for _, p := range l.Config.Pools {
				names = append(names, p.Name)
			}
		}
		if got := strings.Join(names, " "); got != step.pools {
			t.Errorf("%s: pools %q are in force, want %q", step.name, got, step.pools)
		}
		if step.err == "" && l.Err != nil || step.err != "" && (l.Err == nil || !strings.Contains(l.Err.Error(), step.err)) {
			t.Errorf("%s: the reason is %v, want %q", step.name, l.Err, step.err)
		}
		if notice := doc.Notice != ""; notice != step.notice {
			t.Errorf("%s: the notice is %q", step.name, doc.Notice)
		}
		refused := 0
		for _, v := range l.Verdicts {
			if !v.Accepted {
				refused++
			}
		}
		if refused != step.refused {
			t.Errorf("%s: %d resources are refused, want %d", step.name, refused, step.refused)
		}
	}
}

// The same resources are the same *Config, also when they are read anew.
func TestLoadedResources(t *testing.T) {
	doc := reconcile.Document{Source: "resources x", Resources: poolResources("10.0.0.0/24")}
	first := reconcile.Loaded{}.Next(doc)
	if again := first.Next(doc); again.Config != first.Config || len(again.Verdicts) != 1 {
		t.Error("the same document makes another Config")
	}
	doc.Resources = poolResources("10.0.0.0/24")
	if again := first.Next(doc); again.Config != first.Config {
		t.Error("the same objects make another Config")
	}
}

func ptr[T any](v T) *T { return &v }
