// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/kube"
	"github.com/heraldlb/herald/reconcile"
)

// An api is an API server that has custom resources and Secrets in JSON.
type api struct {
	mu      sync.Mutex                           // guards the fields below
	objects map[string]map[string]map[string]any // by plural and name; a plural that is not there is not installed
	version int
	changed chan struct{}    // closed at the next change
	heard   []string         // events that were recorded, in words
	events  []map[string]any // of watches, in order; "version" says when
	patches []string

	secrets []string       // the field selectors of reads of Secrets
	unread  map[string]int // the statuses of answers to reads of Secrets, by name

	apart bool // statuses of Services are subresources, as with MetalLB's CRDs

	refuse   string // writes that contain it are refused, as by a policy; empty: none
	refusals int

	schema map[string][]string // the fields that a status has, by plural; the others are dropped. None: it has all
}

var apiKinds = map[string]string{
	"ipaddresspools": "IPAddressPool", "bfdprofiles": "BFDProfile", "communities": "Community", "bgppeers": "BGPPeer",
	"bgpadvertisements": "BGPAdvertisement", "l2advertisements": "L2Advertisement", "configurationstates": "ConfigurationState",
	"secrets": "Secret", "events": "Event", "nodes": "Node", "pods": "Pod",
	"servicel2statuses": "ServiceL2Status", "servicebgpstatuses": "ServiceBGPStatus",
	"services": "Service", "namespaces": "Namespace", "endpointslices": "EndpointSlice",
}

// apiVersion returns the version of a plural.
func apiVersion(plural string) string {
	switch plural {
	case "bgppeers":
		return "metallb.io/v1beta2"
	case "secrets", "nodes", "pods", "services", "namespaces":
		return "v1"
	case "endpointslices":
		return "discovery.k8s.io/v1"
	}
	return "metallb.io/v1beta1"
}

func newAPI(t *testing.T, plurals ...string) (*api, *kube.Client) {
	t.Helper()
	a := &api{objects: map[string]map[string]map[string]any{}, changed: make(chan struct{})}
	for _, p := range plurals {
		a.objects[p] = map[string]map[string]any{}
	}
	s := httptest.NewServer(a)
	t.Cleanup(func() {
		s.CloseClientConnections() // watches never end
		s.Close()
	})
	c, err := kube.NewClient(&rest.Config{Host: s.URL, QPS: -1})
	if err != nil {
		t.Fatal(err)
	}
	return a, c
}

// whole reports whether the status is a part of the objects of a plural like others.
func (a *api) whole(plural string) bool {
	return !a.apart && (plural == l2Plural || plural == bgpPlural)
}

// set creates or replaces an object, whose spec is JSON.
func (a *api) set(plural, name, spec string, generation int, more ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var o map[string]any
	text := fmt.Sprintf(`{"metadata":{"name":%q,"namespace":"ns","uid":"u-%s","generation":%d}%s}`, name, name, generation, strings.Join(append([]string{""}, more...), ","))
	if spec != "" {
		text = strings.TrimSuffix(text, "}") + `,"spec":` + spec + "}"
	}
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		panic(err)
	}
	a.put(plural, name, o)
}

func (a *api) put(plural, name string, o map[string]any) {
	kind := "ADDED"
	if a.objects[plural][name] != nil {
		kind = "MODIFIED"
	}
	a.version++
	o["kind"], o["apiVersion"] = apiKinds[plural], apiVersion(plural)
	o["metadata"].(map[string]any)["resourceVersion"] = fmt.Sprint(a.version)
	a.objects[plural][name] = o
	a.event(plural, kind, o)
}

func (a *api) event(plural, kind string, o map[string]any) {
	a.events = append(a.events, map[string]any{"plural": plural, "version": a.version, "event": map[string]any{"type": kind, "object": o}})
	close(a.changed)
	a.changed = make(chan struct{})
}

