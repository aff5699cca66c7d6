// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"cmp"
	"context"
	"log/slog"
	"math"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/excerpt"
)

// A Recorder writes events, which kubectl describe shows below the object they
// are about. It is best effort: it never makes its caller wait, and what the API
// server does not take is gone. What comes again is one event that is counted.
//
// The correlation of client-go's tools/record counts and combines events, as in MetalLB.
// Events of tools/events have neither a limit nor a combination of similar ones, and lack the
// time by which kubectl describe sorts.
//
// Events about one object are bounded: after eventBurst for one reason there is one in
// eventEvery, and those that differ in their message alone are combined. What is too much is
// dropped before it waits, so that a flood about one object delays no other's events.
type Recorder struct {
	client    *Client
	component string
	log       *slog.Logger
	number    atomic.Uint64 // of events so far
	poke      chan struct{} // has room for one value: an event may be taken
	queue     *eventQueue

	mu     sync.Mutex                          // guards filter
	filter *record.EventSourceObjectSpamFilter // of what may wait

	correlator *record.EventCorrelator // safe for concurrent use
}

// recorderMemory is of how many objects' events client-go's correlation knows. An event
// that comes again after so many others is another one, not one that is counted. Each
// entry takes about 2 kB: more would be most of the memory of an agent.
const recorderMemory = 1024

const (
	// eventBurst is how many events about an object may follow each other, for one
	// reason, and eventEvery is how often there may be another one after those.
	// client-go's sources may say as much at once, and then one thing in 5 minutes. The
	// condition of a Service is followed by an event each minute at most.
	eventBurst = 25
	eventEvery = time.Minute
)

// NewRecorder returns a Recorder whose events come from the named component.
func NewRecorder(client *Client, component string, log *slog.Logger) *Recorder {
	return &Recorder{
		client: client, component: component, log: log, poke: make(chan struct{}, 1), queue: newEventQueue(),
		filter: record.NewEventSourceObjectSpamFilter(
			recorderQueue, eventBurst, float32(1/eventEvery.Seconds()), clock.RealClock{}, spamKey),
		// What waits has been let through.
		correlator: record.NewEventCorrelatorWithOptions(record.CorrelatorOptions{
			LRUCacheSize: recorderMemory, BurstSize: math.MaxInt32, KeyFunc: similar, SpamKeyFunc: spamKey,
		}),
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
	id := eventID{about: about, warning: e.Warning, reason: e.Reason, message: excerpt.Message(e.Message)}
	id.about.ResourceVersion = ""
	if !r.allow(id) {
		return
	}
	if lossy := r.queue.add(id, about, metav1.Now()); lossy {
		r.log.Warn("events lost", "reason", "too many are waiting", "max", recorderQueue)
	}
	r.wake()
}

// Run writes events until the context is canceled. Those about one object are written one
// after the other.
func (r *Recorder) Run(ctx context.Context) error {
	var g errgroup.Group
	for range easyWriters {
		g.Go(func() error {
			r.writeAll(ctx)
			return nil
		})
	}
	return g.Wait()
}

// wake has a writer look for an event.
func (r *Recorder) wake() {
	select {
	case r.poke <- struct{}{}:
	default:
	}
}

// writeAll writes events until the context is canceled.
func (r *Recorder) writeAll(ctx context.Context) {
	for ctx.Err() == nil {
		o, more := r.queue.take()
		if o == nil {
			select {
			case <-ctx.Done():
			case <-r.poke:
			}
			continue
		}
		if more {
			r.wake() // another writer
		}
		start := time.Now()
		r.write(ctx, o.id, *o)
		if r.queue.done(o) {
			r.wake()
		}
		pause(ctx, ease(start))
	}
}

// write writes an event, or counts one that was written before.
func (r *Recorder) write(ctx context.Context, id eventID, o occurrence) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	event, patch := r.correlate(r.newEvent(id, o), o.count)
	if event == nil {
		return
	}
	if len(patch) > 0 {
		now, err := r.client.patchEvent(ctx, event.Namespace, event.Name, patch)
		if err == nil {
			r.correlator.UpdateState(now)
			return
		}
		if !apierrors.IsNotFound(err) {
			// That may not be changed; this is another.
			event.Name, event.Count, event.FirstTimestamp = r.newName(id.about.Name, o.at), o.count, o.at
		}
	}
	event.ResourceVersion, event.ReportingController = "", r.component
	now, err := r.client.createEvent(ctx, event)
	if err != nil {
		r.log.Warn("event lost", "reason", event.Reason, "err", err)
		return
	}
	r.correlator.UpdateState(now)
}

// correlate takes note of an event that came so many times. It returns what to write:
// an event, or a patch of one that was written before; nil: nothing.
func (r *Recorder) correlate(event *corev1.Event, times int32) (*corev1.Event, []byte) {
	var out *record.EventCorrelateResult
	written := false
	for i := range times {
		next, err := r.correlator.EventCorrelate(event)
		if err != nil || next.Skip {
			break
		}
		if out = next; i == 0 {
			written = len(out.Patch) > 0
		}
	}
	switch {
	case out == nil:
		return nil, nil
	case written:
		return out.Event, out.Patch
	}
	return out.Event, nil
}

// allow reports whether there may be another event about an object now, for the same
// reason.
func (r *Recorder) allow(id eventID) bool {
	key := corev1.Event{InvolvedObject: id.about, Type: typeOf(id.warning), Reason: id.reason, Message: id.message}
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.filter.Filter(&key)
}

// spamKey has events about a tenant's object limited for each reason. Those about the
// operator's, such as a Node, are limited for each message: a Node has many peers.
func spamKey(e *corev1.Event) string {
	group, local := record.EventAggregatorByReasonFunc(e)
	if tenants[e.InvolvedObject.Kind] {
		return group
	}
	return group + "\n" + local
}

// similar has events about a tenant's object combined that differ in their message
// alone, and no others.
func similar(e *corev1.Event) (group, local string) {
	_, local = record.EventAggregatorByReasonFunc(e)
	return spamKey(e), local
}

// tenants are the kinds of objects that tenants make.
var tenants = map[string]bool{"Service": true, "Namespace": true}

// newName returns a name that no event has: the time and a number make it one of a
// kind, in every process.
func (r *Recorder) newName(about string, at metav1.Time) string {
	return about + "." + strconv.FormatInt(at.UnixNano(), 36) + strconv.FormatUint(r.number.Add(1), 36)
}

func typeOf(warning bool) string {
	if warning {
		return corev1.EventTypeWarning
	}
	return corev1.EventTypeNormal
}

func (r *Recorder) newEvent(id eventID, o occurrence) *corev1.Event {
	return &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: cmp.Or(o.about.Namespace, metav1.NamespaceDefault),
			Name:      r.newName(o.about.Name, o.at),
		},
		InvolvedObject:      o.about,
		Type:                typeOf(id.warning),
		Reason:              id.reason,
		Message:             id.message,
		Source:              corev1.EventSource{Component: r.component},
		ReportingController: r.component,
		FirstTimestamp:      o.at,
		LastTimestamp:       o.at,
		Count:               1,
	}
}
