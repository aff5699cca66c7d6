// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/excerpt"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/source"
)

// Labels of a ConfigurationState, and how an agent's name begins: MetalLB's.
const (
	labelComponent = customGroup + "/component-type"
	labelNodeName  = customGroup + "/node-name"
	agentComponent = "speaker"
	statePrefix    = agentComponent + "-"
)

// controllerState is the name of the controller's ConfigurationState.
const controllerState = "controller"

// conditionOneSource is False where a ConfigMap and resources exist and one of them
// does not count. It is not there otherwise.
const conditionOneSource = "heraldlb.io/OneSource"

// StateWriterOptions say whose ConfigurationState a StateWriter writes.
type StateWriterOptions struct {
	Client    *Client      // required
	Namespace string       // required
	Node      string       // the agent's; empty for the controller
	Pod       string       // optional: the object belongs to this pod; else to the Node
	Logger    *slog.Logger // required
	Contests  *Contests    // optional: shared with the process's other writers
}

// A StateWriter writes a ConfigurationState, as MetalLB's components do: named
// controller, or speaker-NODE. Where the kind is not installed it writes nothing.
type StateWriter struct {
	opts   StateWriterOptions
	seen   *seenState
	keeper *keeper[string, reconcile.State] // by the object's name

	mu   sync.Mutex       // guards last
	last *reconcile.State // of Set; nil: none since Run ended
}

var _ reconcile.StateWriter = (*StateWriter)(nil)

// NewStateWriter returns a StateWriter that writes nothing yet.
func NewStateWriter(opts StateWriterOptions) *StateWriter {
	if opts.Contests == nil {
		opts.Contests = NewContests(ContestsOptions{Client: opts.Client, Logger: opts.Logger})
	}
	w := &StateWriter{opts: opts}
	w.keeper = newKeeper(keeperOptions[string, reconcile.State]{
		Client: opts.Client, Contests: opts.Contests, Logger: opts.Logger, Failed: "configuration state not written", Compare: strings.Compare,
		Diff: w.diff, Every: statusRound,
		Workers: 1, // it does not pause: the next write may be urgent, and Every bounds them
	})
	w.seen = newSeenState(opts.Client, opts.Namespace, w.name(), w.keeper.Wake)
	return w
}

// Set replaces the State. It does not wait for it to be written. An equal State starts
// no round: the next round, a second later, may be urgent. Which source is in force is
// written at once, since all processes go by it when another source appears.
func (w *StateWriter) Set(state reconcile.State) {
	w.mu.Lock()
	same := w.last != nil && w.last.Equal(state)
	urgent := w.last != nil && (w.last.Source != state.Source || w.last.InForce != state.InForce)
	w.last = &state
	w.mu.Unlock()
	if !same {
		w.keeper.Set(map[string]reconcile.State{w.name(): state})
	}
	if urgent {
		w.keeper.Hurry()
	}
}

// Run writes until the context is canceled, and then forgets what is wanted. It
// may be called again, but not twice at a time.
func (w *StateWriter) Run(ctx context.Context) error {
	var g errgroup.Group
	g.Go(func() error { return w.keeper.Run(ctx) })
	w.seen.run(ctx)
	err := g.Wait()
	w.mu.Lock()
	w.last = nil // the keeper has forgotten it
	w.mu.Unlock()
	return err
}

func (w *StateWriter) name() string {
	if w.opts.Node == "" {
		return controllerState
	}
	return statePrefix + w.opts.Node
}

func (w *StateWriter) manager() string {
	if w.opts.Node == "" {
		return fieldManager
	}
	return agentManager
}

// diff returns the request that makes the object say what it should.
func (w *StateWriter) diff(name string, state *reconcile.State, now time.Time) (*request, time.Duration) {
	seen, listed := w.seen.get()
	if state == nil || !listed {
		return nil, 0
	}
	create := seen == nil
	if create {
		seen = &customResource{}
	}
	var have stateStatus
	_ = json.Unmarshal(seen.Status, &have) // what is no status is replaced
	want, changed := w.status(have, *state, now)
	if !create && !changed {
		return nil, 0
	}
	return &request{
		about:   subject{kind: kindState, namespace: w.opts.Namespace, name: name},
		version: seen.ResourceVersion, has: have.String(), want: want.timeless(),
		send: func(ctx context.Context) (result, error) {
			if create {
				if err := w.create(ctx); err != nil && !apierrors.IsAlreadyExists(err) {
					return result{}, fmt.Errorf("create: %w", err)
				}
			}
			return w.patch(ctx, want)
		},
	}, 0
}

// patch makes the object have a status.
func (w *StateWriter) patch(ctx context.Context, want stateStatus) (result, error) {
	patch, err := json.Marshal(struct {
		Status stateStatus `json:"status"`
	}{want})
	if err != nil {
		return result{}, err
	}
	now, err := w.opts.Client.patchCustomStatus(ctx, w.manager(), kindState, w.opts.Namespace, w.name(), patch)
	if err != nil {
		return result{}, fmt.Errorf("patch status: %w", err)
	}
	var left stateStatus
	_ = json.Unmarshal(now.Status, &left)
	return result{version: now.ResourceVersion, has: left.String()}, nil
}