func (a *api) delete(plural, name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	o := a.objects[plural][name]
	delete(a.objects[plural], name)
	a.version++
	a.event(plural, "DELETED", o)
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t := parse(r.URL.Path)
	plural := t.resource.Resource
	w.Header().Set("Content-Type", "application/json")
	fail := func(code int, reason string) {
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"code":%d}`, reason, code)
	}
	a.mu.Lock()
	all, installed := a.objects[plural]
	a.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	q := r.URL.Query()
	a.mu.Lock()
	code := 0
	if plural == "secrets" {
		selector := q.Get("fieldSelector")
		a.secrets = append(a.secrets, selector)
		code = a.unread[strings.TrimPrefix(selector, "metadata.name=")]
	}
	refused := r.Method != http.MethodGet && a.refuse != "" && (strings.Contains(t.name, a.refuse) || strings.Contains(string(body), a.refuse))
	if refused {
		a.refusals++
	}
	a.mu.Unlock()
	switch {
	case code == http.StatusForbidden, refused:
		fail(http.StatusForbidden, "Forbidden")
	case code != 0:
		fail(code, "InternalError")
	case plural == "events":
		a.record(r.Method, t.name, body)
		w.Write(body)
	case !installed:
		fail(http.StatusNotFound, "NotFound")
	case q.Get("sendInitialEvents") != "":
		fail(http.StatusUnprocessableEntity, "Invalid")
	case q.Get("watch") != "":
		a.watch(w, r, plural)
	case r.Method == http.MethodGet:
		a.mu.Lock()
		if t.name != "" {
			o := all[t.name]
			a.mu.Unlock()
			if o == nil {
				fail(http.StatusNotFound, "NotFound")
				return
			}
			json.NewEncoder(w).Encode(o)
			return
		}
		items := []map[string]any{}
		for _, o := range all {
			if selected(o, q) {
				items = append(items, o)
			}
		}
		version := a.version
		a.mu.Unlock()
		json.NewEncoder(w).Encode(map[string]any{
			"kind": apiKinds[plural] + "List", "apiVersion": apiVersion(plural),
			"metadata": map[string]any{"resourceVersion": fmt.Sprint(version)}, "items": items,
		})
	case r.Method == http.MethodDelete:
		a.mu.Lock()
		a.patches = append(a.patches, "delete "+t.name)
		gone := all[t.name] == nil
		a.mu.Unlock()
		if gone {
			fail(http.StatusNotFound, "NotFound")
			return
		}
		a.delete(plural, t.name)
		fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Success"}`)
	case r.Method == http.MethodPatch && t.subresource == "":
		a.mu.Lock()
		defer a.mu.Unlock()
		a.patches = append(a.patches, "own "+t.name)
		var p struct{ Metadata, Status map[string]any }
		if err := json.Unmarshal(body, &p); err != nil || all[t.name] == nil {
			fail(http.StatusNotFound, "NotFound")
			return
		}
		b, _ := json.Marshal(all[t.name])
		next := map[string]any{}
		json.Unmarshal(b, &next)
		for k, v := range p.Metadata {
			next["metadata"].(map[string]any)[k] = v
		}
		if p.Status != nil && a.whole(plural) {
			next["status"] = p.Status
		}
		if reflect.DeepEqual(next, all[t.name]) {
			json.NewEncoder(w).Encode(next) // a write that changes nothing is none
			return
		}
		a.put(plural, t.name, next)
		json.NewEncoder(w).Encode(next)
	case r.Method == http.MethodPatch && t.subresource == "status":
		a.mu.Lock()
		defer a.mu.Unlock()
		o := all[t.name]
		if o == nil || a.whole(plural) {
			fail(http.StatusNotFound, "NotFound")
			return
		}
		var p struct {
			Metadata struct{ ResourceVersion string }
			Status   map[string]any
		}
		if err := json.Unmarshal(body, &p); err != nil {
			fail(http.StatusBadRequest, "BadRequest")
			return
		}
		if v := o["metadata"].(map[string]any)["resourceVersion"]; p.Metadata.ResourceVersion != "" && p.Metadata.ResourceVersion != v {
			fail(http.StatusConflict, "Conflict")
			return
		}
		a.patches = append(a.patches, t.name)
		b, _ := json.Marshal(o)
		next := map[string]any{}
		json.Unmarshal(b, &next)
		if fields, ok := a.schema[plural]; ok {
			maps.DeleteFunc(p.Status, func(field string, _ any) bool { return !slices.Contains(fields, field) })
			if have, _ := o["status"].(map[string]any); reflect.DeepEqual(have, p.Status) || len(have)+len(p.Status) == 0 {
				json.NewEncoder(w).Encode(o) // a write that changes nothing is none
				return
			}
		}
		next["status"] = p.Status
		a.put(plural, t.name, next)
		json.NewEncoder(w).Encode(next)
	case r.Method == http.MethodPost:
		a.mu.Lock()
		defer a.mu.Unlock()
		var o map[string]any
		if err := json.Unmarshal(body, &o); err != nil {
			fail(http.StatusBadRequest, "BadRequest")
			return
		}
		name := o["metadata"].(map[string]any)["name"].(string)
		if all[name] != nil {
			fail(http.StatusConflict, "AlreadyExists")
			return
		}
		if plural == "servicel2statuses" || plural == "servicebgpstatuses" {
			a.patches = append(a.patches, "create "+name)
			if !a.whole(plural) {
				delete(o, "status")
			}
			if s, _ := o["status"].(map[string]any); slices.Contains(slices.Collect(maps.Values(s)), nil) {
				fail(http.StatusUnprocessableEntity, "Invalid")
				return
			}
		}
		o["metadata"].(map[string]any)["uid"] = "u-" + name
		a.put(plural, name, o)
		w.WriteHeader(http.StatusCreated)
		json.NewEncoder(w).Encode(o)
	default:
		fail(http.StatusMethodNotAllowed, "MethodNotAllowed")
	}
}

