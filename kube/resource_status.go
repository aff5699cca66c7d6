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
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/excerpt"
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
	// conditionAdvertised says whether an advertisement selects a pool.
	conditionAdvertised = "Advertised"
)

// A resourceStatus is the status of a resource as far as Herald writes it.
type resourceStatus struct {
	Conditions    []metaCondition `json:"conditions,omitempty"`
	InForce       *string         `json:"inForce"` // null removes it
	AssignedIPv4  *int64          `json:"assignedIPv4,omitempty"`
	AssignedIPv6  *int64          `json:"assignedIPv6,omitempty"`
	AvailableIPv4 *int64          `json:"availableIPv4,omitempty"`
	AvailableIPv6 *int64          `json:"availableIPv6,omitempty"`
	UsageIPv4     *string         `json:"usageIPv4,omitempty"`
	UsageIPv6     *string         `json:"usageIPv6,omitempty"`

	Sessions *peerSessions `json:"sessions,omitempty"`
}

// A metaCondition is a condition of a resource, as metav1.Condition has it.
type metaCondition struct {
	Type               string `json:"type"`
	Status             string `json:"status"`
	ObservedGeneration int64  `json:"observedGeneration,omitempty"`
	LastTransitionTime string `json:"lastTransitionTime,omitempty"`
	Reason             string `json:"reason,omitempty"`
	Message            string `json:"message,omitempty"`
}

func (s resourceStatus) condition(kind string) *metaCondition {
	i := slices.IndexFunc(s.Conditions, func(c metaCondition) bool { return c.Type == kind })
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
	Contests  *Contests    // optional: shared with the process's other writers
}

// A ResourceStatusWriter makes the status of resources say what became of them.
type ResourceStatusWriter struct {
	opts   ResourceStatusWriterOptions
	keeper *keeper[config.ID, reconcile.ResourceStatus]

	sessions map[config.ID]string // the reason in the last event about the sessions with a peer; the keeper's one worker has it
}

var _ reconcile.ResourceWriter = (*ResourceStatusWriter)(nil)

// NewResourceStatusWriter returns a ResourceStatusWriter that wants nothing.
func NewResourceStatusWriter(opts ResourceStatusWriterOptions) *ResourceStatusWriter {
	if opts.Contests == nil {
		opts.Contests = NewContests(ContestsOptions{Client: opts.Client, Events: opts.Events, Logger: opts.Logger})
	}
	w := &ResourceStatusWriter{opts: opts}
	w.keeper = newKeeper(keeperOptions[config.ID, reconcile.ResourceStatus]{
		Client: opts.Client, Contests: opts.Contests, Logger: opts.Logger, Failed: "resource status not updated", Compare: config.ID.Compare,
		Diff: w.diff, Every: statusRound,
	})
	return w
}

// Set replaces the statuses. It does not wait for them to be written.
func (w *ResourceStatusWriter) Set(all []reconcile.ResourceStatus) {
	wanted := make(map[config.ID]reconcile.ResourceStatus, len(all))
	for _, s := range all {
		wanted[s.ID] = s
	}
	w.keeper.Set(wanted)
}

// Published returns what the status of a resource says about a version.
func (w *ResourceStatusWriter) Published(v config.Verdict) reconcile.PublishedStatus {
	o, ok := w.opts.Resources.get(v.ID)
	if !ok || o.UID != v.UID {
		return reconcile.PublishedStatus{}
	}
	var have resourceStatus
	_ = json.Unmarshal(o.status, &have) // what is no status says nothing
	return reconcile.PublishedStatus{Programmed: have.programmed(v.Generation), Sessions: have.Sessions != nil}
}

// Run writes until the context is canceled, and then forgets what is wanted. It
// may be called again, but not twice at a time.
func (w *ResourceStatusWriter) Run(ctx context.Context) error {
	w.sessions = map[config.ID]string{}
	w.opts.Resources.observe(w.keeper.Wake)
	defer w.opts.Resources.observe(nil)
	return w.keeper.Run(ctx)
}

