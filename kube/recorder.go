// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/excerpt"
)

// A Recorder writes events, which kubectl describe shows below the object they
// are about. It is best effort: it never makes its caller wait, and what the API
// server does not take is gone. What comes again about a Service while it waits, or
// within an hour, is one event that is counted.
type Recorder struct {
	client    *Client
	component string
	log       *slog.Logger
	number    atomic.Uint64 // of events so far
	poke      chan struct{} // has room for one value: something waits

	mu      sync.Mutex // guards the fields below
	waiting map[eventID]*occurrence
	order   []eventID // of waiting, the oldest first; an entry whose turn does not match is void
	turn    uint64
	lost    int // since nothing waited

	series map[eventID]series // Run's own: what was written about Services
}

// recorderQueue is how many events may wait. A change of ten thousand Services
// makes ten thousand.
const recorderQueue = 16384

// recorderSlack is how many void entries Recorder.order may have besides as many
// as it has others.
const recorderSlack = 1024

const (
	// seriesTime is how long an event may be counted on: that long API servers keep
	// one, unless told otherwise.
	seriesTime = time.Hour
	// seriesMax is how many events may be counted on.
	seriesMax = 4096
)

// An eventID tells events apart: those of one ID are one event that is counted.
type eventID struct {
	about           corev1.ObjectReference
	warning         bool
	reason, message string
	turn            uint64 // in Recorder.order alone
}

// An occurrence is an event that waits.
type occurrence struct {
	about corev1.ObjectReference // with the newest version
	at    metav1.Time            // the last time
	count int32
	turn  uint64
}

// A series is an event that was written.
type series struct {
	namespace, name string
	count           int32
	last            time.Time
}

// NewRecorder returns a Recorder whose events come from the named component.
func NewRecorder(client *Client, component string, log *slog.Logger) *Recorder {
	return &Recorder{
		client: client, component: component, log: log, poke: make(chan struct{}, 1),
		waiting: map[eventID]*occurrence{}, series: map[eventID]series{},
	}
}

// Service records an event about a Service.
func (r *Recorder) Service(s *cluster.Service, e cluster.Event) {
	r.add(corev1.ObjectReference{
		APIVersion: "v1", Kind: "Service",
		Namespace: s.Namespace, Name: s.Name, UID: types.UID(s.UID), ResourceVersion: s.ResourceVersion,
	}, e)
}

// Node records an event about a Node. It has the Node's name for a UID, as the
// kubelet's have, by which kubectl describe finds it; and as it must be of some
// namespace, that is default.
func (r *Recorder) Node(name string, e cluster.Event) {
	r.add(corev1.ObjectReference{APIVersion: "v1", Kind: "Node", Name: name, UID: types.UID(name)}, e)
}

// Namespace records an event about a Namespace. Like a Node's, it is of namespace
// default.
func (r *Recorder) Namespace(name string, e cluster.Event) {
	r.add(corev1.ObjectReference{APIVersion: "v1", Kind: "Namespace", Name: name}, e)
}

// ConfigMap records an event about the ConfigMap with the configuration.
func (r *Recorder) ConfigMap(c *ConfigMap, e cluster.Event) {
	r.add(corev1.ObjectReference{
		APIVersion: "v1", Kind: "ConfigMap",
		Namespace: c.opts.Namespace, Name: c.opts.Name, UID: c.UID(),
	}, e)
}

// Resource records an event about one of MetalLB's custom resources.
func (r *Recorder) Resource(namespace string, v config.Verdict, e cluster.Event) {
	r.add(corev1.ObjectReference{
		APIVersion: customGroup + "/" + customKinds[v.Kind].version, Kind: v.Kind,
		Namespace: namespace, Name: v.Name, UID: types.UID(v.UID),
	}, e)
}

