// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/kube"
	"github.com/heraldlb/herald/status"
)

// A fakeNode is a cluster of one Node. Its agent has a list of reports: each request gets
// the next one, and all further ones the last.
type fakeNode struct {
	node    cluster.Node
	drained time.Time // since when
	writes  int
	reports []status.Report // Node "" is that the agent does not answer
	absent  []string        // agents' pods that do not run
}

func (f *fakeNode) Node(_ context.Context, name string) (*cluster.Node, error) {
	if name != f.node.Name {
		return nil, errors.New("not found")
	}
	n := f.node
	return &n, nil
}

func (f *fakeNode) Drain(_ context.Context, _ string, d cluster.Drain) error {
	f.node.Drain, f.drained = d, time.Now()
	f.writes++
	return nil
}

func (f *fakeNode) Agents(_ context.Context, namespace string) ([]kube.Agent, error) {
	if namespace != "ours" {
		return nil, nil
	}
	return []kube.Agent{{Node: "n0"}, {Node: f.node.Name}}, nil
}

func (f *fakeNode) AbsentAgents(context.Context, string) ([]string, error) { return f.absent, nil }

func (f *fakeNode) Report(_ context.Context, a kube.Agent) (status.Report, error) {
	r := f.reports[0]
	if len(f.reports) > 1 {
		f.reports = f.reports[1:]
	}
	if r.Node != a.Node {
		return status.Report{}, fmt.Errorf("agent of %s: refused", a.Node)
	}
	if d := f.node.Drain; !d.IsZero() {
		until := f.drained.Add(holdOf(d))
		r.Drain = &status.Drain{Wish: d.String(), Until: until, Over: !time.Now().Before(until)}
	}
	return r, nil
}

func TestDrainBegins(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 500, time.UTC)
	f := &fakeNode{node: cluster.Node{Name: "n1"}}
	steps := []struct {
		name   string
		force  bool
		hold   time.Duration
		at     time.Time
		want   time.Duration
		writes int
	}{
		{"first", false, 0, now, 0, 1},
		{"again changes nothing", false, 0, now.Add(time.Minute), 0, 1},
		{"force does not start again", true, 0, now.Add(time.Minute), 0, 2},
		{"no force any more", false, 0, now.Add(time.Hour), 0, 3},
		{"longer", false, time.Minute, now.Add(time.Hour), time.Minute, 4},
		{"as long as before", false, 0, now.Add(time.Hour), time.Minute, 4},
	}
	for _, s := range steps {
		got, err := drainJob{force: s.force, hold: s.hold}.begin(t.Context(), f, "n1", s.at)
		if err != nil {
			t.Fatal(err)
		}
		want := cluster.Drain{Since: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC), Hold: s.want, Force: s.force}
		if f.node.Drain != want || got != want || f.writes != s.writes {
			t.Errorf("%s: %v, said to be %v, after %d writes, want %v after %d", s.name, f.node.Drain, got, f.writes, want, s.writes)
		}
	}
	if _, err := (drainJob{}).begin(t.Context(), f, "n2", now); err == nil {
		t.Error("a node that is not there drains")
	}
}

// A hold that makes no sense is refused before anything is asked of a cluster.
func TestDrainHoldBounds(t *testing.T) {
	for _, hold := range []string{"0s", "999ms", "-10s", "1h1s"} {
		code, _, stderr := runHere(t, "", "drain", "n1", "--hold="+hold, "--kubeconfig=/does/not/exist")
		if code != exitMisuse || !strings.HasPrefix(stderr, "heraldctl: hold ") {
			t.Errorf("--hold=%s: exit %d, %q, want that it is refused", hold, code, stderr)
		}
	}
}

// announcing is a report of node n1 with a decision on each of ns/a and ns/b:
// "yes", "last", "no" because another node does, or "dead" for want of endpoints.
func announcing(a, b string) status.Report {
	r := status.Report{Identity: status.Identity{Node: "n1"}, Synced: true}
	for i, how := range []string{a, b} {
		d := status.Decision{
			Service: []string{"ns/a", "ns/b"}[i], Addr: netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}), Protocol: status.BGP,
			Announce: how == "yes" || how == "last",
		}
		switch how {
		case "no":
			d.Reason = status.NodeDraining
		case "dead":
			d.Reason = status.NoEndpoints
		}
		if how == "last" {
			d.Detail, d.Last = "the node drains, but no other announces the address", true
		}
		r.Decisions = append(r.Decisions, d)
	}
	return r
}

