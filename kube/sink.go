// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// An object is a pointer to one of Kubernetes' types.
type object interface {
	runtime.Object
	metav1.Object
}

// A lister lists and watches one kind of object.
type lister[L runtime.Object] interface {
	List(ctx context.Context, opts metav1.ListOptions) (L, error)
	Watch(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error)
}

// A sink takes the objects that a reflector reads and keeps of them what Herald
// needs, so that there is no cache of whole objects. A list replaces what is
// there in one step: when the connection to the API server was lost, nothing
// looks deleted in between. One that lacks most of what is there may have to be read
// twice.
type sink[T object] struct {
	strip func(T) // optional: drops the bulk of an object that waits for the rest of its list
	wake  func()  // called after every change

	mu      *sync.Mutex // held while one of the functions below runs
	set     func(T) bool
	remove  func(T) bool
	replace func(all []T) bool // as the two above, reports whether something changes
	synced  func()             // called with the first list

	doubt *doubter[T] // optional: which lists are to be read again before they remove anything

	listed bool
}

// errDoubt makes a reflector list again.
var errDoubt = errors.New("the list lacks most of what is known, and is read again")

// Add is called for an object that came to be.
func (s *sink[T]) Add(obj any) error { return s.apply(obj, s.set) }

// Update is called for an object that changed.
func (s *sink[T]) Update(obj any) error { return s.apply(obj, s.set) }

// Delete is called for an object that is gone.
func (s *sink[T]) Delete(obj any) error { return s.apply(obj, s.remove) }

func (s *sink[T]) apply(obj any, change func(T) bool) error {
	o, ok := obj.(T)
	if !ok {
		return fmt.Errorf("a %T where a %T belongs", obj, o)
	}
	s.mu.Lock()
	changed := change(o)
	s.mu.Unlock()
	if changed {
		s.wake()
	}
	return nil
}

// Replace is called with all there are.
func (s *sink[T]) Replace(objs []any, _ string) error {
	all := make([]T, 0, len(objs))
	for _, obj := range objs {
		o, ok := obj.(T)
		if !ok {
			return fmt.Errorf("a %T where a %T belongs", obj, o)
		}
		all = append(all, o)
	}
	s.mu.Lock()
	if s.listed && s.doubt.holds(all, time.Now()) {
		// What is in the list is there all the same.
		changed := false
		for _, o := range all {
			changed = s.set(o) || changed
		}
		s.mu.Unlock()
		if changed {
			s.wake()
		}
		return errDoubt
	}
	changed := s.replace(all)
	if !s.listed {
		s.listed, changed = true, true
		s.synced()
	}
	s.mu.Unlock()
	if changed {
		s.wake()
	}
	return nil
}

// Resync does nothing: what is here is what was read.
func (s *sink[T]) Resync() error { return nil }

// Transformer returns what the reflector does to an object as it arrives.
func (s *sink[T]) Transformer() cache.TransformFunc {
	return func(obj any) (any, error) {
		if o, ok := obj.(T); ok {
			o.SetManagedFields(nil)
			if s.strip != nil {
				s.strip(o)
			}
		}
		return obj, nil
	}
}

// follow keeps a sink up to date with the API server until the context is
// canceled.
func follow[T object, L runtime.Object](ctx context.Context, c lister[L], selector fields.Selector, s *sink[T]) {
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
			opts.FieldSelector = selector.String()
			return c.List(ctx, opts)
		},
		WatchFuncWithContext: func(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
			opts.FieldSelector = selector.String()
			return c.Watch(ctx, opts)
		},
	}
	var kind T
	cache.NewReflectorWithOptions(lw, kind, s, cache.ReflectorOptions{
		Name: fmt.Sprintf("%T", kind),
		// Come back soon after an outage of the API server, yet not all agents
		// at the same moment.
		Backoff: &wait.Backoff{Duration: 200 * time.Millisecond, Cap: 5 * time.Second, Steps: 20, Factor: 1.5, Jitter: 1},
	}).RunWithContext(ctx)
}
