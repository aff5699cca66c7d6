// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"

	"github.com/heraldlb/herald/wake"
)

// bookmarkEvery is how often a watch says how far it has come, as the API server does.
const bookmarkEvery = time.Minute

// An Account counts what one client asks for and gets.
type Account struct {
	Requests map[string]int // by verb and resource
	Writes   int            // of them
	Sent     int            // bytes of their bodies
	Received int            // bytes of answers, without those of watches
	Events   int            // of watches
	Watched  int            // bytes of watches
}

// add adds what another client did.
func (a *Account) add(o Account) {
	if a.Requests == nil {
		a.Requests = map[string]int{}
	}
	for k, n := range o.Requests {
		a.Requests[k] += n
	}
	a.Writes, a.Sent, a.Received, a.Events, a.Watched = a.Writes+o.Writes, a.Sent+o.Sent, a.Received+o.Received, a.Events+o.Events, a.Watched+o.Watched
}

// Accounts returns what each client did since the last call.
func (a *API) Accounts() map[string]Account {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := make(map[string]Account, len(a.accounts))
	for name, account := range a.accounts {
		out[name] = *account
		*account = Account{Requests: map[string]int{}}
	}
	return out
}

// Config returns how a client of that name reaches the API server.
func (a *API) Config(client string) *rest.Config {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.accounts[client] == nil {
		a.accounts[client] = &Account{Requests: map[string]int{}}
	}
	c := &rest.Config{Host: "http://api", QPS: -1, Transport: transport{a, a.accounts[client]}}
	c.ContentType, c.AcceptContentTypes = runtime.ContentTypeProtobuf, runtime.ContentTypeProtobuf+","+runtime.ContentTypeJSON
	return c
}

// A transport is one client's way to the API server.
type transport struct {
	api     *API
	account *Account
}

// RoundTrip has a request answered.
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	q, err := parse(r)
	if err != nil {
		return nil, err
	}
	t.api.mu.Lock()
	defer t.api.mu.Unlock()
	s := t.api.stores[q.plural]
	t.account.Requests[q.verb+" "+q.plural]++
	t.account.Sent += len(q.body)
	if s == nil {
		return t.status(r, http.StatusNotFound, metav1.StatusReasonNotFound), nil
	}
	if q.verb == "watch" {
		return answer(r, http.StatusOK, s, t.api.watch(s, q, t.account)), nil
	}
	code, body, reason := t.api.serve(s, q)
	if body == nil {
		return t.status(r, code, reason), nil
	}
	if q.verb != "get" && q.verb != "list" {
		t.account.Writes++
	}
	t.account.Received += len(body)
	return answer(r, code, s, io.NopCloser(bytes.NewReader(body))), nil
}

// serve does what a request asks for. It returns the body, or why there is none. The
// caller holds mu.
func (a *API) serve(s *store, q request) (int, []byte, metav1.StatusReason) {
	key := objectKey{q.namespace, q.name}
	found := s.objects[key]
	switch {
	case q.verb == "list":
		return http.StatusOK, a.list(s, q.filter, q.limit), ""
	case q.verb == "create":
		return a.create(s, q)
	case found == nil:
		return http.StatusNotFound, nil, metav1.StatusReasonNotFound
	case q.verb == "get":
		return http.StatusOK, found.encoded, ""
	case q.verb == "patch":
		return http.StatusOK, a.patch(s, found, q.body).encoded, ""
	case q.verb == "delete":
		a.remove(s, key)
		return http.StatusOK, found.encoded, ""
	}
	return http.StatusMethodNotAllowed, nil, metav1.StatusReasonMethodNotAllowed
}

// create makes an object. The caller holds mu.
func (a *API) create(s *store, q request) (int, []byte, metav1.StatusReason) {
	if s.core != nil {
		o := s.core()
		if _, _, err := protobuf.Serializer.Decode(q.body, nil, o); err != nil {
			if err := json.Unmarshal(q.body, o); err != nil {
				return http.StatusBadRequest, nil, metav1.StatusReasonBadRequest
			}
		}
		return http.StatusCreated, a.put(s, o).encoded, ""
	}
	o := map[string]any{}
	if err := json.Unmarshal(q.body, &o); err != nil {
		return http.StatusBadRequest, nil, metav1.StatusReasonBadRequest
	}
	m := o["metadata"].(map[string]any)
	if s.objects[objectKey{text(m["namespace"]), text(m["name"])}] != nil {
		return http.StatusConflict, nil, metav1.StatusReasonAlreadyExists
	}
	m["creationTimestamp"] = time.Now().UTC().Format(time.RFC3339)
	return http.StatusCreated, a.putCustom(s, o).encoded, ""
}

// status answers that a request came to nothing.
func (t transport) status(r *http.Request, code int, reason metav1.StatusReason) *http.Response {
	body, err := json.Marshal(metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Reason: reason, Code: int32(code),
	})
	if err != nil {
		panic(err)
	}
	t.account.Received += len(body)
	return answer(r, code, nil, io.NopCloser(bytes.NewReader(body)))
}

