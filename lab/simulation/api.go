// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"encoding/json"
	"fmt"
	"strconv"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

// A kind is a resource of the API server. Those that Kubernetes has are sent as protobuf,
// the others as JSON, as the real API server does.
type kind struct {
	name, apiVersion string
	core             func() runtime.Object // nil: a custom resource
}

// An API is an API server in memory: objects, versions and watches. Clients reach it in
// their own process, and each byte is counted. Its methods are safe for concurrent use.
type API struct {
	mu       sync.Mutex // guards the fields below
	version  int
	stores   map[string]*store
	accounts map[string]*Account
}

// A store has the objects of one resource.
type store struct {
	kind
	objects map[objectKey]*object
	log     []*event // all that happened, in order
	watches map[*stream]filter
}

type objectKey struct{ namespace, name string }

// An object is one version of an object. It is immutable.
type object struct {
	key     objectKey
	labels  labels.Set
	version int
	encoded []byte
	frames  map[string][]byte // encoded as an event of a watch, by its type; made when needed
}

// An event is what became of an object.
type event struct {
	kind    string
	object  *object
	before  *object // nil: there was none
	version int
}

// NewAPI returns an API server without objects.
func NewAPI() *API {
	a := &API{version: 1000, stores: map[string]*store{}, accounts: map[string]*Account{}}
	for plural, k := range kinds {
		a.stores[plural] = &store{kind: k, objects: map[objectKey]*object{}, watches: map[*stream]filter{}}
	}
	return a
}

// Put creates or replaces an object of Kubernetes' own kinds.
func (a *API) Put(plural string, o runtime.Object) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.put(a.stores[plural], o)
}

// PutCustom creates or replaces a custom resource.
func (a *API) PutCustom(plural string, o map[string]any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.putCustom(a.stores[plural], o)
}

// Delete deletes an object.
func (a *API) Delete(plural, namespace, name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.remove(a.stores[plural], objectKey{namespace, name})
}

// Count returns how many objects of a resource there are.
func (a *API) Count(plural string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.stores[plural].objects)
}

// written returns the newest version, which each write raises.
func (a *API) written() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return int64(a.version)
}

// Each calls f with a copy of each custom resource.
func (a *API) Each(plural string, f func(o map[string]any)) {
	a.mu.Lock()
	var all []map[string]any
	for _, found := range a.stores[plural].objects {
		o := map[string]any{}
		a.stores[plural].decode(found, &o)
		all = append(all, o)
	}
	a.mu.Unlock()
	for _, o := range all {
		f(o)
	}
}

// decode decodes an object. What the store itself encoded can be decoded.
func (s *store) decode(o *object, into any) {
	var err error
	if s.core != nil {
		_, _, err = protobuf.Serializer.Decode(o.encoded, nil, into.(runtime.Object))
	} else {
		err = json.Unmarshal(o.encoded, into)
	}
	if err != nil {
		panic(fmt.Sprintf("decode %s %v: %v", s.name, o.key, err))
	}
}

// put stores a version of an object. The caller holds mu.
func (a *API) put(s *store, o runtime.Object) *object {
	a.version++
	m := o.(metav1.Object)
	m.SetResourceVersion(strconv.Itoa(a.version))
	if m.GetUID() == "" {
		m.SetUID(uid(s.name, m.GetNamespace(), m.GetName()))
	}
	o.GetObjectKind().SetGroupVersionKind(s.gvk())
	encoded, err := runtime.Encode(protobuf.Serializer, o)
	if err != nil {
		panic(fmt.Sprintf("encode %s: %v", s.name, err))
	}
	return a.store(s, &object{key: objectKey{m.GetNamespace(), m.GetName()}, labels: m.GetLabels(), version: a.version, encoded: encoded})
}

// putCustom does the same for a custom resource.
func (a *API) putCustom(s *store, o map[string]any) *object {
	a.version++
	o["kind"], o["apiVersion"] = s.name, s.apiVersion
	m := o["metadata"].(map[string]any)
	m["resourceVersion"] = strconv.Itoa(a.version)
	key := objectKey{text(m["namespace"]), text(m["name"])}
	if m["uid"] == nil {
		m["uid"] = string(uid(s.name, key.namespace, key.name))
	}
	set := labels.Set{}
	if all, ok := m["labels"].(map[string]any); ok {
		for k, v := range all {
			set[k] = text(v)
		}
	}
	encoded, err := json.Marshal(o)
	if err != nil {
		panic(fmt.Sprintf("encode %s: %v", s.name, err))
	}
	return a.store(s, &object{key: key, labels: set, version: a.version, encoded: encoded})
}

func (a *API) store(s *store, o *object) *object {
	before := s.objects[o.key]
	what := "ADDED"
	if before != nil {
		what = "MODIFIED"
	}
	s.objects[o.key] = o
	a.happens(s, &event{what, o, before, o.version})
	return o
}

// remove deletes an object, and reports whether there was one. The caller holds mu.
func (a *API) remove(s *store, key objectKey) bool {
	before := s.objects[key]
	if before == nil {
		return false
	}
	a.version++
	delete(s.objects, key)
	a.happens(s, &event{"DELETED", before, before, a.version})
	return true
}

// patch applies a patch to an object. The caller holds mu.
func (a *API) patch(s *store, before *object, patch []byte) *object {
	if s.core == nil {
		o := map[string]any{}
		s.decode(before, &o)
		var change map[string]any
		if err := json.Unmarshal(patch, &change); err != nil {
			panic(fmt.Sprintf("patch of %s: %v", s.name, err))
		}
		return a.putCustom(s, merge(o, change))
	}
	o := s.core()
	s.decode(before, o)
	text, err := json.Marshal(o)
	if err == nil {
		text, err = strategicpatch.StrategicMergePatch(text, patch, s.core())
	}
	after := s.core()
	if err == nil {
		err = json.Unmarshal(text, after)
	}
	if err != nil {
		panic(fmt.Sprintf("patch of %s: %v", s.name, err))
	}
	return a.put(s, after)
}

// merge applies a patch as RFC 7396 says.
func merge(o, patch map[string]any) map[string]any {
	for k, v := range patch {
		change, is := v.(map[string]any)
		old, was := o[k].(map[string]any)
		switch {
		case v == nil:
			delete(o, k)
		case is && was:
			o[k] = merge(old, change)
		case is:
			o[k] = merge(map[string]any{}, change)
		default:
			o[k] = v
		}
	}
	return o
}