func (a *api) watch(w http.ResponseWriter, r *http.Request, plural string) {
	q := r.URL.Query()
	var from int
	fmt.Sscan(q.Get("resourceVersion"), &from)
	w.(http.Flusher).Flush()
	sent := 0
	for {
		a.mu.Lock()
		events, changed := slices.Clone(a.events[sent:]), a.changed
		sent = len(a.events)
		a.mu.Unlock()
		for _, e := range events {
			if e["plural"] == plural && e["version"].(int) > from &&
				selected(e["event"].(map[string]any)["object"].(map[string]any), q) {
				json.NewEncoder(w).Encode(e["event"])
			}
		}
		w.(http.Flusher).Flush()
		select {
		case <-r.Context().Done():
			return
		case <-changed:
		}
	}
}

// selected reports whether a query is about an object: it has the labels of its
// selector, k=v,… or !k,…, and the name if there is one.
func selected(o map[string]any, q url.Values) bool {
	metadata := o["metadata"].(map[string]any)
	if _, name, ok := strings.Cut(q.Get("fieldSelector"), "metadata.name="); ok && metadata["name"] != name {
		return false
	}
	labels, _ := metadata["labels"].(map[string]any)
	for term := range strings.SplitSeq(q.Get("labelSelector"), ",") {
		if absent, ok := strings.CutPrefix(term, "!"); ok {
			if _, has := labels[absent]; has {
				return false
			}
			continue
		}
		if k, v, _ := strings.Cut(term, "="); k != "" && labels[k] != v {
			return false
		}
	}
	return true
}

// status returns the status of an object as JSON.
func (a *api) status(plural, name string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	b, _ := json.Marshal(a.objects[plural][name]["status"])
	return string(b)
}

var allPlurals = []string{"ipaddresspools", "bfdprofiles", "communities", "bgppeers", "bgpadvertisements", "l2advertisements", "configurationstates", "secrets"}

