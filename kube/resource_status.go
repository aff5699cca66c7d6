// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"math/big"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"golang.org/x/sync/errgroup"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/status"
)

const (
	// conditionAccepted says whether the newest version of a resource is in force.
	conditionAccepted = "Accepted"
	// conditionProgrammed says whether it is in force on every node.
	conditionProgrammed = "Programmed"
	// conditionResolved says whether all that a resource refers to exists.
	conditionResolved = "ResolvedRefs"
	// statusRound is how long a ResourceStatus leaves between two rounds, so that
	// a burst of Services does not write the counters of a pool all the time.
	statusRound = time.Second
	// statusPause separates two writes of a round.
	statusPause = 10 * time.Millisecond
)

// A resourceStatus is the status of a resource as far as Herald writes it.
type resourceStatus struct {
	Conditions    []condition `json:"conditions,omitempty"`
	InForce       *string     `json:"inForce"` // null removes it
	AssignedIPv4  *int64      `json:"assignedIPv4,omitempty"`
	AssignedIPv6  *int64      `json:"assignedIPv6,omitempty"`
	AvailableIPv4 *int64      `json:"availableIPv4,omitempty"`
	AvailableIPv6 *int64      `json:"availableIPv6,omitempty"`

	Sessions *peerSessions `json:"sessions,omitempty"`
}

// A condition is a condition of a resource.
type condition struct {
	Type               string `json:"type"`
	Status             string `json:"status"`
	ObservedGeneration int64  `json:"observedGeneration,omitempty"`
	LastTransitionTime string `json:"lastTransitionTime,omitempty"`
	Reason             string `json:"reason,omitempty"`
	Message            string `json:"message,omitempty"`
}

func (s resourceStatus) condition(kind string) *condition {
	i := slices.IndexFunc(s.Conditions, func(c condition) bool { return c.Type == kind })
	if i < 0 {
		return nil
	}
	return &s.Conditions[i]
}

// ResourceStatusOptions say whose status a ResourceStatus writes.
type ResourceStatusOptions struct {
	Client    *Client      // required
	Resources *Resources   // required
	Events    *Recorder    // required
	Logger    *slog.Logger // required
	Wake      func()       // optional: called when Nowhere or Sessions may have changed; must not block
	Contests  *Contests    // optional: whom those are told to that undo what is written
}

// A ResourceStatus makes the status of resources say what became of them. It
// writes what differs and nothing else, at a bounded rate, and again if somebody
// else changes it: soon at first, and more and more rarely if that goes on.
type ResourceStatus struct {
	opts  ResourceStatusOptions
	poke  chan struct{}
	fleet fleet

	mu     sync.Mutex // guards wanted
	wanted reconcile.ResourceStatus

	written  map[config.ID]write     // Run's own
	sessions map[config.ID]string    // likewise: what an event has said last of the sessions with a peer
	absent   map[config.ID]time.Time // likewise: since when no node holds a session with a peer
}

// A write is what was written last to an object, and onto which version. An
// API server whose schema lacks a field drops it: to write it again is no use.
type write struct{ resourceVersion, patch string }

// NewResourceStatus returns a ResourceStatus that wants nothing.
func NewResourceStatus(opts ResourceStatusOptions) *ResourceStatus {
	if opts.Contests == nil {
		opts.Contests = NewContests(ContestsOptions{Client: opts.Client, Events: opts.Events, Logger: opts.Logger})
	}
	r := &ResourceStatus{opts: opts, poke: make(chan struct{}, 1)}
	r.fleet.wake, r.fleet.links = func() {
		news := r.fleet.newSessions()
		r.wake() // after that: a round reads what newSessions keeps
		if news && opts.Wake != nil {
			opts.Wake()
		}
	}, opts.Wake
	return r
}

// Nowhere reports whether all agents say that they lack an interface.
func (r *ResourceStatus) Nowhere(iface string) bool {
	r.mu.Lock()
	version := r.wanted.Version
	r.mu.Unlock()
	return r.fleet.nowhere(version, iface)
}

// Set replaces what there is to say. It does not wait for it to be written.
func (r *ResourceStatus) Set(s reconcile.ResourceStatus) {
	r.mu.Lock()
	r.wanted = s
	r.mu.Unlock()
	r.wake()
}

func (r *ResourceStatus) wake() {
	select {
	case r.poke <- struct{}{}:
	default:
	}
}

