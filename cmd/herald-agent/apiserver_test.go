// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
)

// An apiServer holds objects in memory, and answers lists, watches, reads and writes as far
// as an agent asks for them: Kubernetes' own kinds in protobuf, others in JSON.
type apiServer struct {
	protobuf runtime.SerializerInfo

	mu      sync.Mutex // guards the fields below
	version int
	kinds   map[string]map[string]object // by resource, then by namespace/name
	watches map[*watcher]bool
	writes  map[string]int // by method and resource
}

type object interface {
	runtime.Object
	metav1.Object
}

// A watcher is one watch. Its queue never blocks who changes an object.
type watcher struct {
	target target
	wake   chan struct{}
	queue  []watched // guarded by the server's lock
}

type watched struct {
	kind string
	raw  []byte
}

func newAPIServer() *apiServer {
	info, ok := runtime.SerializerInfoForMediaType(scheme.Codecs.SupportedMediaTypes(), runtime.ContentTypeProtobuf)
	if !ok {
		panic("no serializer for protobuf")
	}
	return &apiServer{protobuf: info, kinds: map[string]map[string]object{}, watches: map[*watcher]bool{}, writes: map[string]int{}}
}

// A target is what the path of a request names.
type target struct{ resource, namespace, name, subresource string }

func targetOf(path string) (t target) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	if parts[0] == "apis" {
		parts = parts[1:]
	}
	if parts = parts[2:]; len(parts) > 2 && parts[0] == "namespaces" {
		t.namespace, parts = parts[1], parts[2:]
	}
	parts = append(parts, "", "")
	t.resource, t.name, t.subresource = parts[0], parts[1], parts[2]
	return t
}

// set creates or replaces an object.
func (s *apiServer) set(resource string, o object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(resource, o)
}

// put is set for a caller that holds mu.
func (s *apiServer) put(resource string, o object) {
	s.version++
	o.SetResourceVersion(strconv.Itoa(s.version))
	all, key := s.kinds[resource], o.GetNamespace()+"/"+o.GetName()
	if all == nil {
		all = map[string]object{}
		s.kinds[resource] = all
	}
	kind := "ADDED"
	if _, there := all[key]; there {
		kind = "MODIFIED"
	}
	all[key] = o
	s.tell(resource, kind, o)
}

// tell sends an event to all watches of an object. The caller holds mu.
func (s *apiServer) tell(resource, kind string, o object) {
	e := watched{kind: kind}
	for w := range s.watches {
		if w.target.resource != resource || w.target.namespace != "" && w.target.namespace != o.GetNamespace() || w.target.name != "" && w.target.name != o.GetName() {
			continue
		}
		if e.raw == nil {
			e.raw = s.encode(o)
		}
		w.queue = append(w.queue, e)
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// written returns how many requests have written.
func (s *apiServer) written() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.writes)
}

// encode returns an object as it is sent.
func (s *apiServer) encode(o runtime.Object) []byte {
	var b []byte
	var err error
	if u, ok := o.(*unstructured.Unstructured); ok {
		b, err = json.Marshal(u.Object)
	} else {
		gvks, _, _ := scheme.Scheme.ObjectKinds(o)
		b, err = runtime.Encode(scheme.Codecs.EncoderForVersion(s.protobuf.Serializer, gvks[0].GroupVersion()), o)
	}
	if err != nil {
		panic(err)
	}
	return b
}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t, q := targetOf(r.URL.Path), r.URL.Query()
	custom := strings.Contains(r.URL.Path, "/metallb.io/")
	if name, ok := strings.CutPrefix(q.Get("fieldSelector"), "metadata.name="); ok {
		t.name = name
	}
	if !custom {
		w.Header().Set("Content-Type", runtime.ContentTypeProtobuf)
	} else {
		w.Header().Set("Content-Type", runtime.ContentTypeJSON)
	}
	switch {
	case r.Method == http.MethodGet && q.Get("watch") != "":
		s.watch(w, r, t, custom, q.Get("sendInitialEvents") == "true")
	case r.Method == http.MethodGet:
		s.get(w, t, custom, strings.HasSuffix(r.URL.Path, "/"+t.name) && t.name != "")
	default:
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		s.write(w, r.Method, t, body)
	}
}

