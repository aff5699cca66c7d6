// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/heraldlb/herald/reconcile"
)

// A fakeNode is a cluster of one Node.
type fakeNode struct {
	node   reconcile.Node
	writes int
}

func (f *fakeNode) Node(_ context.Context, name string) (*reconcile.Node, error) {
	if name != f.node.Name {
		return nil, errors.New("not found")
	}
	n := f.node
	return &n, nil
}

func (f *fakeNode) Drain(_ context.Context, _ string, d reconcile.Drain) error {
	f.node.Drain = d
	f.writes++
	return nil
}

func TestDrain(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 500, time.UTC)
	f := &fakeNode{node: reconcile.Node{Name: "n1"}}
	steps := []struct {
		name   string
		force  bool
		at     time.Time
		writes int
	}{
		{"first", false, now, 1},
		{"again changes nothing", false, now.Add(time.Minute), 1},
		{"force does not begin anew", true, now.Add(time.Minute), 2},
		{"no force any more", false, now.Add(time.Hour), 3},
	}
	for _, s := range steps {
		since, err := drain(t.Context(), f, "n1", s.force, s.at)
		if err != nil {
			t.Fatal(err)
		}
		want := reconcile.Drain{Since: time.Date(2026, 5, 1, 12, 0, 1, 0, time.UTC), Force: s.force}
		if f.node.Drain != want || !since.Equal(want.Since) || f.writes != s.writes {
			t.Errorf("%s: %v since %v after %d writes, want %v after %d", s.name, f.node.Drain, since, f.writes, want, s.writes)
		}
	}
	if _, err := drain(t.Context(), f, "n2", false, now); err == nil {
		t.Error("a node that is not there drains")
	}
}

func TestSleepUntil(t *testing.T) {
	if err := sleepUntil(t.Context(), time.Now().Add(-time.Second)); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := sleepUntil(ctx, time.Now().Add(time.Hour)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was canceled", err)
	}
}