// Run writes until the context is canceled, and then forgets what is wanted. It
// may be called again, but not twice at a time.
func (r *ResourceStatus) Run(ctx context.Context) error {
	r.written, r.sessions, r.absent = map[config.ID]write{}, map[config.ID]string{}, map[config.ID]time.Time{}
	r.opts.Resources.observe(r.wake)
	defer func() {
		r.opts.Resources.observe(nil)
		r.mu.Lock()
		r.wanted = reconcile.ResourceStatus{}
		r.mu.Unlock()
	}()
	var g errgroup.Group
	g.Go(func() error {
		r.fleet.run(ctx, r.opts.Client, r.opts.Resources.opts.Namespace)
		return nil
	})
	g.Go(func() error {
		r.writeLoop(ctx)
		return nil
	})
	return g.Wait()
}

// writeLoop writes whenever something changes, once a second at most.
func (r *ResourceStatus) writeLoop(ctx context.Context) {
	var later <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.poke:
		case <-later:
		}
		later = nil
		if wait := r.round(ctx); wait > 0 {
			later = time.After(wait)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(statusRound):
		}
	}
}

// round writes all that differs, but for what another writer contests. It returns
// how long to wait until time alone may have changed something; 0: it will not.
func (r *ResourceStatus) round(ctx context.Context) time.Duration {
	r.mu.Lock()
	wanted := r.wanted
	r.mu.Unlock()
	pools := map[string]status.Pool{}
	for _, p := range wanted.Pools {
		pools[p.Name] = p
	}
	progress, wait, known := r.fleet.progress(wanted.Version)
	sessions := r.fleet.getSessions()
	for _, v := range wanted.Verdicts {
		o, ok := r.opts.Resources.get(v.ID)
		if !ok || o.UID != v.UID || o.Generation != v.Generation {
			continue // there is a newer version, and it is looked at
		}
		s := said{Verdict: v}
		_ = json.Unmarshal(o.status, &s.have) // what is no status is replaced
		if known {
			p := progress.Of(v, s.have.programmed(v.Generation))
			s.programmed = &p
		}
		if v.Kind == config.KindPeer {
			left := r.judge(&s, sessions, time.Now())
			if wait == 0 || left > 0 && left < wait {
				wait = left
			}
		}
		// Of interfaces agents tell, and until they are heard what was said stays.
		if refs, ok := wanted.Refs[v.ID]; ok && (known || len(refs.Interfaces) == 0) {
			r := refs.Resolve(progress.Nowhere)
			s.refs = &r
		}
		if pool, ok := pools[v.Name]; ok && v.Kind == config.KindPool {
			s.pool = &pool
		}
		// The finalizer first: what is deleted before it is there is gone.
		var hold time.Duration
		patched, err := r.guard(ctx, o, v, wanted.Protect)
		if err == nil && !patched {
			hold, err = r.write(ctx, o, s)
		}
		if err != nil && ctx.Err() == nil {
			r.opts.Logger.Warn("resource status not updated", "reason", v.ID.String(), "err", err)
			r.wake()
		}
		if hold > 0 && (wait == 0 || hold < wait) {
			wait = hold
		}
	}
	return wait
}

// A said is what there is to say of a resource.
type said struct {
	config.Verdict
	have       resourceStatus          // what its status says
	programmed *reconcile.Programmed   // nil: it is not known, and what was said stays
	refs       *reconcile.ResolvedRefs // nil: likewise, or it refers to nothing
	pool       *status.Pool            // nil: there are no counters

	sessions *reconcile.PeerSessions // nil: it is no peer, or agents do not say, and what was said stays
}