// find returns the objects that a target names, in order. The caller holds mu.
func (s *apiServer) find(t target) (found []object) {
	if t.name != "" {
		if o, there := s.kinds[t.resource][t.namespace+"/"+t.name]; there {
			found = append(found, o)
		}
		return found
	}
	for _, key := range slices.Sorted(maps.Keys(s.kinds[t.resource])) {
		namespace, _, _ := strings.Cut(key, "/")
		if t.namespace == "" || t.namespace == namespace {
			found = append(found, s.kinds[t.resource][key])
		}
	}
	return found
}

// get answers a list, or the read of one object.
func (s *apiServer) get(w http.ResponseWriter, t target, custom, one bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.find(t)
	switch {
	case one && len(found) == 0:
		w.Header().Set("Content-Type", runtime.ContentTypeJSON)
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`)
	case one:
		w.Write(s.encode(found[0]))
	case custom:
		items := []map[string]any{}
		for _, o := range found {
			items = append(items, o.(*unstructured.Unstructured).Object)
		}
		json.NewEncoder(w).Encode(map[string]any{
			"kind": customKinds[t.resource] + "List", "apiVersion": customVersion(t.resource), "metadata": map[string]any{"resourceVersion": strconv.Itoa(s.version)}, "items": items,
		})
	default:
		w.Write(s.encode(listOf(t.resource, found, s.version)))
	}
}

// write carries out a request that writes.
func (s *apiServer) write(w http.ResponseWriter, method string, t target, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes[method+" "+t.resource]++
	o := &unstructured.Unstructured{}
	if found := s.find(t); t.name != "" && len(found) == 1 {
		if u, ok := found[0].(*unstructured.Unstructured); ok {
			o = u.DeepCopy()
		}
	}
	switch method {
	case http.MethodDelete:
		delete(s.kinds[t.resource], t.namespace+"/"+t.name)
		s.tell(t.resource, "DELETED", o)
	case http.MethodPost, http.MethodPatch:
		if t.resource == "events" { // nobody reads them here
			w.Write(body)
			return
		}
		var change map[string]any
		if err := json.Unmarshal(body, &change); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if o.Object == nil {
			o.Object = map[string]any{}
		}
		maps.Copy(o.Object, change)
		s.put(t.resource, o)
	}
	w.Write(s.encode(o))
}

// watch answers with a stream of events.
func (s *apiServer) watch(w http.ResponseWriter, r *http.Request, t target, custom, initial bool) {
	me := &watcher{target: t, wake: make(chan struct{}, 1)}
	s.mu.Lock()
	if initial {
		for _, o := range s.find(t) {
			me.queue = append(me.queue, watched{"ADDED", s.encode(o)})
		}
		me.queue = append(me.queue, watched{"BOOKMARK", s.bookmark(t.resource, custom)})
	}
	s.watches[me] = true
	me.wake <- struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.watches, me)
		s.mu.Unlock()
	}()
	if !custom {
		w.Header().Set("Content-Type", runtime.ContentTypeProtobuf+";stream=watch")
	}
	flusher := w.(http.Flusher)
	flusher.Flush()
	frames := s.protobuf.StreamSerializer.Framer.NewFrameWriter(w)
	for {
		select {
		case <-r.Context().Done():
			return
		case <-me.wake:
		}
		s.mu.Lock()
		queue := me.queue
		me.queue = nil
		s.mu.Unlock()
		for _, e := range queue {
			var err error
			if custom {
				_, err = fmt.Fprintf(w, "{\"type\":%q,\"object\":%s}\n", e.kind, e.raw)
			} else {
				err = s.protobuf.StreamSerializer.Encode(&metav1.WatchEvent{Type: e.kind, Object: runtime.RawExtension{Raw: e.raw}}, frames)
			}
			if err != nil {
				return
			}
		}
		flusher.Flush()
	}
}

// bookmark returns the object of the event that ends the initial ones.
func (s *apiServer) bookmark(resource string, custom bool) []byte {
	var o object
	if custom {
		o = &unstructured.Unstructured{Object: map[string]any{"apiVersion": customVersion(resource), "kind": customKinds[resource]}}
	} else {
		o = newObject(resource)
	}
	o.SetAnnotations(map[string]string{metav1.InitialEventsAnnotationKey: "true"})
	o.SetResourceVersion(strconv.Itoa(s.version))
	return s.encode(o)
}
