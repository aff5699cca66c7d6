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
	"k8s.io/apimachinery/pkg/fields"

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

// StateOptions say whose ConfigurationState a State writes.
type StateOptions struct {
	Client    *Client      // required
	Namespace string       // required
	Node      string       // the agent's; empty for the controller
	Pod       string       // optional: the object belongs to this pod; else to the Node
	Logger    *slog.Logger // required
	Contests  *Contests    // optional: whom those are told to that undo what is written
}

// A State writes a ConfigurationState, as MetalLB's components do: named
// controller, or speaker-NODE. It writes it when it changes, or when somebody
// else changed or deleted it, though more and more rarely if that goes on, and not
// at all where the kind is not installed.
type State struct {
	opts StateOptions
	poke chan struct{}

	mu     sync.Mutex // guards the fields below
	wanted *reconcile.State
	seen   *customResource // nil: there is none
	gone   bool            // there was one, and somebody deleted it
	listed bool
}

// NewState returns a State that has nothing to write.
func NewState(opts StateOptions) *State {
	if opts.Contests == nil {
		opts.Contests = NewContests(ContestsOptions{Client: opts.Client, Logger: opts.Logger})
	}
	return &State{opts: opts, poke: make(chan struct{}, 1)}
}

// Set replaces what there is to say. It does not wait for it to be written.
func (s *State) Set(state reconcile.State) {
	s.mu.Lock()
	same := s.wanted != nil && s.wanted.Equal(state)
	s.wanted = &state
	s.mu.Unlock()
	if !same {
		s.wake()
	}
}

func (s *State) wake() {
	select {
	case s.poke <- struct{}{}:
	default:
	}
}

func (s *State) name() string {
	if s.opts.Node == "" {
		return controllerState
	}
	return statePrefix + s.opts.Node
}

// Run writes until the context is canceled, and then forgets what is wanted. It
// may be called again, but not twice at a time.
func (s *State) Run(ctx context.Context) error {
	s.mu.Lock()
	s.seen, s.gone, s.listed = nil, false, false
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.wanted = nil
		s.mu.Unlock()
	}()
	var g errgroup.Group
	g.Go(func() error {
		s.writeLoop(ctx)
		return nil
	})
	// What becomes of the object is followed, so that what others do is undone.
	keep := func(o *customResource) bool {
		s.seen, s.gone = o, o == nil && (s.gone || s.seen != nil)
		return true
	}
	persist(ctx, s.opts.Client.customResources(kindState, s.opts.Namespace),
		fields.OneTermEqualSelector("metadata.name", s.name()), &sink[*customResource]{
			wake:   s.wake,
			mu:     &s.mu,
			set:    keep,
			remove: func(*customResource) bool { return keep(nil) },
			replace: func(all []*customResource) bool {
				if len(all) == 0 {
					return keep(nil)
				}
				return keep(all[0])
			},
			synced: func() { s.listed = true },
		}, func(error) {})
	return g.Wait()
}

// writeLoop writes whenever something changes, once a second at most.
func (s *State) writeLoop(ctx context.Context) {
	var later <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.poke:
		case <-later:
		}
		later = nil
		hold, err := s.write(ctx)
		if err != nil && ctx.Err() == nil {
			s.opts.Logger.Warn("configuration state not written", "err", err)
			s.wake()
		}
		if hold > 0 {
			later = time.After(hold)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(statusRound):
		}
	}
}

// A stateStatus is the status of a ConfigurationState.
type stateStatus struct {
	Result       string      `json:"result"`
	ErrorSummary string      `json:"errorSummary"`
	Conditions   []condition `json:"conditions"`

	// Herald's own.
	Source              string   `json:"source,omitempty"`    // which source is in force; where nothing is, the last that was
	InForce             string   `json:"inForce"`             // of a ConfigMap with protected pools: these, as they are in force
	Configuration       string   `json:"configuration"`       // which resources are in force
	FailedConfiguration string   `json:"failedConfiguration"` // which are not
	Failure             string   `json:"failure"`             // and why
	LackingInterfaces   []string `json:"lackingInterfaces"`   // of those that L2Advertisements name

	Sessions []sessionStatus `json:"sessions"` // an agent's; null: it does not say
}

// state returns what the status says, as far as it concerns others.
func (s stateStatus) state() reconcile.State {
	out := reconcile.State{Known: s.Result != "Unknown", Version: s.Configuration, Failed: s.FailedConfiguration, Failure: s.Failure,
		Lacking: s.LackingInterfaces, Sessions: sessionStates(s.Sessions)}
	if s.ErrorSummary != "" {
		out.Errors = strings.Split(s.ErrorSummary, "\n")
	}
	return out
}