// write writes the status of an object, unless it is as it should be, or is to be
// held back, and then returns for how long.
func (r *ResourceStatus) write(ctx context.Context, o observed, s said) (hold time.Duration, err error) {
	want, changed := s.wanted(time.Now())
	if !changed {
		return 0, nil
	}
	patch, err := json.Marshal(struct {
		Metadata map[string]string `json:"metadata"`
		Status   resourceStatus    `json:"status"`
	}{map[string]string{"resourceVersion": o.resourceVersion}, want})
	if err != nil {
		return 0, err
	}
	same := write{o.resourceVersion, s.text()}
	if r.written[s.ID] == same {
		return 0, nil
	}
	about := subject{kind: s.Kind, namespace: r.opts.Resources.opts.Namespace, name: s.Name, uid: s.UID}
	if hold := r.opts.Contests.hold(about, o.resourceVersion, s.have.String()); hold > 0 {
		return hold, nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	now, err := r.opts.Client.patchCustomStatus(ctx, fieldManager, s.Kind, about.namespace, s.Name, patch)
	switch {
	case apierrors.IsConflict(err), apierrors.IsNotFound(err):
		return 0, nil // there is a newer version, or none
	case err != nil:
		return 0, err
	}
	r.written[s.ID] = same
	var left resourceStatus
	_ = json.Unmarshal(now.Status, &left)
	r.opts.Contests.wrote(about, now.ResourceVersion, left.String())
	for _, e := range s.events() {
		r.opts.Events.Resource(r.opts.Resources.opts.Namespace, s.Verdict, e)
	}
	r.tellSessions(s)
	pause(ctx, statusPause)
	return 0, nil
}

// String returns a text that is the same for equal statuses.
func (s resourceStatus) String() string {
	b, _ := json.Marshal(s) // strings and numbers always can be
	return string(b)
}

// text returns all that is said, without the time.
func (s said) text() string {
	text := s.Reason + s.Message
	if s.programmed != nil {
		text += s.programmed.Reason + s.programmed.Message
	}
	if s.sessions != nil {
		text += fmt.Sprint(*s.sessions)
	}
	if s.refs != nil {
		text += s.refs.Reason + s.refs.Message
	}
	if s.pool != nil {
		text += fmt.Sprint(*s.pool)
	}
	return text
}

// wanted returns the status that the object should have, and whether it has
// another one. Conditions of others stay.
func (s said) wanted(now time.Time) (resourceStatus, bool) {
	have, want := s.have, resourceStatus{Conditions: slices.Clone(s.have.Conditions)}
	changed := want.set(conditionAccepted, s.Generation, s.Accepted, s.Reason, s.Message, now)
	if p := s.programmed; p != nil {
		changed = want.set(conditionProgrammed, s.Generation, p.True, p.Reason, p.Message, now) || changed
	}
	changed = want.setSessions(have, s, now) || changed
	if p := s.refs; p != nil {
		changed = want.set(conditionResolved, s.Generation, p.True, p.Reason, p.Message, now) || changed
	}
	if len(s.InForce) > 0 {
		text := string(s.InForce)
		want.InForce = &text
	}
	changed = changed || !equalPtr(have.InForce, want.InForce)
	if s.pool != nil {
		want.AssignedIPv4, want.AvailableIPv4 = counters(s.pool.TotalV4, s.pool.InUseV4)
		want.AssignedIPv6, want.AvailableIPv6 = counters(s.pool.TotalV6, s.pool.InUseV6)
		changed = changed || !equalPtr(have.AssignedIPv4, want.AssignedIPv4) || !equalPtr(have.AvailableIPv4, want.AvailableIPv4) ||
			!equalPtr(have.AssignedIPv6, want.AssignedIPv6) || !equalPtr(have.AvailableIPv6, want.AvailableIPv6)
	}
	return want, changed
}

// set makes a condition say something, and reports whether it said something else.
func (s *resourceStatus) set(kind string, generation int64, is bool, reason, message string, now time.Time) bool {
	c := condition{
		Type:               kind,
		Status:             string(metav1.ConditionFalse),
		ObservedGeneration: generation,
		LastTransitionTime: now.UTC().Format(time.RFC3339),
		Reason:             reason,
		Message:            clipMessage(message),
	}
	if is {
		c.Status = string(metav1.ConditionTrue)
	}
	old := s.condition(kind)
	if old == nil {
		s.Conditions = append(s.Conditions, c)
		return true
	}
	if old.Status == c.Status && old.LastTransitionTime != "" {
		c.LastTransitionTime = old.LastTransitionTime
	}
	changed := *old != c
	*old = c
	return changed
}

// programmed returns what the status says of a version being in force; nil if it
// says nothing of this one.
func (s resourceStatus) programmed(generation int64) *reconcile.Programmed {
	c := s.condition(conditionProgrammed)
	if c == nil || c.ObservedGeneration != generation {
		return nil
	}
	return &reconcile.Programmed{True: c.Status == string(metav1.ConditionTrue), Reason: c.Reason, Message: c.Message}
}

// counters returns how many addresses are in use and free, as far as the
// numbers of a status reach.
func counters(total *big.Int, inUse int) (assigned, available *int64) {
	a, free := int64(inUse), int64(math.MaxInt64)
	if total == nil {
		total = new(big.Int)
	}
	if n := new(big.Int).Sub(total, big.NewInt(a)); n.IsInt64() {
		free = max(n.Int64(), 0)
	}
	return &a, &free
}

// maxMessage is how much a condition's message may have.
const maxMessage = 32768

func clipMessage(s string) string {
	if len(s) > maxMessage {
		return s[:maxMessage]
	}
	return s
}

func equalPtr[T comparable](a, b *T) bool {
	return a == b || a != nil && b != nil && *a == *b
}
