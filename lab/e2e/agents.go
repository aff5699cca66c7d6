// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/status"
)

// AgentReport asks the agent of a node for what it says.
func (e *Test) AgentReport(ctx context.Context, n *lab.Node) (r status.Report, err error) {
	page, err := e.Agent(n).Get(ctx, "/status")
	if err == nil {
		err = json.Unmarshal([]byte(page), &r)
	}
	return r, err
}

// Leader returns the controller that holds the Lease.
func (e *Test) Leader() *lab.Daemon {
	e.T.Helper()
	var leader *lab.Daemon
	e.Eventually("leader", func(ctx context.Context) error {
		l, err := e.Cluster.Client().CoordinationV1().Leases(lab.HeraldNamespace).Get(ctx, "herald-controller", metav1.GetOptions{})
		if err != nil {
			return err
		}
		holder := *l.Spec.HolderIdentity
		i := slices.IndexFunc(e.Controllers, func(c *lab.Daemon) bool { return strings.HasPrefix(holder, c.Name) })
		if i < 0 {
			return fmt.Errorf("the Lease is held by %q", holder)
		}
		leader = e.Controllers[i]
		return nil
	})
	return leader
}

// Metric waits until a daemon shows a line of metrics.
func (e *Test) Metric(d *lab.Daemon, line string) {
	e.T.Helper()
	e.Eventually("metric of "+d.Name, func(ctx context.Context) error {
		page, err := d.Get(ctx, "/metrics")
		if err == nil && !strings.Contains(page, "\n"+line) {
			err = fmt.Errorf("no %q", line)
		}
		return err
	})
}

// NodeEvents returns Herald's events about a Node since a time, the oldest first:
// "Warning BGPSessionDown message".
func (e *Test) NodeEvents(ctx context.Context, n *lab.Node, since time.Time) ([]string, error) {
	list, err := e.Cluster.Client().CoreV1().Events(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{
		// As kubectl describe asks.
		FieldSelector: "involvedObject.kind=Node,involvedObject.name=" + n.Name + ",involvedObject.uid=" + n.Name,
	})
	if err != nil {
		return nil, err
	}
	items := slices.DeleteFunc(list.Items, func(ev corev1.Event) bool {
		return ev.Source.Component != "herald-agent" || ev.LastTimestamp.Time.Before(since.Truncate(time.Second))
	})
	slices.SortStableFunc(items, func(a, b corev1.Event) int { return a.LastTimestamp.Compare(b.LastTimestamp.Time) })
	var out []string
	for _, ev := range items {
		for range max(ev.Count, 1) { // the recorder counts an event that is repeated
			out = append(out, ev.Type+" "+ev.Reason+" "+ev.Message)
		}
	}
	return out, nil
}

// NodeEvent waits until a Node has an event since a time that has all the words, and
// returns it.
func (e *Test) NodeEvent(n *lab.Node, since time.Time, words ...string) (event string) {
	e.T.Helper()
	var all []string
	e.Eventually("event on "+n.Name, func(ctx context.Context) error {
		now, err := e.NodeEvents(ctx, n, since)
		if err != nil {
			return fmt.Errorf("%w, the last ones were %q", err, all)
		}
		all = now
		i := slices.IndexFunc(all, func(ev string) bool {
			return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(ev, w) })
		})
		if i < 0 {
			return fmt.Errorf("none with %q among %q", words, all)
		}
		event = all[i]
		return nil
	})
	e.T.Logf("after %v: %s", time.Since(since).Round(100*time.Millisecond), event)
	return event
}

// PeerOf returns what a node's agent says of the peer with an address.
func (e *Test) PeerOf(ctx context.Context, n *lab.Node, a netip.Addr) (status.Peer, error) {
	page, err := e.Agent(n).Get(ctx, "/status")
	if err != nil {
		return status.Peer{}, err
	}
	var r status.Report
	if err := json.Unmarshal([]byte(page), &r); err != nil {
		return status.Peer{}, err
	}
	i := slices.IndexFunc(r.Peers, func(p status.Peer) bool { return p.Address == a })
	if i < 0 {
		return status.Peer{}, fmt.Errorf("no peer %s among %+v", a, r.Peers)
	}
	return r.Peers[i], nil
}

// LaterPass waits until the agents of nodes, no nodes meaning all, have decided again:
// a label that means nothing wakes them.
func (e *Test) LaterPass(nodes ...*lab.Node) {
	e.T.Helper()
	if len(nodes) == 0 {
		nodes = e.Nodes
	}
	before := map[*lab.Node]uint64{}
	for _, n := range nodes {
		e.Eventually("passes of "+n.Name, func(ctx context.Context) error {
			r, err := e.AgentReport(ctx, n)
			before[n] = r.Passes
			return err
		})
	}
	const label = "lab.heraldlb.io/pass"
	if err := e.Cluster.LabelNode(e.T.Context(), e.Nodes[len(e.Nodes)-1].Name, label, strconv.FormatInt(time.Now().UnixNano(), 36)); err != nil {
		e.T.Fatal(err)
	}
	for _, n := range nodes {
		e.Eventually("a later pass of "+n.Name, func(ctx context.Context) error {
			r, err := e.AgentReport(ctx, n)
			if err == nil && r.Passes == before[n] {
				err = fmt.Errorf("it has made %d", r.Passes)
			}
			return err
		})
	}
}
