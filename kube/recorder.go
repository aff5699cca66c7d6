// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"cmp"
	"context"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/reconcile"
)

// A Recorder writes events, which kubectl describe shows below the object they
// are about. It is best effort: it never makes its caller wait, and what the API
// server does not take is gone.
type Recorder struct {
	client    *Client
	component string
	log       *slog.Logger
	queue     chan *corev1.Event
	number    atomic.Uint64 // of events so far
}

// recorderQueue is how many events may wait. A burst of a thousand Services
// makes a thousand.
const recorderQueue = 4096

// NewRecorder returns a Recorder whose events come from the named component.
func NewRecorder(client *Client, component string, log *slog.Logger) *Recorder {
	return &Recorder{client: client, component: component, log: log, queue: make(chan *corev1.Event, recorderQueue)}
}

// Service records an event about a Service.
func (r *Recorder) Service(s *reconcile.Service, e reconcile.Event) {
	r.add(corev1.ObjectReference{
		APIVersion: "v1", Kind: "Service",
		Namespace: s.Namespace, Name: s.Name, UID: types.UID(s.UID), ResourceVersion: s.ResourceVersion,
	}, e)
}

// Node records an event about a Node. It has the Node's name for a UID, as the
// kubelet's have, by which kubectl describe finds it; and as it must be of some
// namespace, that is default.
func (r *Recorder) Node(name string, e reconcile.Event) {
	r.add(corev1.ObjectReference{APIVersion: "v1", Kind: "Node", Name: name, UID: types.UID(name)}, e)
}

// Namespace records an event about a Namespace. Like a Node's, it is of namespace
// default.
func (r *Recorder) Namespace(name string, e reconcile.Event) {
	r.add(corev1.ObjectReference{APIVersion: "v1", Kind: "Namespace", Name: name}, e)
}

// ConfigMap records an event about the ConfigMap with the configuration.
func (r *Recorder) ConfigMap(c *ConfigMap, e reconcile.Event) {
	r.add(corev1.ObjectReference{
		APIVersion: "v1", Kind: "ConfigMap",
		Namespace: c.opts.Namespace, Name: c.opts.Name, UID: c.UID(),
	}, e)
}

// Resource records an event about one of MetalLB's custom resources.
func (r *Recorder) Resource(namespace string, v config.Verdict, e reconcile.Event) {
	r.add(corev1.ObjectReference{
		APIVersion: customGroup + "/" + customKinds[v.Kind].version, Kind: v.Kind,
		Namespace: namespace, Name: v.Name, UID: types.UID(v.UID),
	}, e)
}

func (r *Recorder) add(about corev1.ObjectReference, e reconcile.Event) {
	now := metav1.Now()
	event := &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: cmp.Or(about.Namespace, metav1.NamespaceDefault),
			// The time and a number make it one of a kind, in every process.
			Name: about.Name + "." + strconv.FormatInt(now.UnixNano(), 36) + strconv.FormatUint(r.number.Add(1), 36),
		},
		InvolvedObject:      about,
		Type:                corev1.EventTypeNormal,
		Reason:              e.Reason,
		Message:             e.Message,
		Source:              corev1.EventSource{Component: r.component},
		ReportingController: r.component,
		FirstTimestamp:      now,
		LastTimestamp:       now,
		Count:               1,
	}
	if e.Warning {
		event.Type = corev1.EventTypeWarning
	}
	select {
	case r.queue <- event:
	default:
		r.log.Warn("event lost", "reason", e.Reason, "err", "too many are waiting")
	}
}

// Run writes events until the context is canceled, one at a time.
func (r *Recorder) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case event := <-r.queue:
			start := time.Now()
			r.write(ctx, event)
			pause(ctx, yield(start))
		}
	}
}

func (r *Recorder) write(ctx context.Context, event *corev1.Event) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if err := r.client.createEvent(ctx, event); err != nil {
		r.log.Warn("event lost", "reason", event.Reason, "err", err)
	}
}