func TestDrainWaits(t *testing.T) {
	silent := status.Report{}
	tests := []struct {
		name    string
		hold    time.Duration
		force   bool
		reports []status.Report
		err     string
		after   time.Duration // at least
		want    []string      // lines, without the first
	}{
		{
			name:    "all goes",
			reports: []status.Report{announcing("yes", "yes"), announcing("yes", "yes"), silent, announcing("no", "yes"), announcing("no", "no")},
			after:   cluster.DefaultDrainHold,
			want: []string{
				"handed over  ns/a  192.0.2.1  bgp",
				"handed over  ns/b  192.0.2.2  bgp",
				"node n1 announces nothing any more",
			},
		},
		{
			name:    "held for long",
			hold:    5 * time.Minute,
			reports: []status.Report{announcing("yes", "no"), announcing("no", "no")},
			after:   5 * time.Minute,
			want:    []string{"handed over  ns/a  192.0.2.1  bgp", "node n1 announces nothing any more"},
		},
		{
			name:    "one goes for another reason",
			reports: []status.Report{announcing("yes", "yes"), announcing("dead", "no")},
			after:   cluster.DefaultDrainHold,
			want: []string{
				"withdrawn    ns/a  192.0.2.1  bgp",
				"handed over  ns/b  192.0.2.2  bgp",
				"node n1 announces nothing any more",
			},
		},
		{
			name:    "by force, all of it",
			force:   true,
			reports: []status.Report{announcing("no", "yes"), announcing("no", "no")},
			after:   cluster.DefaultDrainHold,
			want:    []string{"withdrawn  ns/b  192.0.2.2  bgp", "node n1 announces nothing any more"},
		},
		{
			name:    "one stays",
			reports: []status.Report{announcing("yes", "yes"), announcing("last", "no")},
			err:     errKept.Error(),
			after:   cluster.DefaultDrainHold,
			want: []string{
				"handed over  ns/b  192.0.2.2  bgp",
				"kept         ns/a  192.0.2.1  bgp  the node drains, but no other announces the address",
				"node n1 still announces what no other node does: 1 of its addresses",
			},
		},
		{
			name:    "never over",
			reports: []status.Report{announcing("yes", "yes"), announcing("no", "yes")},
			err:     "wait for node n1: not over after 1m10s: the node still announces 1 addresses",
			after:   time.Minute + cluster.DefaultDrainHold,
		},
		{
			name:    "the agent is gone",
			reports: []status.Report{announcing("yes", "yes"), silent},
			err:     "wait for node n1: not over after 1m10s: agent of n1: refused",
			after:   time.Minute + cluster.DefaultDrainHold,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakeNode{node: cluster.Node{Name: "n1"}, reports: tt.reports}
				var out bytes.Buffer
				start := time.Now()
				err := drainJob{namespace: "ours", hold: tt.hold, force: tt.force, wait: true, timeout: time.Minute}.run(t.Context(), f, "n1", &out)
				if text := fmt.Sprint(err); text != tt.err && (err != nil || tt.err != "") {
					t.Errorf("got %v, want %s", err, tt.err)
				}
				if took := time.Since(start); took < tt.after || took > tt.after+5*time.Second {
					t.Errorf("it took %v, want %v", took, tt.after)
				}
				lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")[1:]
				if diff := cmp.Diff(strings.Join(tt.want, "\n"), strings.Join(lines, "\n")); diff != "" {
					t.Errorf("output (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// With --wait, a node does not begin to drain if its agent cannot be asked.
func TestDrainNobodyToAsk(t *testing.T) {
	for _, job := range []drainJob{{namespace: "ours", wait: true}, {namespace: "theirs", wait: true}} {
		f := &fakeNode{node: cluster.Node{Name: "n1"}, reports: []status.Report{{}}}
		if err := job.run(t.Context(), f, "n1", new(bytes.Buffer)); err == nil || !strings.HasPrefix(err.Error(), "agent of n1: ") {
			t.Errorf("in %s: %v, want that the agent cannot be asked", job.namespace, err)
		}
		if f.writes != 0 {
			t.Errorf("in %s: the node drains", job.namespace)
		}
	}
	f := &fakeNode{node: cluster.Node{Name: "n1"}}
	if err := (drainJob{}).run(t.Context(), f, "n1", new(bytes.Buffer)); err != nil || f.writes != 1 {
		t.Errorf("without waiting: %v after %d writes", err, f.writes)
	}
}