// add has an event wait for its turn.
func (r *Recorder) add(about corev1.ObjectReference, e cluster.Event) {
	now := metav1.Now()
	id := eventID{about: about, warning: e.Warning, reason: e.Reason, message: excerpt.Message(e.Message)}
	id.about.ResourceVersion = ""
	r.mu.Lock()
	r.turn++
	o := r.waiting[id]
	if o == nil {
		o = &occurrence{}
		r.waiting[id] = o
	}
	// The newest event about an object is written last.
	o.about, o.at, o.count, o.turn = about, now, o.count+1, r.turn
	id.turn = r.turn
	r.order = append(r.order, id)
	if len(r.order) > 2*len(r.waiting)+recorderSlack {
		r.order = slices.DeleteFunc(r.order, r.void)
	}
	if len(r.waiting) > recorderQueue {
		if _, _, ok := r.takeLocked(); ok {
			r.lost++
		}
	}
	first := r.lost == 1
	r.mu.Unlock()
	if first {
		r.log.Warn("events lost", "reason", "too many are waiting", "max", recorderQueue)
	}
	select {
	case r.poke <- struct{}{}:
	default:
	}
}

// take returns the event that has waited longest.
func (r *Recorder) take() (eventID, occurrence, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.takeLocked()
}

// void reports whether an entry of order is none any more: its event has come again.
func (r *Recorder) void(id eventID) bool {
	turn := id.turn
	id.turn = 0
	o := r.waiting[id]
	return o == nil || o.turn != turn
}

func (r *Recorder) takeLocked() (eventID, occurrence, bool) {
	for len(r.order) > 0 {
		id := r.order[0]
		void := r.void(id)
		r.order = r.order[1:]
		if void {
			continue
		}
		id.turn = 0
		o := r.waiting[id]
		delete(r.waiting, id)
		return id, *o, true
	}
	r.lost = 0
	return eventID{}, occurrence{}, false
}

// Run writes events until the context is canceled, one at a time.
func (r *Recorder) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.poke:
		}
		for ctx.Err() == nil {
			id, o, ok := r.take()
			if !ok {
				break
			}
			start := time.Now()
			r.write(ctx, id, o)
			pause(ctx, yield(start))
		}
	}
}

func (r *Recorder) write(ctx context.Context, id eventID, o occurrence) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if r.count(ctx, id, o) {
		return
	}
	event := r.newEvent(id, o)
	if err := r.client.createEvent(ctx, event); err != nil {
		r.log.Warn("event lost", "reason", event.Reason, "err", err)
		return
	}
	if id.about.Kind != "Service" {
		return
	}
	if len(r.series) >= seriesMax {
		clear(r.series)
	}
	r.series[id] = series{event.Namespace, event.Name, event.Count, o.at.Time}
}

// count counts an event that was written not long ago, and reports whether that is
// all there is to do. Where it may not be changed, or is gone, a new one is written.
func (r *Recorder) count(ctx context.Context, id eventID, o occurrence) bool {
	s, written := r.series[id]
	if !written {
		return false
	}
	delete(r.series, id)
	if o.at.Sub(s.last) >= seriesTime {
		return false
	}
	s.count, s.last = s.count+o.count, o.at.Time
	if err := r.client.countEvent(ctx, s.namespace, s.name, s.count, o.at); err != nil {
		return false
	}
	r.series[id] = s
	return true
}

func (r *Recorder) newEvent(id eventID, o occurrence) *corev1.Event {
	event := &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: cmp.Or(o.about.Namespace, metav1.NamespaceDefault),
			// The time and a number make it one of a kind, in every process.
			Name: o.about.Name + "." + strconv.FormatInt(o.at.UnixNano(), 36) + strconv.FormatUint(r.number.Add(1), 36),
		},
		InvolvedObject:      o.about,
		Type:                corev1.EventTypeNormal,
		Reason:              id.reason,
		Message:             id.message,
		Source:              corev1.EventSource{Component: r.component},
		ReportingController: r.component,
		FirstTimestamp:      o.at,
		LastTimestamp:       o.at,
		Count:               o.count,
	}
	if id.warning {
		event.Type = corev1.EventTypeWarning
	}
	return event
}
