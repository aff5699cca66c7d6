// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/heraldlb/herald/cluster"
)

// leftovers deletes the statuses of Services that no agent deletes itself. An agent may
// write those of its own node alone, so that the leading controller does it:
//
//   - A ServiceL2Status of a node whose agent is not ready, once another node has made
//     one about the Service after it. An agent that lives makes its own again, which is
//     then the later one and stays.
//   - An object of a node on which no agent has run for abandonedAfter, such as a node that
//     was deleted, or that the DaemonSet selects no more. The agents' pods do not own the
//     objects: a restart of an agent changes none.
//   - An object that has the name of another node's or Service's object. It would keep
//     that one from being written.
//
// Nothing is known of agents that run elsewhere than in pods: as long as no pod of an agent
// is seen, all nodes count as having one. On a node without a pod another load balancer may
// run: its objects stay.
type leftovers struct {
	all    *Announcements // its mu guards the fields below
	agents *mirror[string, agentPod]
	taken  map[serviceStatusID]bool // the objects that are misnamed
	count  map[string]int           // of Herald's objects of each node
	absent map[string]time.Time     // since when no agent has run on nodes that have objects
	keeper *keeper[serviceStatusID, struct{}]
}

// abandonedAfter is how long no agent may run on a node until its objects are deleted. A
// pod is replaced in less, and routers keep the routes of an agent that restarts as long.
const abandonedAfter = 2 * time.Minute

// An agentPod is what Herald reads of the pod of an agent.
type agentPod struct {
	name, node string
	down       bool // the kubelet, or the API server for a lost node, says that it is not ready
	running    bool // its containers were started and have not ended, as far as is known

	absence, unready string // why its program does not run, or is not ready; empty: it does, or is
}

func newLeftovers(a *Announcements) *leftovers {
	l := &leftovers{all: a, taken: map[serviceStatusID]bool{}, count: map[string]int{}, absent: map[string]time.Time{}}
	l.keeper = newKeeper(keeperOptions[serviceStatusID, struct{}]{
		Client: a.opts.Client, Contests: NewContests(ContestsOptions{Client: a.opts.Client, Logger: a.opts.Logger}),
		Logger: a.opts.Logger, Failed: "service status of another node not deleted", Compare: serviceStatusID.compare,
		There: l.find, Diff: l.diff, Every: statusRound,
	})
	var once sync.Once
	l.agents = newMirror(kind[*corev1.Pod, string, agentPod]{
		from: func(c *Client) lister { return c.pods(a.opts.Namespace).labelled(agentSelector) },
		strip: func(p *corev1.Pod) {
			*p = corev1.Pod{ObjectMeta: p.ObjectMeta, Spec: corev1.PodSpec{NodeName: p.Spec.NodeName, Containers: p.Spec.Containers}, Status: p.Status}
		},
		row:     agentPodOf,
		key:     func(p agentPod) string { return p.name },
		compare: strings.Compare,
	}, mirrorOptions[agentPod]{mu: &a.mu, wake: l.keeper.Wake, news: func([]change[agentPod]) bool {
		l.track(time.Now())
		return true
	}, absent: func(err error) {
		once.Do(func() { a.opts.Logger.Info("service status of dead nodes not deleted", "reason", "Pod", "err", err) })
	}})
	return l
}

// agentPodOf returns the row of a pod.
func agentPodOf(p *corev1.Pod) agentPod {
	return agentPod{
		name: p.Name, node: p.Spec.NodeName, down: podDown(p), running: p.Status.Phase == corev1.PodRunning,
		absence: absence(*p), unready: unready(*p),
	}
}

// podDown reports whether a pod is said not to be ready.
func podDown(p *corev1.Pod) bool {
	i := slices.IndexFunc(p.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == corev1.PodReady })
	return i >= 0 && p.Status.Conditions[i].Status != corev1.ConditionTrue
}

// note takes in what became of objects of a kind. The caller holds mu.
func (l *leftovers) note(kind string, changes []change[announcement]) {
	for _, c := range changes {
		if c.old != nil {
			delete(l.taken, serviceStatusID{kind, c.old.name})
		}
		if c.old != nil && c.old.own {
			if l.count[c.old.Node]--; l.count[c.old.Node] == 0 {
				delete(l.count, c.old.Node)
			}
		}
		if c.now != nil && c.now.misnamed != "" {
			l.taken[serviceStatusID{kind, c.now.name}] = true
		}
		if c.now != nil && c.now.own {
			l.count[c.now.Node]++
			if _, absent := l.absent[c.now.Node]; absent {
				l.absent[c.now.Node] = time.Now() // some agent lives that writes it
			}
		}
	}
	l.keeper.Wake()
}

