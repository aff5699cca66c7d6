// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A mirrored is a mirror of Namespaces, and what it has called.
type mirrored struct {
	*mirror[string, namespace]
	woken  []string // the rows as a waker sees them, in one text for each call
	absent []error
}

func newMirrored(opts mirrorOptions[namespace]) *mirrored {
	m := &mirrored{}
	mu := &sync.Mutex{}
	opts.mu, opts.wake = mu, func() {
		mu.Lock() // a wake with the lock held would hang
		defer mu.Unlock()
		m.woken = append(m.woken, m.names())
	}
	opts.absent = func(err error) { m.absent = append(m.absent, err) }
	declared := namespaces
	declared.omit = func(n namespace) bool { return n.labels["omit"] != "" }
	m.mirror = newMirror(declared, opts)
	return m
}

func (m *mirrored) names() string {
	var out []string
	for _, n := range m.list() {
		out = append(out, n.name)
	}
	return strings.Join(out, " ")
}

func ns(name string, labels ...string) *corev1.Namespace {
	n := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, l := range labels {
		n.Labels = map[string]string{l: "x"}
	}
	return n
}

// A waker sees what woke it, and is called for what matters alone.
func TestMirror(t *testing.T) {
	t.Parallel()
	m := newMirrored(mirrorOptions[namespace]{})
	steps := []struct {
		name  string
		do    func() error
		woken string // what the waker has seen; "-": it was not called
	}{
		{"an empty first list", func() error { return m.Replace(nil, "") }, ""},
		{"one comes", func() error { return m.Add(ns("b")) }, "b"},
		{"the same again", func() error { return m.Update(ns("b")) }, "-"},
		{"another version", func() error { return m.Update(ns("b", "l")) }, "b"},
		{"one that is not kept", func() error { return m.Add(ns("c", "omit")) }, "-"},
		{"one more", func() error { return m.Add(ns("a")) }, "a b"},
		{"one is not kept any more", func() error { return m.Update(ns("a", "omit")) }, "b"},
		{"one that is not there goes", func() error { return m.Delete(ns("a")) }, "-"},
		{"a list", func() error { return m.Replace([]any{ns("d"), ns("b", "l"), ns("e", "omit")}, "") }, "b d"},
		{"the same list", func() error { return m.Replace([]any{ns("d"), ns("b", "l")}, "") }, "-"},
		{"one goes", func() error { return m.Delete(ns("b")) }, "d"},
		{"an empty list", func() error { return m.Replace(nil, "") }, ""},
	}
	for _, s := range steps {
		m.woken = nil
		if err := s.do(); err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		want := []string{s.woken}
		if s.woken == "-" {
			want = nil
		}
		if !slices.Equal(m.woken, want) {
			t.Errorf("%s: woken with %q, want %q", s.name, m.woken, want)
		}
	}
	// An object of another type is refused, and what was read stays.
	if err := m.Add(ns("a")); err != nil {
		t.Fatal(err)
	}
	if m.Add(&corev1.Node{}) == nil || m.Replace([]any{ns("b"), &corev1.Node{}}, "") == nil {
		t.Error("a Node was taken for a Namespace")
	}
	if got := m.names(); got != "a" {
		t.Errorf("rows are %q", got)
	}
}

// News see the old rows and the new ones, once for a list, and decide who is woken.
func TestMirrorNews(t *testing.T) {
	t.Parallel()
	var told []string
	m := newMirrored(mirrorOptions[namespace]{news: func(changes []change[namespace]) bool {
		var all []string
		for _, c := range changes {
			text := ""
			if c.old != nil {
				text = "-" + c.old.name
			}
			if c.now != nil {
				text += "+" + c.now.name
			}
			all = append(all, text)
		}
		told = append(told, strings.Join(all, " "))
		return false
	}})
	for _, err := range []error{
		m.Replace([]any{ns("b"), ns("a")}, ""),
		m.Add(ns("c")), m.Update(ns("c", "l")), m.Delete(ns("a")),
		m.Replace([]any{ns("b"), ns("d")}, ""), m.Replace([]any{ns("b"), ns("d")}, ""),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"+a +b", "+c", "-c+c", "-a", "-c +d"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
	if want := []string{"a b"}; !slices.Equal(m.woken, want) {
		t.Errorf("woken with %q: the first list alone wakes", m.woken)
	}
}

// What was read of a kind that goes stays where it was not deleted, and goes
// elsewhere.
func TestMirrorAbsent(t *testing.T) {
	t.Parallel()
	gone := apierrors.NewNotFound(corev1.Resource("namespaces"), "")
	for _, stays := range []bool{false, true} {
		m := newMirrored(mirrorOptions[namespace]{stays: stays})
		m.lost(gone)
		m.lost(gone)
		if m.reading != absent || len(m.absent) != 1 || len(m.woken) != 1 {
			t.Errorf("stays %v: reading %v, told %d times, woken %d times", stays, m.reading, len(m.absent), len(m.woken))
		}
		if err := m.Replace([]any{ns("a")}, ""); err != nil {
			t.Fatal(err)
		}
		m.lost(gone)
		want, reading, told := "", absent, 2
		if stays {
			want, reading, told = "a", listed, 1
		}
		if m.names() != want || m.reading != reading || len(m.absent) != told {
			t.Errorf("stays %v: rows %q, reading %v, told %d times", stays, m.names(), m.reading, len(m.absent))
		}
		m.reset()
		if m.names() != "" || m.reading != unread {
			t.Errorf("stays %v: after a reset rows are %q, reading %v", stays, m.names(), m.reading)
		}
	}
}

// A list that lacks all rows adds what it has, and is refused once.
func TestMirrorDoubt(t *testing.T) {
	t.Parallel()
	m := newMirrored(mirrorOptions[namespace]{doubt: &doubter{what: "Namespaces"}})
	if err := m.Replace(nil, ""); err != nil {
		t.Errorf("a first list is in doubt: %v", err)
	}
	if err := m.Replace([]any{ns("a")}, ""); err != nil {
		t.Errorf("more than is known is in doubt: %v", err)
	}
	if err := m.Replace([]any{ns("b")}, ""); !errors.Is(err, errDoubt) || m.names() != "a b" {
		t.Errorf("rows %q, %v", m.names(), err)
	}
}
