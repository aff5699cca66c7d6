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

// ResourceStatusWriterOptions say whose status a ResourceStatusWriter writes.
type ResourceStatusWriterOptions struct {
	Client    *Client      // required
	Resources *Resources   // required
	Events    *Recorder    // required
	Logger    *slog.Logger // required
	Wake      func()       // optional: called when Nowhere or Sessions may have changed; must not block
	Contests  *Contests    // optional: shared with the process's other writers
}

// A ResourceStatusWriter makes the status of resources say what became of them.
type ResourceStatusWriter struct {
	opts   ResourceStatusWriterOptions
	fleet  fleet
	keeper *keeper[config.ID, resourceWant]

	mu     sync.Mutex // guards the field below
	wanted reconcile.ResourceStatus

	// The fields below are the keeper's one worker's.
	sessions map[config.ID]string    // what an event has said last of the sessions with a peer
	absent   map[config.ID]time.Time // since when no node holds a session with a peer
}

// A resourceWant is what there is to say of a resource.
type resourceWant struct {
	config.Verdict
	version string          // of the resources that the controller uses
	refs    *reconcile.Refs // nil: it refers to nothing, or that is not known yet
	pool    *status.Pool    // nil: there are no counters
	protect bool            // a pool stays until no Service has an address of it
}

// NewResourceStatusWriter returns a ResourceStatusWriter that wants nothing.
func NewResourceStatusWriter(opts ResourceStatusWriterOptions) *ResourceStatusWriter {
	if opts.Contests == nil {
		opts.Contests = NewContests(ContestsOptions{Client: opts.Client, Events: opts.Events, Logger: opts.Logger})
	}
	w := &ResourceStatusWriter{opts: opts}
	w.keeper = newKeeper(keeperOptions[config.ID, resourceWant]{
		Contests: opts.Contests, Logger: opts.Logger, Failed: "resource status not updated", Compare: config.ID.Compare,
		Diff: w.diff, Every: statusRound,
	})
	w.fleet.wake, w.fleet.links = func() {
		news := w.fleet.newSessions()
		w.keeper.Wake() // after that: a round reads what newSessions keeps
		if news && opts.Wake != nil {
			opts.Wake()
		}
	}, opts.Wake
	return w
}

// Nowhere reports whether all agents say that they lack an interface.
func (w *ResourceStatusWriter) Nowhere(iface string) bool {
	w.mu.Lock()
	version := w.wanted.Version
	w.mu.Unlock()
	return w.fleet.nowhere(version, iface)
}

// Set replaces what there is to say. It does not wait for it to be written.
func (w *ResourceStatusWriter) Set(s reconcile.ResourceStatus) {
	w.mu.Lock()
	w.wanted = s
	w.mu.Unlock()
	pools := map[string]status.Pool{}
	for _, p := range s.Pools {
		pools[p.Name] = p
	}
	wanted := make(map[config.ID]resourceWant, len(s.Verdicts))
	for _, v := range s.Verdicts {
		want := resourceWant{Verdict: v, version: s.Version, protect: s.Protect}
		if refs, ok := s.Refs[v.ID]; ok {
			want.refs = &refs
		}
		if pool, ok := pools[v.Name]; ok && v.Kind == config.KindPool {
			want.pool = &pool
		}
		wanted[v.ID] = want
	}
	w.keeper.Set(wanted)
}

// Run writes until the context is canceled, and then forgets what is wanted. It
// may be called again, but not twice at a time.
func (w *ResourceStatusWriter) Run(ctx context.Context) error {
	w.sessions, w.absent = map[config.ID]string{}, map[config.ID]time.Time{}
	w.opts.Resources.observe(w.keeper.Wake)
	defer w.opts.Resources.observe(nil)
	var g errgroup.Group
	g.Go(func() error {
		w.fleet.run(ctx, w.opts.Client, w.opts.Resources.opts.Namespace)
		return nil
	})
	g.Go(func() error { return w.keeper.Run(ctx) })
	return g.Wait()
}

// diff returns the request that makes the status of a resource say what it should.
func (w *ResourceStatusWriter) diff(id config.ID, want *resourceWant, now time.Time) (r *request, again time.Duration) {
	if want == nil {
		return nil, 0
	}
	o, ok := w.opts.Resources.get(id)
	if !ok || o.UID != want.UID || o.Generation != want.Generation {
		return nil, 0 // there is a newer version, which the next pass sees
	}
	s := said{Verdict: want.Verdict, pool: want.pool}
	_ = json.Unmarshal(o.status, &s.have) // what is no status is replaced
	progress, again, known := w.fleet.progress(want.version)
	if known {
		p := progress.Of(want.Verdict, s.have.programmed(want.Generation))
		s.programmed = &p
	}
	if want.Kind == config.KindPeer {
		if left := w.judge(&s, w.fleet.getSessions(), now); again == 0 || left > 0 && left < again {
			again = left
		}
	}
	// Until agents are heard, what was said of interfaces stays.
	if want.refs != nil && (known || len(want.refs.Interfaces) == 0) {
		refs := want.refs.Resolve(progress.Nowhere)
		s.refs = &refs
	}
	// The finalizer first: an object that is deleted before it is there is gone.
	if r := w.guard(o, *want); r != nil {
		return r, again
	}
	status, changed := s.wanted(now)
	if !changed {
		return nil, again
	}
	return &request{
		about:   subject{kind: id.Kind, namespace: w.opts.Resources.opts.Namespace, name: id.Name, uid: want.UID},
		version: o.resourceVersion, has: s.have.String(), want: status.timeless(),
		send: func(ctx context.Context) (result, error) { return w.patch(ctx, id, o.resourceVersion, status) },
		sent: func() {
			for _, e := range s.events() {
				w.opts.Events.Resource(w.opts.Resources.opts.Namespace, s.Verdict, e)
			}
			w.tellSessions(s)
		},
	}, again
}

// patch writes the status of a version of an object.
func (w *ResourceStatusWriter) patch(ctx context.Context, id config.ID, version string, want resourceStatus) (result, error) {
	patch, err := json.Marshal(struct {
		Metadata map[string]string `json:"metadata"`
		Status   resourceStatus    `json:"status"`
	}{map[string]string{"resourceVersion": version}, want})
	if err != nil {
		return result{}, err
	}
	now, err := w.opts.Client.patchCustomStatus(ctx, fieldManager, id.Kind, w.opts.Resources.opts.Namespace, id.Name, patch)
	if err != nil {
		return result{}, fmt.Errorf("%s: %w", id, err)
	}
	var left resourceStatus
	_ = json.Unmarshal(now.Status, &left)
	return result{version: now.ResourceVersion, has: left.String()}, nil
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

// String returns a text that is the same for equal statuses.
func (s resourceStatus) String() string {
	b, _ := json.Marshal(s) // strings and numbers always can be
	return string(b)
}

// timeless returns the same, without the times at which conditions became so.
func (s resourceStatus) timeless() string {
	s.Conditions = timeless(s.Conditions)
	return s.String()
}

// timeless returns conditions without the times at which they became so.
func timeless(conditions []condition) []condition {
	out := slices.Clone(conditions)
	for i := range out {
		out[i].LastTransitionTime = ""
	}
	return out
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
