// SPDX-License-Identifier: Apache-2.0

package sysdump

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A page stays the same JSON, whatever its shape.
func TestDocument(t *testing.T) {
	for _, text := range []string{
		`{}`, `{"a": 1, "b": [], "c": {}, "d": null, "e": "x<y", "f": [1, {"g": [2]}], "h": {"i": {"j": true}}, "k": 12345678901234567890}`,
	} {
		var r redactor
		var b bytes.Buffer
		if err := r.document(&b, strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		var want, got bytes.Buffer
		if err := json.Compact(&want, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := json.Compact(&got, b.Bytes()); err != nil || got.String() != want.String() {
			t.Errorf("%s became\n%s: %v", text, b.String(), err)
		}
	}
	var r redactor
	for _, text := range []string{"", "<html>", "[]", `{"a": `, `{"a": [1`} {
		if err := r.document(&bytes.Buffer{}, strings.NewReader(text)); err == nil {
			t.Errorf("%q is taken for an object", text)
		}
	}
}

// The end of a log stays, from the begin of a line on, however long the log is.
func TestLastBytes(t *testing.T) {
	s, err := newSpool(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	last := &lastBytes{to: s, limit: 1000}
	var all strings.Builder
	for i := range 5000 {
		line := strings.Repeat("x", i%7) + "|" + strings.Repeat("y", i%13) + "\n"
		all.WriteString(line)
		if _, err := last.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	cut, err := last.end()
	if err != nil || !cut {
		t.Fatal(cut, err)
	}
	from, err := s.reader()
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if _, err := got.ReadFrom(from); err != nil {
		t.Fatal(err)
	}
	kept := got.String()
	if !strings.HasSuffix(all.String(), "\n"+kept) || int64(len(kept)) != s.size || len(kept) > 1000 || len(kept) < 900 {
		t.Errorf("%d bytes are kept: %q", len(kept), kept)
	}
	if err := s.drop(); err != nil {
		t.Error(err)
	}
}

// A line without an end is cut, and a secret where it is cut does not show in part.
func TestLines(t *testing.T) {
	r := redactor{learning: true}
	r.value("password", "s3cr3t-s3cr3t")
	r.learning = false
	r.known.settle()
	var b strings.Builder
	b.WriteString("first s3cr3t-s3cr3t\r\n")
	b.WriteString(strings.Repeat("a ", maxLine/2-5) + "s3cr3t-s3cr3t" + strings.Repeat("b", maxLine) + "\n")
	b.WriteString("last")
	var out strings.Builder
	if err := r.lines(&out, strings.NewReader(b.String()), foreign); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	if len(lines) != 4 || lines[0] != "first [redacted]" || lines[2] != "last" || strings.Contains(out.String(), "s3cr") || len(lines[1]) > maxLine || !strings.Contains(lines[1], "the line is cut") {
		t.Errorf("%d lines: %.100q … %q", len(lines), out.String(), out.String()[max(0, out.Len()-200):])
	}
}

// A node that does not answer is not asked again.
func TestSilentNode(t *testing.T) {
	d := &dump{folder: t.TempDir(), silent: map[string]bool{}}
	asked := 0
	ask := func(node string, err error) made {
		return d.one(t.Context(), part{name: "x", node: node, write: func(context.Context, *spool) (string, error) {
			asked++
			return "", err
		}})
	}
	ask("n1", errors.New("the server refuses"))
	ask("n1", fmt.Errorf("%w 20s", errTimeout))
	if m := ask("n1", nil); asked != 2 || m.err == nil || !strings.Contains(m.err.Error(), "n1 did not answer before") {
		t.Errorf("asked %d times: %v", asked, m.err)
	}
	if m := ask("n2", nil); asked != 3 || m.err != nil {
		t.Errorf("another node: asked %d times: %v", asked, m.err)
	}
}

// Agents that are not ready come first if there are too many, and controllers always.
func TestChosen(t *testing.T) {
	pod := func(name, of string, ready corev1.ConditionStatus) corev1.Pod {
		return corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{component: of}},
			Status:     corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}},
		}
	}
	d := &dump{opts: Options{Agents: 2}, pods: []corev1.Pod{
		pod("a3", "agent", corev1.ConditionFalse), pod("c1", "controller", corev1.ConditionTrue),
		pod("a2", "agent", corev1.ConditionTrue), pod("a1", "agent", corev1.ConditionTrue),
	}}
	chosen, left := d.chosen()
	var names []string
	for _, p := range chosen {
		names = append(names, p.Name)
	}
	if diff := cmp.Diff([]string{"a1", "a3", "c1"}, names); diff != "" || left != 1 {
		t.Errorf("%d are left (-want +got):\n%s", left, diff)
	}
}