// A stateStatus is the status of a ConfigurationState.
type stateStatus struct {
	Result       string          `json:"result"`
	ErrorSummary string          `json:"errorSummary"`
	Conditions   []metaCondition `json:"conditions"`

	// Herald's own.
	Source              string   `json:"source,omitempty"`    // which source is in force; where nothing is, the last that was
	InForce             string   `json:"inForce"`             // of a ConfigMap with protected pools: these, as they are in force
	Configuration       string   `json:"configuration"`       // which resources are in force
	FailedConfiguration string   `json:"failedConfiguration"` // which are not
	Failure             string   `json:"failure"`             // and why
	LackingInterfaces   []string `json:"lackingInterfaces"`   // of those that L2Advertisements name

	Sessions []sessionStatus `json:"sessions"` // an agent's; null: it does not say
}

// state returns the State that the status publishes, as far as other processes use it.
func (s stateStatus) state() reconcile.State {
	out := reconcile.State{Known: s.Result != "Unknown", Version: s.Configuration, Failed: s.FailedConfiguration, Failure: s.Failure,
		Lacking: s.LackingInterfaces, Sessions: sessionStates(s.Sessions)}
	if s.ErrorSummary != "" {
		out.Errors = strings.Split(s.ErrorSummary, "\n")
	}
	return out
}

// String returns a text that is the same for equal statuses.
func (s stateStatus) String() string {
	b, _ := json.Marshal(s) // strings always can be
	return string(b)
}

// timeless returns the same, without the times at which conditions became so.
func (s stateStatus) timeless() string {
	s.Conditions = timeless(s.Conditions)
	return s.String()
}

// status returns the status that the object should have, and whether it differs.
func (w *StateWriter) status(have stateStatus, state reconcile.State, now time.Time) (stateStatus, bool) {
	c := metaCondition{Type: "configReconcilerValid", Status: string(metav1.ConditionTrue), Reason: "Reconciled", LastTransitionTime: now.UTC().Format(time.RFC3339)}
	if w.opts.Node == "" {
		c.Type = "poolReconcilerValid"
	}
	want := stateStatus{Result: "Valid"}
	if len(state.Errors) > 0 {
		want.Result, want.ErrorSummary = "Invalid", excerpt.Message(strings.Join(state.Errors, "\n"))
		c.Status, c.Reason, c.Message = string(metav1.ConditionFalse), "ConfigurationError", want.ErrorSummary
	}
	if !state.Known {
		want.Result = "Unknown"
		c.Status = string(metav1.ConditionUnknown)
	}
	if len(have.Conditions) > 0 && have.Conditions[0].Type == c.Type && have.Conditions[0].Status == c.Status {
		c.LastTransitionTime = have.Conditions[0].LastTransitionTime
	}
	want.Conditions = []metaCondition{c}
	if state.Notice != "" {
		n := metaCondition{
			Type: conditionOneSource, Status: string(metav1.ConditionFalse), Reason: source.EventConfigAmbiguous,
			Message: excerpt.Message(state.Notice), LastTransitionTime: now.UTC().Format(time.RFC3339),
		}
		if i := slices.IndexFunc(have.Conditions, func(c metaCondition) bool { return c.Type == n.Type }); i >= 0 {
			n.LastTransitionTime = have.Conditions[i].LastTransitionTime
		}
		want.Conditions = append(want.Conditions, n)
	}
	want.Source = cmp.Or(string(state.Source), have.Source)
	if want.InForce = state.InForce; !state.Known {
		want.InForce = have.InForce // for a process that starts
	}
	want.Configuration, want.FailedConfiguration, want.Failure = state.Version, state.Failed, excerpt.Message(state.Failure)
	want.LackingInterfaces = state.Lacking
	want.Sessions = sessionStatuses(state.Sessions)
	same := slices.Equal(have.Sessions, want.Sessions) && (have.Sessions == nil) == (want.Sessions == nil) &&
		slices.Equal(have.LackingInterfaces, want.LackingInterfaces) && slices.Equal(have.Conditions, want.Conditions) && have.Source == want.Source && have.InForce == want.InForce && have.Result == want.Result && have.ErrorSummary == want.ErrorSummary &&
		have.Configuration == want.Configuration && have.FailedConfiguration == want.FailedConfiguration && have.Failure == want.Failure
	return want, !same
}

// create makes the object, without a status. An agent's belongs to its pod, or to
// the Node, and goes with it.
func (w *StateWriter) create(ctx context.Context) error {
	o := customResource{
		TypeMeta: metav1.TypeMeta{APIVersion: customGroup + "/v1beta1", Kind: kindState},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: w.opts.Namespace,
			Name:      w.name(),
			Labels:    map[string]string{labelComponent: "controller"},
		},
	}
	if w.opts.Node != "" {
		o.Labels = map[string]string{labelComponent: agentComponent, labelNodeName: w.opts.Node}
		owner, err := w.opts.Client.agentOwner(ctx, w.opts.Namespace, w.opts.Pod, w.opts.Node)
		if err != nil {
			return err
		}
		if owner != nil {
			o.OwnerReferences = []metav1.OwnerReference{*owner}
		}
	}
	body, err := json.Marshal(o)
	if err != nil {
		return err
	}
	_, err = w.opts.Client.createCustom(ctx, w.manager(), kindState, w.opts.Namespace, body)
	return err
}