func newResources(t *testing.T, c *kube.Client, wake func()) *kube.Resources {
	t.Helper()
	r := kube.NewResources(kube.ResourcesOptions{Client: c, Namespace: "ns", Wake: wake, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if _, read := r.Document(); read {
		t.Error("read before anything was")
	}
	run(t, r.Run)
	eventually(t, "all kinds are read", func() bool { _, read := r.Document(); return read })
	return r
}

func TestResources(t *testing.T) {
	t.Parallel()
	a, c := newAPI(t, allPlurals...)
	a.set("ipaddresspools", "p", `{"addresses":["10.0.0.0/24"]}`, 1)
	a.set("secrets", "key", "", 1, `"type":"kubernetes.io/basic-auth"`, `"data":{"password":"c2VjcmV0","other":"eA=="}`)
	r := newResources(t, c, func() {})
	doc, _ := r.Document()
	if len(doc.Resources.Objects) != 1 || len(doc.Resources.Secrets) != 0 {
		t.Fatalf("read %+v, want one pool and no Secret that nobody refers to", doc.Resources)
	}
	if o := doc.Resources.Objects[0]; string(o.Spec) != `{"addresses":["10.0.0.0/24"]}` || o.UID != "u-p" || o.Generation != 1 {
		t.Errorf("the pool is %+v", o)
	}
	if again, _ := r.Document(); again.Resources != doc.Resources {
		t.Error("nothing changed, but the document did")
	}

	a.set("bgppeers", "tor", `{"myASN":1,"peerASN":2,"peerAddress":"10.0.0.1","passwordSecret":{"name":"key"}}`, 1)
	eventually(t, "the peer and its Secret are read", func() bool {
		doc, read := r.Document()
		return read && len(doc.Resources.Objects) == 2 && len(doc.Resources.Secrets) == 1
	})
	doc, _ = r.Document()
	if s := doc.Resources.Secrets[0]; !s.HasKey || s.Password != config.NewSecret("secret") || s.Type != config.PasswordSecretType {
		t.Errorf("the Secret is %+v", s)
	}
	a.delete("ipaddresspools", "p")
	eventually(t, "the pool is gone", func() bool { doc, _ := r.Document(); return len(doc.Resources.Objects) == 1 })
}

// TestResourcesAnnotations changes annotations of a pool, which gives it no
// other generation.
func TestResourcesAnnotations(t *testing.T) {
	t.Parallel()
	a, c := newAPI(t, allPlurals...)
	annotate := func(annotations map[string]any) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.put("ipaddresspools", "p", map[string]any{
			"metadata": map[string]any{"name": "p", "namespace": "ns", "uid": "u-p", "generation": 1, "annotations": annotations},
			"spec":     map[string]any{"addresses": []string{"10.0.0.0/24"}},
		})
	}
	annotate(map[string]any{config.AnnotationQuota: "default=1", "other": "x"})
	woken := make(chan struct{}, 100)
	r := newResources(t, c, func() { woken <- struct{}{} })
	first, _ := r.Document()
	if got, want := first.Resources.Objects[0].Annotations, map[string]string{config.AnnotationQuota: "default=1"}; !maps.Equal(got, want) {
		t.Errorf("annotations are %v, want %v", got, want)
	}
	annotate(map[string]any{config.AnnotationReservations: "10.0.0.5=shop/web", "other": "x"})
	eventually(t, "the annotations have changed", func() bool {
		doc, _ := r.Document()
		return doc.Resources.Objects[0].Annotations[config.AnnotationReservations] != ""
	})
	doc, _ := r.Document()
	if doc.Version == first.Version {
		t.Error("the document has the version that it had with other annotations")
	}
	annotate(map[string]any{config.AnnotationReservations: "10.0.0.5=shop/web", "other": "y"})
	a.set("bfdprofiles", "b", `{}`, 1)
	eventually(t, "another object is read", func() bool { doc, _ := r.Document(); return len(doc.Resources.Objects) == 2 })
	if len(woken) == 0 {
		t.Error("nobody was woken")
	}
}

func TestResourcesNotInstalled(t *testing.T) {
	t.Parallel()
	a, c := newAPI(t)
	r := newResources(t, c, func() {})
	if doc, _ := r.Document(); doc.Err == nil || doc.Resources != nil {
		t.Errorf("the document is %+v, want an error", doc)
	}
	a.mu.Lock()
	a.objects["ipaddresspools"] = map[string]map[string]any{}
	a.mu.Unlock()
	a.set("ipaddresspools", "p", `{"addresses":["10.0.0.0/24"]}`, 1)
	eventually(t, "the kind is found", func() bool {
		doc, read := r.Document()
		return read && doc.Err == nil && len(doc.Resources.Objects) == 1
	})
}

func TestResourceStatus(t *testing.T) {
	t.Parallel()
	a, c := newAPI(t, allPlurals...)
	a.set("ipaddresspools", "p", `{"addresses":["10.0.0.0/24"]}`, 1)
	w := kube.NewResourceStatusWriter(kube.ResourceStatusWriterOptions{
		Client: c, Resources: newResources(t, c, func() {}), Events: kube.NewRecorder(c, "test", slog.New(slog.DiscardHandler)),
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	run(t, w.Run)
	verdict := config.Verdict{ID: config.ID{Kind: config.KindPool, Name: "p"}, UID: "u-p", Generation: 1, Accepted: true, Reason: "Accepted", Message: "in force"}
	w.Set([]reconcile.ResourceStatus{{Verdict: verdict}})
	written := func(what, want string) {
		t.Helper()
		eventually(t, what, func() bool { return strings.Contains(a.status("ipaddresspools", "p"), want) })
	}
	written("it is accepted", `"status":"True"`)
	verdict.Accepted, verdict.Reason, verdict.Message = false, "Conflict", "overlaps"
	w.Set([]reconcile.ResourceStatus{{Verdict: verdict}})
	written("it is refused", `"message":"overlaps"`)
	// What another writes there is corrected.
	a.set("ipaddresspools", "p", `{"addresses":["10.0.0.0/24"]}`, 1, `"status":{"conditions":[]}`)
	written("it is refused again", `"message":"overlaps"`)
	w.Set([]reconcile.ResourceStatus{{Verdict: verdict}})
	// Only what differs is written: by now that were three writes.
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.patches) != 3 {
		t.Errorf("%d writes, want 3", len(a.patches))
	}
}

func TestState(t *testing.T) {
	t.Parallel()
	a, c := newAPI(t, allPlurals...)
	s := kube.NewStateWriter(kube.StateWriterOptions{Client: c, Namespace: "ns", Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	s.Set(reconcile.State{Known: true, Errors: []string{"pool p overlaps"}})
	run(t, s.Run)
	says := func(what, want string) {
		t.Helper()
		eventually(t, what, func() bool { return strings.Contains(a.status("configurationstates", "controller"), want) })
	}
	says("it is invalid", `"errorSummary":"pool p overlaps"`)
	a.delete("configurationstates", "controller")
	says("it is there again", `"result":"Invalid"`)
	s.Set(reconcile.State{Known: true})
	says("it is valid", `"result":"Valid"`)
}