// answer returns a response with a body in the encoding of a store.
func answer(r *http.Request, code int, s *store, body io.ReadCloser) *http.Response {
	media := runtime.ContentTypeJSON
	if s != nil && s.core != nil {
		media = runtime.ContentTypeProtobuf
	}
	return &http.Response{
		StatusCode: code, Status: strconv.Itoa(code), Header: http.Header{"Content-Type": {media}}, Body: body,
		Request: r, ProtoMajor: 1, ProtoMinor: 1, ContentLength: -1,
	}
}

// watch begins a watch. The caller holds mu.
func (a *API) watch(s *store, q request, account *Account) *stream {
	w := &stream{api: a, store: s, account: account, ready: wake.New(), closed: make(chan struct{})}
	if q.all {
		for _, o := range s.objects {
			if q.filter.selects(o) {
				w.send(s.frame("ADDED", o))
			}
		}
		w.send(s.bookmark(a.version, true))
	} else {
		for i := len(s.log); i > 0 && s.log[i-1].version > q.from; i-- {
			defer w.deliver(q.filter, s.log[i-1]) // in the order in which they happened
		}
	}
	s.watches[w] = q.filter
	if q.seconds > 0 {
		w.end = time.AfterFunc(time.Duration(q.seconds)*time.Second, func() { w.Close() })
	}
	w.mark = time.AfterFunc(bookmarkEvery, w.remind)
	return w
}

// happens tells watches what has become of an object. The caller holds mu.
func (a *API) happens(s *store, e *event) {
	s.log = append(s.log, e)
	for w, f := range s.watches {
		w.deliver(f, e)
	}
}

// A stream is the body of a watch.
type stream struct {
	api     *API
	store   *store
	account *Account
	end     *time.Timer // nil: it lasts
	mark    *time.Timer
	ready   wake.Signal
	once    sync.Once
	closed  chan struct{}

	mu    sync.Mutex // guards queue
	queue [][]byte
}

// deliver sends an event if the watch is about it. The caller holds the API's mu.
func (w *stream) deliver(f filter, e *event) {
	if f.selects(e.object) {
		w.account.Events++
		w.send(w.store.frame(e.kind, e.object))
	}
}

// remind says how far the watch has come.
func (w *stream) remind() {
	w.api.mu.Lock()
	defer w.api.mu.Unlock()
	w.send(w.store.bookmark(w.api.version, false))
	w.mark.Reset(bookmarkEvery)
}

// send adds to the stream. The caller holds the API's mu.
func (w *stream) send(frame []byte) {
	w.account.Watched += len(frame)
	w.mu.Lock()
	w.queue = append(w.queue, frame)
	w.mu.Unlock()
	w.ready.Set()
}

// Read waits for what is sent.
func (w *stream) Read(p []byte) (int, error) {
	for {
		w.mu.Lock()
		if len(w.queue) > 0 {
			n := copy(p, w.queue[0])
			if w.queue[0] = w.queue[0][n:]; len(w.queue[0]) == 0 {
				w.queue = w.queue[1:]
			}
			w.mu.Unlock()
			return n, nil
		}
		w.mu.Unlock()
		select {
		case <-w.ready:
		case <-w.closed:
			return 0, io.EOF
		}
	}
}

// Close ends the watch.
func (w *stream) Close() error {
	w.once.Do(func() {
		w.api.mu.Lock()
		defer w.api.mu.Unlock()
		delete(w.store.watches, w)
		w.mark.Stop()
		if w.end != nil {
			w.end.Stop()
		}
		close(w.closed)
	})
	return nil
}

// frame returns an object as an event of a watch. The caller holds the API's mu.
func (s *store) frame(what string, o *object) []byte {
	if o.frames == nil {
		o.frames = map[string][]byte{}
	}
	if o.frames[what] == nil {
		o.frames[what] = s.framed(what, o.encoded)
	}
	return o.frames[what]
}

func (s *store) framed(what string, encoded []byte) []byte {
	var b bytes.Buffer
	var err error
	if s.core == nil {
		err = json.NewEncoder(&b).Encode(metav1.WatchEvent{Type: what, Object: runtime.RawExtension{Raw: encoded}})
	} else {
		out := protobuf.StreamSerializer.Framer.NewFrameWriter(&b)
		err = protobuf.StreamSerializer.Encode(&metav1.WatchEvent{Type: what, Object: runtime.RawExtension{Raw: encoded}}, out)
	}
	if err != nil {
		panic(err)
	}
	return b.Bytes()
}

// bookmark returns the event that a watch has come to a version.
func (s *store) bookmark(version int, initial bool) []byte {
	m := metav1.ObjectMeta{ResourceVersion: strconv.Itoa(version)}
	if initial {
		m.Annotations = map[string]string{metav1.InitialEventsAnnotationKey: "true"}
	}
	var encoded []byte
	var err error
	if s.core == nil {
		encoded, err = json.Marshal(map[string]any{"kind": s.name, "apiVersion": s.apiVersion, "metadata": m})
	} else {
		o := s.core()
		o.GetObjectKind().SetGroupVersionKind(s.gvk())
		meta := o.(metav1.Object)
		meta.SetResourceVersion(m.ResourceVersion)
		meta.SetAnnotations(m.Annotations)
		encoded, err = runtime.Encode(protobuf.Serializer, o)
	}
	if err != nil {
		panic(err)
	}
	return s.framed("BOOKMARK", encoded)
}