// track takes down since when no agent has run on nodes. The caller holds mu.
func (l *leftovers) track(now time.Time) {
	running := map[string]bool{}
	for _, p := range l.agents.list() {
		if p.running {
			running[p.node] = true
		}
	}
	maps.DeleteFunc(l.absent, func(node string, _ time.Time) bool {
		return running[node] || len(running) == 0 || l.count[node] == 0
	})
	if len(running) == 0 {
		return
	}
	for node := range l.count {
		if _, known := l.absent[node]; !known && !running[node] {
			l.absent[node] = now
		}
	}
}

// abandoned reports whether Herald's objects of a node are deleted. The caller holds mu.
func (l *leftovers) abandoned(node string) bool {
	since, absent := l.absent[node]
	return absent && time.Since(since) >= abandonedAfter
}

// find returns the objects to delete. As long as all nodes have agents, it looks at those
// alone of which a Service has more than one: the others may be very many.
func (l *leftovers) find() []serviceStatusID {
	l.all.mu.Lock()
	defer l.all.mu.Unlock()
	out := slices.Collect(maps.Keys(l.taken))
	l.track(time.Now())
	for node := range l.absent {
		if !l.abandoned(node) {
			continue
		}
		for _, k := range l.all.kinds {
			for _, s := range k.list() {
				if s.own && s.Node == node {
					out = append(out, serviceStatusID{k.name, s.name})
				}
			}
		}
	}
	pods := l.ready()
	if !l.someDown(pods) {
		return out
	}
	for _, k := range l.all.kinds {
		if k.name != kindL2Status {
			continue
		}
		for _, names := range k.names {
			for _, name := range names {
				if len(names) > 1 && l.left(k, *k.find(name), pods) {
					out = append(out, serviceStatusID{k.name, name})
				}
			}
		}
	}
	return out
}

// diff returns the request that deletes an object, if it is one to delete.
func (l *leftovers) diff(id serviceStatusID, _ *struct{}, _ time.Time) (*request, time.Duration) {
	l.all.mu.Lock()
	defer l.all.mu.Unlock()
	k := l.all.kinds[slices.IndexFunc(l.all.kinds, func(k announcedKind) bool { return k.name == id.kind })]
	s := k.find(id.name)
	if s == nil || !l.left(k, *s, l.ready()) {
		return nil, 0
	}
	misnamed := s.misnamed
	return &request{has: id.name, send: func(ctx context.Context) (result, error) {
		err := l.all.opts.Client.deleteCustom(ctx, id.kind, l.all.opts.Namespace, id.name)
		if err != nil && !apierrors.IsNotFound(err) {
			return result{}, fmt.Errorf("delete %s: %w", id.name, err)
		}
		if misnamed != "" {
			l.all.opts.Logger.Warn("a service status had the name of another's", "kind", id.kind, "name", id.name, "node", misnamed)
		}
		return result{}, nil
	}}, 0
}

// left reports whether an object is one to delete. The caller holds mu.
func (l *leftovers) left(k announcedKind, s announcement, pods map[string]bool) bool {
	if s.misnamed != "" || s.own && l.abandoned(s.Node) {
		return true
	}
	return k.name == kindL2Status && isDown(s, pods) && slices.ContainsFunc(k.names[s.Service], func(name string) bool {
		o := k.find(name)
		return o.misnamed == "" && o.Node != s.Node && !isDown(*o, pods) && o.made > s.made
	})
}

// ready returns the nodes with a pod of an agent, and whether one of these may be ready. The
// caller holds mu.
func (l *leftovers) ready() map[string]bool {
	out := map[string]bool{}
	for _, p := range l.agents.list() {
		out[p.node] = out[p.node] || !p.down
	}
	return out
}

// someDown reports whether isDown may be true of some object. The caller holds mu.
func (l *leftovers) someDown(pods map[string]bool) bool {
	for _, ready := range pods {
		if !ready {
			return true
		}
	}
	for node := range l.count {
		if _, there := pods[node]; !there && len(pods) > 0 {
			return true
		}
	}
	return false
}

// isDown reports whether the agent that made an object is not ready, or gone.
func isDown(s announcement, pods map[string]bool) bool {
	ready, there := pods[s.Node]
	if !there {
		return s.own && len(pods) > 0
	}
	return !ready
}

// misnamed returns the node that an object is of, if its name is one that Herald gives
// to the object of another node or Service; else it is empty.
func misnamed(kind string, o *customResource, have serviceStatus) string {
	node := cmp.Or(have.Node, o.Labels[labelNode])
	of := cluster.Key{Namespace: o.Labels[labelServiceNamespace], Name: o.Labels[labelServiceName]}
	own := objectName(kind, node, of)
	switch {
	case len(o.Name) != len(own) || o.Name == own || !isObjectName(o.Name):
		return "" // another load balancer's, or what it should be
	case have.Node == "" && len(node) == longestLabel:
		return "" // the label may be the beginning of the node's name
	}
	return cmp.Or(node, "none")
}