// write brings the object about, if it is not as it should be. It returns how long
// to hold back, if that is to be.
func (s *State) write(ctx context.Context) (hold time.Duration, err error) {
	s.mu.Lock()
	wanted, seen, gone, listed := s.wanted, s.seen, s.gone, s.listed
	s.mu.Unlock()
	if wanted == nil || !listed {
		return 0, nil
	}
	about := subject{kind: kindState, namespace: s.opts.Namespace, name: s.name()}
	if seen == nil && gone {
		if hold := s.opts.Contests.hold(about, "", ""); hold > 0 {
			return hold, nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if seen == nil {
		if err := s.create(ctx); err != nil && !apierrors.IsAlreadyExists(err) {
			return 0, fmt.Errorf("create: %w", err)
		}
		seen = &customResource{}
	}
	var have stateStatus
	_ = json.Unmarshal(seen.Status, &have) // what is no status is replaced
	want, changed := s.status(have, *wanted, time.Now())
	if !changed {
		return 0, nil
	}
	if seen.ResourceVersion != "" {
		if hold := s.opts.Contests.hold(about, seen.ResourceVersion, have.String()); hold > 0 {
			return hold, nil
		}
	}
	patch, err := json.Marshal(struct {
		Status stateStatus `json:"status"`
	}{want})
	if err != nil {
		return 0, err
	}
	now, err := s.opts.Client.patchCustomStatus(ctx, s.manager(), kindState, s.opts.Namespace, s.name(), patch)
	if err != nil {
		return 0, fmt.Errorf("patch status: %w", err)
	}
	var left stateStatus
	_ = json.Unmarshal(now.Status, &left)
	s.opts.Contests.wrote(about, now.ResourceVersion, left.String())
	return 0, nil
}

// String returns a text that is the same for equal statuses.
func (s stateStatus) String() string {
	b, _ := json.Marshal(s) // strings always can be
	return string(b)
}

func (s *State) manager() string {
	if s.opts.Node == "" {
		return fieldManager
	}
	return agentManager
}

// status returns the status that the object should have, and whether that is
// another one.
func (s *State) status(have stateStatus, state reconcile.State, now time.Time) (stateStatus, bool) {
	c := condition{Type: "configReconcilerValid", Status: string(metav1.ConditionTrue), Reason: "Reconciled", LastTransitionTime: now.UTC().Format(time.RFC3339)}
	if s.opts.Node == "" {
		c.Type = "poolReconcilerValid"
	}
	want := stateStatus{Result: "Valid"}
	if len(state.Errors) > 0 {
		want.Result, want.ErrorSummary = "Invalid", clipMessage(strings.Join(state.Errors, "\n"))
		c.Status, c.Reason, c.Message = string(metav1.ConditionFalse), "ConfigurationError", want.ErrorSummary
	}
	if !state.Known {
		want.Result = "Unknown"
		c.Status = string(metav1.ConditionUnknown)
	}
	if len(have.Conditions) > 0 && have.Conditions[0].Type == c.Type && have.Conditions[0].Status == c.Status {
		c.LastTransitionTime = have.Conditions[0].LastTransitionTime
	}
	want.Conditions = []condition{c}
	if state.Notice != "" {
		n := condition{
			Type: conditionOneSource, Status: string(metav1.ConditionFalse), Reason: source.EventConfigAmbiguous,
			Message: clipMessage(state.Notice), LastTransitionTime: now.UTC().Format(time.RFC3339),
		}
		if i := slices.IndexFunc(have.Conditions, func(c condition) bool { return c.Type == n.Type }); i >= 0 {
			n.LastTransitionTime = have.Conditions[i].LastTransitionTime
		}
		want.Conditions = append(want.Conditions, n)
	}
	want.Source = cmp.Or(string(state.Source), have.Source)
	if want.InForce = state.InForce; !state.Known {
		want.InForce = have.InForce // for a process that starts
	}
	want.Configuration, want.FailedConfiguration, want.Failure = state.Version, state.Failed, clipMessage(state.Failure)
	want.LackingInterfaces = state.Lacking
	want.Sessions = sessionStatuses(state.Sessions)
	same := slices.Equal(have.Sessions, want.Sessions) && (have.Sessions == nil) == (want.Sessions == nil) &&
		slices.Equal(have.LackingInterfaces, want.LackingInterfaces) && slices.Equal(have.Conditions, want.Conditions) && have.Source == want.Source && have.InForce == want.InForce && have.Result == want.Result && have.ErrorSummary == want.ErrorSummary &&
		have.Configuration == want.Configuration && have.FailedConfiguration == want.FailedConfiguration && have.Failure == want.Failure
	return want, !same
}

// create makes the object, without a status. An agent's belongs to its pod, or to
// the Node, and goes with it.
func (s *State) create(ctx context.Context) error {
	o := customResource{
		TypeMeta: metav1.TypeMeta{APIVersion: customGroup + "/v1beta1", Kind: kindState},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: s.opts.Namespace,
			Name:      s.name(),
			Labels:    map[string]string{labelComponent: "controller"},
		},
	}
	if s.opts.Node != "" {
		o.Labels = map[string]string{labelComponent: agentComponent, labelNodeName: s.opts.Node}
		owner, err := s.opts.Client.agentOwner(ctx, s.opts.Namespace, s.opts.Pod, s.opts.Node)
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
	return s.opts.Client.createCustom(ctx, kindState, s.opts.Namespace, body)
}
