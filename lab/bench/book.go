// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	toolswatch "k8s.io/client-go/tools/watch"
)

// A book records when the Services of a namespace have got their addresses.
type book struct {
	watch watch.Interface

	mu      sync.Mutex // guards the fields below
	entries map[string]entry
	changed chan struct{} // closed and replaced at each change
	err     error         // why it has ended
}

// An entry is the first address of a Service.
type entry struct {
	addr netip.Addr
	at   time.Time // when it was seen
}

// keepBook starts a book, which the caller closes.
func keepBook(ctx context.Context, c kubernetes.Interface, namespace string) (*book, error) {
	services := c.CoreV1().Services(namespace)
	list, err := services.List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	if len(list.Items) > 0 {
		return nil, fmt.Errorf("namespace %s has Services already", namespace)
	}
	// The API server ends a watch whose reader does not keep up for some milliseconds.
	w, err := toolswatch.NewRetryWatcherWithContext(ctx, list.ResourceVersion, &cache.ListWatch{
		WatchFuncWithContext: services.Watch,
	})
	if err != nil {
		return nil, err
	}
	b := &book{watch: w, entries: map[string]entry{}, changed: make(chan struct{})}
	go b.follow()
	return b, nil
}

func (b *book) close() { b.watch.Stop() }

// follow records until the watch ends.
func (b *book) follow() {
	err := errors.New("the watch of Services has ended")
	for event := range b.watch.ResultChan() {
		now := time.Now()
		svc, ok := event.Object.(*corev1.Service)
		switch {
		case event.Type == watch.Error:
			err = apierrors.FromObject(event.Object)
		case ok:
			b.record(svc, event.Type == watch.Deleted, now)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
	b.tell()
}

func (b *book) record(svc *corev1.Service, gone bool, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if gone {
		delete(b.entries, svc.Name)
		return
	}
	ingress := svc.Status.LoadBalancer.Ingress
	if _, known := b.entries[svc.Name]; known || len(ingress) == 0 {
		return
	}
	addr, err := netip.ParseAddr(ingress[0].IP)
	if err != nil {
		return
	}
	b.entries[svc.Name] = entry{addr, now}
	b.tell()
}

// tell wakes those that wait. The caller holds mu.
func (b *book) tell() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// wait waits until a Service has an address.
func (b *book) wait(ctx context.Context, name string) (entry, error) {
	for {
		b.mu.Lock()
		e, ok := b.entries[name]
		changed, err := b.changed, b.err
		b.mu.Unlock()
		if ok || err != nil {
			return e, err
		}
		select {
		case <-ctx.Done():
			return e, fmt.Errorf("wait for the address of Service %s: %w", name, context.Cause(ctx))
		case <-changed:
		}
	}
}
