// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/apimachinery/pkg/watch"
)

const (
	// watchGrace is how much longer than agreed a watch may last.
	watchGrace = 30 * time.Second
	// listTimeout is how long one list may take. By default the API server gives up after
	// a minute.
	listTimeout = 2 * time.Minute
)

// A history is a lister for a reflector. The reflector continues from the last version that
// it has seen, and an API server whose etcd was restored has not reached that version: it
// accepts the watch, and sends nothing until it has. So a history first asks for the version
// of the API server. If that is older, everything is read again. A history also ends a watch
// that the API server should have ended.
type history struct {
	lister
	listed string // the version of a list that was read just now: the watch after it needs no look
}

// list returns the objects that there are. It drops a version that the API server has not
// reached.
func (h *history) list(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	if opts.Continue == "" {
		lost, err := h.lost(ctx, opts.ResourceVersion)
		if err != nil {
			return nil, err
		}
		if lost {
			opts.ResourceVersion, opts.ResourceVersionMatch = "", ""
		}
	}
	all, err := h.lister.list(ctx, opts)
	if err == nil {
		h.listed = versionOf(all)
	}
	return all, err
}

// Watch returns what happens to the objects after a version.
func (h *history) Watch(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
	lost, err := h.lost(ctx, opts.ResourceVersion)
	switch {
	case err != nil:
		return nil, err
	case lost && opts.SendInitialEvents == nil:
		return nil, apierrors.NewResourceExpired(fmt.Sprintf("version %s is newer than the API server's", opts.ResourceVersion))
	case lost:
		opts.ResourceVersion = ""
	}
	w, err := h.lister.Watch(ctx, opts)
	if err != nil || opts.TimeoutSeconds == nil {
		return w, err
	}
	return newTimedWatch(w, time.Duration(*opts.TimeoutSeconds)*time.Second+watchGrace), nil
}

// lost reports whether the API server has not reached a version that was read from it.
func (h *history) lost(ctx context.Context, version string) (bool, error) {
	listed := h.listed
	h.listed = ""
	if version == "" || version == "0" || version == listed {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	// Without a version the answer is as new as etcd.
	now, err := h.lister.list(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return false, err
	}
	return older(versionOf(now), version), nil
}

// older reports whether version a is known to be older than b.
func older(a, b string) bool {
	order, err := resourceversion.CompareResourceVersion(a, b)
	return err == nil && order < 0
}

// versionOf returns the version of a list.
func versionOf(list runtime.Object) string {
	m, err := meta.ListAccessor(list)
	if err != nil {
		return ""
	}
	return m.GetResourceVersion()
}

// A timedWatch is a watch that ends after a time at the latest.
type timedWatch struct {
	watch.Interface
	timer *time.Timer
}

func newTimedWatch(w watch.Interface, d time.Duration) timedWatch {
	return timedWatch{w, time.AfterFunc(d, w.Stop)}
}

// Stop ends the watch.
func (w timedWatch) Stop() {
	w.timer.Stop()
	w.Interface.Stop()
}
