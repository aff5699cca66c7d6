// SPDX-License-Identifier: Apache-2.0

package reconcile_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/source"
)

// A fixed source of documents.
type fixed struct {
	doc  source.Document
	read bool
}

func (f *fixed) Document() (source.Document, bool) { return f.doc, f.read }

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
	gone := source.Document{Source: "configmap x", Err: source.ErrNotFound}
	there := source.Document{Source: "configmap x", Text: []byte(text)}
	resources := func(r *config.Resources) source.Document {
		return source.Document{Source: "resources x", Resources: r}
	}
	none := source.Document{Source: "resources x", Err: source.ErrNotFound} // not installed
	broken := source.Document{Source: "configmap x", Err: fmt.Errorf("no key")}
	peers := &config.Resources{Objects: []config.Object{{ID: config.ID{Kind: config.KindBFDProfile, Name: "b"}}}}
	one, other, empty := poolResources("10.0.0.0/24"), poolResources("10.1.0.0/24", "bad/24"), poolResources()
	steps := []struct {
		name      string
		configMap *source.Document // nil: not read yet
		resources *source.Document
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
		{name: "a ConfigMap comes", configMap: &there, resources: ptr(resources(other)), pools: "p0", err: "IPAddressPool/p1: Invalid", notice: true, refused: 1},
		{name: "and goes", configMap: &gone, resources: ptr(resources(one)), pools: "p0"},
		{name: "it is back, and broken", configMap: &broken, resources: ptr(resources(one)), pools: "p0", notice: true},
		{name: "it is good, and the resources go", configMap: &there, resources: ptr(resources(empty)), pools: "text"},
		{name: "resources come beside it", configMap: &there, resources: ptr(resources(one)), pools: "text", notice: true, refused: 1},
		{name: "it is edited and refused", configMap: &broken, resources: ptr(resources(one)), pools: "text", err: "no key", notice: true, refused: 1},
		{name: "the resources are not read any more", configMap: &there, pools: "text"},
		{name: "the ConfigMap goes, and no pool is there", configMap: &gone, resources: ptr(resources(peers)), pools: "text", err: "not found", notice: true, refused: 1},
		{name: "a pool comes", configMap: &gone, resources: ptr(resources(one)), pools: "p0"},
		{name: "the ConfigMap in their place", configMap: &there, resources: ptr(resources(empty)), pools: "text"},
		{name: "the ConfigMap goes, too", configMap: &gone, resources: ptr(resources(empty)), pools: "text", err: "not found"},
		{name: "resources come", configMap: &gone, resources: ptr(resources(one)), pools: "p0"},
		{name: "the last is deleted", configMap: &gone, resources: ptr(resources(empty)), pools: ""},
		{name: "a ConfigMap without a document, alone", configMap: &broken, resources: ptr(resources(empty)), pools: "", err: "no key"},
	}
	configMap, res := &fixed{}, &fixed{}
	s := &source.Sources{ConfigMap: configMap, Resources: res}
	var l source.Loaded
	for _, step := range steps {
		*configMap, *res = fixed{}, fixed{}
		if step.configMap != nil {
			*configMap = fixed{*step.configMap, true}
		}
		if step.resources != nil {
			*res = fixed{*step.resources, true}
		}
		doc, read := s.Document()
		if want := step.configMap != nil && (step.resources != nil || l.Config != nil); read != want {
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

func TestFirstSource(t *testing.T) {
	object := func(kind, judged string) config.Object {
		return config.Object{ID: config.ID{Kind: kind, Name: "x"}, Judged: judged}
	}
	const pool, peer = config.KindPool, config.KindPeer
	tests := []struct {
		name     string
		recorded source.Source
		objects  []config.Object
		want     source.Source
	}{
		{"a pool that nobody has judged", "", []config.Object{object(pool, "")}, source.SourceResources},
		{"no pool", "", []config.Object{object(peer, "")}, source.SourceConfigMap},
		{"a pool that was ignored", "", []config.Object{object(pool, config.VerdictIgnored)}, source.SourceConfigMap},
		{"one was ignored, one is new", "", []config.Object{object(pool, config.VerdictIgnored), object(pool, "")}, source.SourceConfigMap},
		{"one was in force, the rest not yet", "", []config.Object{object(peer, config.VerdictIgnored), object(pool, config.VerdictAccepted)}, source.SourceResources},
		{"a peer was refused for what it says", "", []config.Object{object(peer, config.VerdictConflict)}, source.SourceResources},
		{"the record says ConfigMap", source.SourceConfigMap, []config.Object{object(pool, config.VerdictAccepted)}, source.SourceConfigMap},
		{"the record says resources", source.SourceResources, []config.Object{object(peer, "")}, source.SourceResources},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := source.FirstSource(tt.recorded, tt.objects); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// A process that starts waits for the record of the leading controller where both
// sources exist, and all follow it, in whichever order they saw what happened.
func TestSourcesFollowTheRecord(t *testing.T) {
	gone := source.Document{Source: "configmap x", Err: source.ErrNotFound}
	there := source.Document{Source: "configmap x", Text: []byte("address-pools: []")}
	some := source.Document{Source: "resources x", Resources: poolResources("10.0.0.0/24")}
	empty := source.Document{Source: "resources x", Resources: poolResources()}
	steps := []struct {
		name                 string
		configMap, resources source.Document
		record               source.Source
		unread               bool          // the record is not read
		want                 source.Source // empty: it is not known yet
		asked                bool          // for the record
	}{
		{"both, and no record yet", there, some, "", true, "", true},
		{"the ConfigMap was in force", there, some, source.SourceConfigMap, false, source.SourceConfigMap, true},
		{"the record is lost", there, some, "", false, source.SourceConfigMap, true},
		{"the leader saw it otherwise", there, some, source.SourceResources, false, source.SourceResources, true},
		{"the resources are deleted", there, empty, source.SourceResources, false, source.SourceConfigMap, false},
		{"they are back, and the leader has written that", there, some, source.SourceConfigMap, false, source.SourceConfigMap, true},
		{"the ConfigMap is deleted", gone, some, source.SourceConfigMap, false, source.SourceResources, false},
	}
	configMap, resources := &fixed{read: true}, &fixed{read: true}
	var record source.Source
	read, asked := false, false
	s := &source.Sources{ConfigMap: configMap, Resources: resources, Record: func() (source.Source, bool) {
		asked = true
		return record, read
	}}
	for _, step := range steps {
		configMap.doc, resources.doc, record, read, asked = step.configMap, step.resources, step.record, !step.unread, false
		doc, known := s.Document()
		var got source.Source
		switch {
		case !known:
		case doc.Resources != nil:
			got = source.SourceResources
		default:
			got = source.SourceConfigMap
		}
		if got != step.want {
			t.Errorf("%s: %q counts, want %q", step.name, got, step.want)
		}
		if asked != step.asked {
			t.Errorf("%s: asked for the record: %v, want %v", step.name, asked, step.asked)
		}
	}
}

// Whatever happens to the two sources while processes come and go, and whatever of it
// they miss, all come to the same one; and the one in force is left only where it is
// deleted.
func TestSourcesAgree(t *testing.T) {
	gone := source.Document{Source: "configmap x", Err: source.ErrNotFound}
	there := source.Document{Source: "configmap x", Text: []byte("address-pools: []")}
	some := source.Document{Source: "resources x", Resources: poolResources("10.0.0.0/24")}
	empty := source.Document{Source: "resources x", Resources: poolResources()}
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		configMap, resources := &fixed{gone, true}, &fixed{empty, true}
		var record source.Source
		start := func() *source.Sources {
			return &source.Sources{ConfigMap: configMap, Resources: resources, Record: func() (source.Source, bool) { return record, true }}
		}
		// The first leads; what it has in force it writes.
		all := []*source.Sources{start(), start(), start()}
		look := func(i int) (got source.Source) {
			switch doc, _ := all[i].Document(); {
			case doc.Err != nil:
				return ""
			case doc.Resources != nil:
				got = source.SourceResources
			default:
				got = source.SourceConfigMap
			}
			if i == 0 {
				record = got
			}
			return got
		}
		var inForce source.Source
		for step := range 40 {
			before := [2]bool{configMap.doc.Err == nil, len(resources.doc.Resources.Objects) > 0}
			switch r.IntN(5) {
			case 0:
				configMap.doc = there
			case 1:
				configMap.doc = gone
			case 2:
				resources.doc = some
			case 3:
				resources.doc = empty
			default:
				all[r.IntN(len(all))] = start()
			}
			now := [2]bool{configMap.doc.Err == nil, len(resources.doc.Resources.Objects) > 0}
			if seed%2 == 0 || r.IntN(2) == 0 {
				got := look(0)
				if seed%2 == 0 && got != inForce &&
					(inForce == source.SourceConfigMap && before[0] && now[0] || inForce == source.SourceResources && before[1] && now[1]) {
					t.Fatalf("seed %d, step %d: %q was in force and still exists, and %q took its place", seed, step, inForce, got)
				}
				if got != "" {
					inForce = got
				}
			}
			for i := range all[1:] {
				if r.IntN(2) == 0 {
					look(i + 1)
				}
			}
			if r.IntN(4) > 0 || !now[0] && !now[1] {
				continue
			}
			want := look(0)
			for i := range all[1:] {
				if got := look(i + 1); got != want {
					t.Fatalf("seed %d, step %d: process %d has %q in force, the leader %q", seed, step, i+1, got, want)
				}
			}
			inForce = want
		}
	}
}

// Without a configuration the reason names the ConfigMaps that hold one.
func TestSourcesSimilar(t *testing.T) {
	gone := &fixed{source.Document{Source: "configmap ns/config", Err: source.ErrNotFound}, true}
	none := &fixed{source.Document{Source: "resources of metallb.io in ns", Resources: poolResources()}, true}
	asked := 0
	for _, tt := range []struct {
		resources source.Documents
		names     []string
		want      string
	}{
		{none, nil, "configmap ns/config: not found, nor are there resources of metallb.io in ns"},
		{none, []string{"metallb"}, "configmap ns/config: not found, nor are there resources of metallb.io in ns; ConfigMap metallb of the same namespace holds a configuration: set --config=metallb for controller and agents"},
		{nil, []string{"a", "b"}, "configmap ns/config: not found; ConfigMaps a, b of the same namespace hold one: set --config=NAME for controller and agents"},
	} {
		s := &source.Sources{ConfigMap: gone, Resources: tt.resources, Similar: func() []string { asked++; return tt.names }}
		doc, _ := s.Document()
		if got := (source.Loaded{}).Next(doc).Err; got == nil || got.Error() != tt.want {
			t.Errorf("the reason is %v, want %s", got, tt.want)
		}
	}
	asked = 0
	s := &source.Sources{ConfigMap: &fixed{source.Document{Text: []byte("x")}, true}, Resources: none, Similar: func() []string { asked++; return nil }}
	if s.Document(); asked > 0 {
		t.Error("asked for other ConfigMaps though there is a configuration")
	}
}

// The same resources are the same *Config, also when they are read again.
func TestLoadedResources(t *testing.T) {
	doc := source.Document{Source: "resources x", Resources: poolResources("10.0.0.0/24")}
	first := source.Loaded{}.Next(doc)
	if again := first.Next(doc); again.Config != first.Config || len(again.Verdicts) != 1 {
		t.Error("the same document makes another Config")
	}
	doc.Resources = poolResources("10.0.0.0/24")
	if again := first.Next(doc); again.Config != first.Config {
		t.Error("the same objects make another Config")
	}
}

func ptr[T any](v T) *T { return &v }
