// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
)

// A filter selects objects.
type filter struct {
	namespace string // empty: all
	labels    labels.Selector
	fields    fields.Selector
	all       bool // the selectors select everything
}

func newFilter(namespace, labelText, fieldText string) (filter, error) {
	f := filter{namespace: namespace, all: labelText == "" && fieldText == ""}
	var err error
	if f.labels, err = labels.Parse(labelText); err != nil {
		return f, err
	}
	f.fields, err = fields.ParseSelector(fieldText)
	return f, err
}

func (f filter) selects(o *object) bool {
	return (f.namespace == "" || f.namespace == o.key.namespace) &&
		(f.all || f.labels.Matches(o.labels) && f.fields.Matches(fields.Set{"metadata.name": o.key.name}))
}

// list returns a list of objects as the API server sends it. The caller holds mu.
func (a *API) list(s *store, f filter, limit int) []byte {
	var found []*object
	for _, o := range s.objects {
		if f.selects(o) {
			if found = append(found, o); limit == 1 { // larger pages are sent as one
				break
			}
		}
	}
	if s.core == nil {
		var b bytes.Buffer
		fmt.Fprintf(&b, `{"kind":"%sList","apiVersion":%q,"metadata":{"resourceVersion":"%d"},"items":[`, s.name, s.apiVersion, a.version)
		for i, o := range found {
			if i > 0 {
				b.WriteByte(',')
			}
			b.Write(o.encoded)
		}
		b.WriteString("]}")
		return b.Bytes()
	}
	// A list of protobuf has its metadata in field 1, and each object in field 2.
	meta, err := (&metav1.ListMeta{ResourceVersion: strconv.Itoa(a.version)}).Marshal()
	if err != nil {
		panic(err)
	}
	b := field(nil, 1, meta)
	for _, o := range found {
		var u runtime.Unknown
		if err := u.Unmarshal(o.encoded[len(magic):]); err != nil {
			panic(err)
		}
		b = field(b, 2, u.Raw)
	}
	all, err := (&runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: s.apiVersion, Kind: s.name + "List"}, Raw: b}).Marshal()
	if err != nil {
		panic(err)
	}
	return append([]byte(magic), all...)
}

// magic is how Kubernetes' protobuf begins.
const magic = "k8s\x00"

// field adds a field of bytes to a message.
func field(b []byte, number uint64, value []byte) []byte {
	b = binary.AppendUvarint(b, number<<3|2)
	return append(binary.AppendUvarint(b, uint64(len(value))), value...)
}

// protobuf is how objects are encoded.
var protobuf = func() runtime.SerializerInfo {
	info, ok := runtime.SerializerInfoForMediaType(scheme.Codecs.SupportedMediaTypes(), runtime.ContentTypeProtobuf)
	if !ok {
		panic("there is no serializer for protobuf")
	}
	return info
}()

// text returns a value that is a string.
func text(v any) string {
	s, _ := v.(string)
	return s
}

// A request is what a client asks for.
type request struct {
	plural, namespace, name string
	verb                    string
	body                    []byte
	filter                  filter
	limit                   int
	from                    int // of a watch: the version that it begins after
	all                     bool
	seconds                 int
}

// parse takes apart a request.
func parse(r *http.Request) (q request, err error) {
	rest := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if rest[0] == "apis" {
		rest = rest[1:] // the group
	}
	rest = rest[2:] // the version
	if len(rest) > 2 && rest[0] == "namespaces" {
		q.namespace, rest = rest[1], rest[2:]
	}
	if q.plural = rest[0]; len(rest) > 1 {
		q.name = rest[1]
	}
	if r.Body != nil {
		if q.body, err = io.ReadAll(r.Body); err != nil {
			return q, err
		}
	}
	p := r.URL.Query()
	switch {
	case r.Method != http.MethodGet:
		q.verb = map[string]string{http.MethodPost: "create", http.MethodPatch: "patch", http.MethodDelete: "delete", http.MethodPut: "update"}[r.Method]
	case p.Get("watch") != "":
		q.verb = "watch"
	case q.name != "":
		q.verb = "get"
	default:
		q.verb = "list"
	}
	q.limit, _ = strconv.Atoi(p.Get("limit")) // none: 0
	q.from, _ = strconv.Atoi(p.Get("resourceVersion"))
	q.seconds, _ = strconv.Atoi(p.Get("timeoutSeconds"))
	q.all = p.Get("sendInitialEvents") == "true"
	q.filter, err = newFilter(q.namespace, p.Get("labelSelector"), p.Get("fieldSelector"))
	return q, err
}