// diff returns the request that makes the status of a resource say what it should.
func (w *ResourceStatusWriter) diff(id config.ID, want *reconcile.ResourceStatus, now time.Time) (*request, time.Duration) {
	if want == nil {
		return nil, 0
	}
	o, ok := w.opts.Resources.get(id)
	if !ok || o.UID != want.UID || o.Generation != want.Generation {
		return nil, 0 // there is a newer version, which the next pass sees
	}
	// The finalizer first: an object that is deleted before it is there is gone.
	if r := w.guard(o, *want); r != nil {
		return r, 0
	}
	var have resourceStatus
	_ = json.Unmarshal(o.status, &have) // what is no status is replaced
	next, changed := have.next(*want, now)
	if !changed {
		return nil, 0
	}
	return &request{
		about:   subject{kind: id.Kind, namespace: w.opts.Resources.opts.Namespace, name: id.Name, uid: want.UID},
		version: o.resourceVersion, has: have.String(), want: next.timeless(),
		send: func(ctx context.Context) (result, error) { return w.patch(ctx, id, o.resourceVersion, next) },
		sent: func() {
			for _, e := range append(have.events(*want), w.sessionEvents(have, *want)...) {
				w.opts.Events.Resource(w.opts.Resources.opts.Namespace, want.Verdict, e)
			}
		},
	}, 0
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
func timeless(conditions []metaCondition) []metaCondition {
	out := slices.Clone(conditions)
	for i := range out {
		out[i].LastTransitionTime = ""
	}
	return out
}

// next returns the status that an object should have that has this one, and whether
// they differ. Conditions of others stay.
func (s resourceStatus) next(is reconcile.ResourceStatus, now time.Time) (resourceStatus, bool) {
	want := resourceStatus{Conditions: slices.Clone(s.Conditions)}
	changed := want.set(conditionAccepted, is.Generation, is.Accepted, is.Reason, is.Message, now)
	if p := is.Programmed; p != nil {
		changed = want.set(conditionProgrammed, is.Generation, p.True, p.Reason, p.Message, now) || changed
	}
	changed = want.setSessions(s, is, now) || changed
	if p := is.Resolved; p != nil {
		changed = want.set(conditionResolved, is.Generation, p.True, p.Reason, p.Message, now) || changed
	}
	changed = want.setAdvertised(is, now) || changed
	if len(is.InForce) > 0 {
		text := string(is.InForce)
		want.InForce = &text
	}
	changed = changed || !equalPtr(s.InForce, want.InForce)
	if is.Pool != nil {
		want.AssignedIPv4, want.AvailableIPv4 = counters(is.Pool.TotalV4, is.Pool.InUseV4)
		want.AssignedIPv6, want.AvailableIPv6 = counters(is.Pool.TotalV6, is.Pool.InUseV6)
		changed = changed || !equalPtr(s.AssignedIPv4, want.AssignedIPv4) || !equalPtr(s.AvailableIPv4, want.AvailableIPv4) ||
			!equalPtr(s.AssignedIPv6, want.AssignedIPv6) || !equalPtr(s.AvailableIPv6, want.AvailableIPv6)
		want.UsageIPv4, want.UsageIPv6 = usage(is.Pool.TotalV4, is.Pool.InUseV4), usage(is.Pool.TotalV6, is.Pool.InUseV6)
		changed = changed || !equalPtr(s.UsageIPv4, want.UsageIPv4) || !equalPtr(s.UsageIPv6, want.UsageIPv6)
	}
	return want, changed
}

// setAdvertised says whether an advertisement selects a pool whose newest version is in force,
// and reports whether that was another one.
func (s *resourceStatus) setAdvertised(is reconcile.ResourceStatus, now time.Time) bool {
	switch {
	case is.Kind != config.KindPool || !is.Accepted:
		return false
	case slices.Contains(is.Notes, config.NoteUnadvertised):
		return s.set(conditionAdvertised, is.Generation, false, reconcile.EventUnadvertised, config.NoteUnadvertised, now)
	}
	return s.set(conditionAdvertised, is.Generation, true, conditionAdvertised, "an advertisement selects it", now)
}

// set sets a condition, and reports whether it was another one.
func (s *resourceStatus) set(kind string, generation int64, is bool, reason, message string, now time.Time) bool {
	c := metaCondition{
		Type:               kind,
		Status:             string(metav1.ConditionFalse),
		ObservedGeneration: generation,
		LastTransitionTime: now.UTC().Format(time.RFC3339),
		Reason:             reason,
		Message:            excerpt.Message(message),
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

// programmed returns the condition Programmed; nil if it is not about this version.
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

// usage returns the same as one text, for a printer column: "11/256". It is empty if the pool
// has no addresses of the family.
func usage(total *big.Int, inUse int) *string {
	text := ""
	if total != nil && total.Sign() > 0 {
		text = fmt.Sprintf("%d/%s", inUse, status.Size(total))
	}
	return &text
}

func equalPtr[T comparable](a, b *T) bool {
	return a == b || a != nil && b != nil && *a == *b
}
