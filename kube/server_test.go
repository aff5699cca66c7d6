// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"

	"github.com/heraldlb/herald/kube"
)

// newClient returns a Client of an API server that has the objects of a fake
// clientset. The two speak the real protocol with each other.
func newClient(t *testing.T, objects *fake.Clientset) *kube.Client {
	t.Helper()
	info, ok := runtime.SerializerInfoForMediaType(scheme.Codecs.SupportedMediaTypes(), runtime.ContentTypeProtobuf)
	if !ok {
		t.Fatal("no serializer for protobuf")
	}
	s := httptest.NewServer(&server{objects, info})
	t.Cleanup(func() {
		s.CloseClientConnections() // watches never end
		s.Close()
	})
	c, err := kube.NewClient(&rest.Config{Host: s.URL, QPS: -1, ContentConfig: rest.ContentConfig{
		ContentType:        runtime.ContentTypeProtobuf,
		AcceptContentTypes: runtime.ContentTypeProtobuf,
	}})
	if err != nil {
		t.Fatalf("client: %v", err)
	}
	return c
}

// A server answers requests with what a fake clientset makes of them.
type server struct {
	objects  *fake.Clientset
	protobuf runtime.SerializerInfo
}

// kinds of the resources that the server has.
var kinds = map[string]string{
	"services": "Service", "nodes": "Node", "namespaces": "Namespace", "configmaps": "ConfigMap", "events": "Event", "secrets": "Secret",
	"endpointslices": "EndpointSlice",
}

// A target is what the path of a request names.
type target struct {
	resource                     schema.GroupVersionResource
	namespace, name, subresource string
}

// parse takes apart /api/v1/… and /apis/GROUP/VERSION/….
func parse(path string) (t target) {
	rest := strings.Split(strings.Trim(path, "/"), "/")
	take := func() (s string) {
		if len(rest) > 0 {
			s, rest = rest[0], rest[1:]
		}
		return s
	}
	if take() == "apis" {
		t.resource.Group = take()
	}
	t.resource.Version = take()
	if len(rest) > 2 && rest[0] == "namespaces" {
		take()
		t.namespace = take()
	}
	t.resource.Resource, t.name, t.subresource = take(), take(), take()
	return t
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t := parse(r.URL.Path)
	kind := t.resource.GroupVersion().WithKind(kinds[t.resource.Resource])
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var opts metav1.ListOptions
	if err := scheme.ParameterCodec.DecodeParameters(r.URL.Query(), corev1.SchemeGroupVersion, &opts); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var action clienttesting.Action
	switch {
	case opts.SendInitialEvents != nil:
		// An API server without the feature says so, and is asked for a list.
		s.write(w, nil, apierrors.NewInvalid(kind.GroupKind(), "", nil))
		return
	case opts.Watch:
		s.watch(w, r, clienttesting.NewWatchActionWithOptions(t.resource, t.namespace, opts))
		return
	case r.Method == http.MethodGet && t.name != "":
		action = clienttesting.NewGetAction(t.resource, t.namespace, t.name)
	case r.Method == http.MethodGet:
		action = clienttesting.NewListActionWithOptions(t.resource, kind, t.namespace, opts)
	case r.Method == http.MethodPost:
		obj, _, err := scheme.Codecs.UniversalDeserializer().Decode(body, nil, nil)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		action = clienttesting.NewCreateAction(t.resource, t.namespace, obj)
	case r.Method == http.MethodPatch:
		patch := types.PatchType(r.Header.Get("Content-Type"))
		action = clienttesting.NewPatchSubresourceAction(t.resource, t.namespace, t.name, patch, body, t.subresource)
	default:
		http.Error(w, r.Method, http.StatusMethodNotAllowed)
		return
	}
	obj, err := s.objects.Invokes(action, nil)
	s.write(w, obj, err)
}

// write answers with an object or, if err is not nil, a Status.
func (s *server) write(w http.ResponseWriter, obj runtime.Object, err error) {
	code := http.StatusOK
	if err != nil {
		status := &metav1.Status{Status: metav1.StatusFailure, Message: err.Error(), Code: http.StatusInternalServerError}
		if known, ok := err.(apierrors.APIStatus); ok {
			*status = known.Status()
		}
		obj, code = status, int(status.Code)
	}
	w.Header().Set("Content-Type", runtime.ContentTypeProtobuf)
	w.WriteHeader(code)
	s.encoder(obj).Encode(obj, w) // nobody listens if it fails
}

// encoder returns an encoder that writes down of which version and kind an
// object is.
func (s *server) encoder(obj runtime.Object) runtime.Encoder {
	kinds, _, err := scheme.Scheme.ObjectKinds(obj)
	if err != nil {
		panic(err)
	}
	return scheme.Codecs.EncoderForVersion(s.protobuf.Serializer, kinds[0].GroupVersion())
}

// watch answers with a stream of events.
func (s *server) watch(w http.ResponseWriter, r *http.Request, action clienttesting.WatchActionImpl) {
	events, err := s.objects.InvokesWatch(action)
	if err != nil {
		s.write(w, nil, err)
		return
	}
	defer events.Stop()
	w.Header().Set("Content-Type", runtime.ContentTypeProtobuf+";stream=watch")
	flusher := w.(http.Flusher)
	flusher.Flush()
	frames := s.protobuf.StreamSerializer.Framer.NewFrameWriter(w)
	for {
		select {
		case <-r.Context().Done():
			return
		case e, ok := <-events.ResultChan():
			if !ok {
				return
			}
			raw, err := runtime.Encode(s.encoder(e.Object), e.Object)
			if err != nil {
				panic(err)
			}
			event := &metav1.WatchEvent{Type: string(e.Type), Object: runtime.RawExtension{Raw: raw}}
			if err := s.protobuf.StreamSerializer.Encode(event, frames); err != nil {
				return
			}
			flusher.Flush()
		}
	}
}
