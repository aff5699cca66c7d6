// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	"golang.org/x/sync/errgroup"

	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/status"
)

// Labels of ServiceL2Status and ServiceBGPStatus, MetalLB's.
const (
	labelNode             = customGroup + "/node"
	labelServiceName      = customGroup + "/service-name"
	labelServiceNamespace = customGroup + "/service-namespace"
)

const (
	// serviceStatusSettle is how long a ServiceStatus waits after a change for
	// what else changes with it.
	serviceStatusSettle = 200 * time.Millisecond
	// serviceStatusRound is how many objects it writes before it looks again at
	// what is wanted.
	serviceStatusRound = 100
	// serviceStatusLinger is how long an object stays that is no longer wanted: it
	// may be in a moment.
	serviceStatusLinger = time.Second
	// serviceStatusSeen is how long an object that was created may take to be seen.
	serviceStatusSeen = 5 * time.Second
	// serviceStatusAgain is when a write that has not had its effect is repeated,
	// and how long an owner is held to be there.
	serviceStatusAgain = 30 * time.Second
)

// serviceStatusKinds are the kinds that tell of a Service on a node.
var serviceStatusKinds = map[status.Protocol]string{status.Layer2: kindL2Status, status.BGP: kindBGPStatus}

// ServiceStatusOptions say what a ServiceStatus writes, and where.
type ServiceStatusOptions struct {
	Client    *Client                                            // required
	Namespace string                                             // required
	Node      string                                             // required
	Pod       string                                             // optional: the objects belong to this pod; else to the Node
	Wanted    func() (all []reconcile.ServiceStatus, known bool) // required: what the node announces; called when there may be something to write
	Gone      func(node string) bool                             // optional: whether the agent of another node is known not to be alive
	Logger    *slog.Logger                                       // required
}

// A ServiceStatus keeps a ServiceL2Status or ServiceBGPStatus for each Service
// that a node announces, and none else for that node. It writes what differs, at
// a bounded rate: two requests for a new object, one for a change, one for the
// end. Where the kinds are not installed it writes nothing.
type ServiceStatus struct {
	opts ServiceStatusOptions
	poke chan struct{}

	mu   sync.Mutex                                // guards the fields below
	seen map[string]map[string]serviceStatusObject // by kind and name; a kind that is not there cannot be written

	// The fields below are the write loop's own.
	owner    *metav1.OwnerReference // nil: none is known
	ownerAt  time.Time
	unwanted map[string]time.Time // since when, by name
	tried    map[string]attempt   // the last patch of an object, by name
	failed   string               // the last error that was logged
}

// A serviceStatusObject is what there is of one object.
type serviceStatusObject struct {
	content string // see contentOf
	owner   string // UID
}

// An attempt is a patch and when it was sent.
type attempt struct {
	content string
	at      time.Time
}

// serviceStatus is the status of either kind.
type serviceStatus struct {
	Node             string            `json:"node"`
	ServiceName      string            `json:"serviceName"`
	ServiceNamespace string            `json:"serviceNamespace"`
	Peers            []string          `json:"peers"` // null removes them
	Interfaces       []interfaceStatus `json:"interfaces"`
}

type interfaceStatus struct {
	Name string `json:"name"`
}

// NewServiceStatus returns a ServiceStatus that writes nothing until it runs.
func NewServiceStatus(opts ServiceStatusOptions) *ServiceStatus {
	return &ServiceStatus{
		opts: opts, poke: make(chan struct{}, 1), seen: map[string]map[string]serviceStatusObject{},
		unwanted: map[string]time.Time{}, tried: map[string]attempt{},
	}
}

// Wake says that something else may be wanted. It waits for nothing.
func (s *ServiceStatus) Wake() {
	select {
	case s.poke <- struct{}{}:
	default:
	}
}

// Run writes until the context is canceled. The objects stay: that an agent ends
// is not the end of what it announces.
func (s *ServiceStatus) Run(ctx context.Context) error {
	var g errgroup.Group
	var once sync.Once
	for _, kind := range serviceStatusKinds {
		g.Go(func() error {
			ours := labelled[*customResourceList]{
				s.opts.Client.customResources(kind, s.opts.Namespace), labelNode + "=" + labelValue(s.opts.Node),
			}
			persist(ctx, ours, fields.Everything(), s.sinkOf(kind), func(err error) {
				s.mu.Lock()
				delete(s.seen, kind)
				s.mu.Unlock()
				once.Do(func() { s.opts.Logger.Info("service status not written", "reason", kind, "err", err) })
			})
			return nil
		})
	}
	g.Go(func() error {
		s.writeLoop(ctx)
		return nil
	})
	return g.Wait()
}

func (s *ServiceStatus) sinkOf(kind string) *sink[*customResource] {
	set := func(o *customResource) bool {
		if s.seen[kind] == nil {
			s.seen[kind] = map[string]serviceStatusObject{}
		}
		s.seen[kind][o.Name] = objectSeen(o)
		return true
	}
	return &sink[*customResource]{
		wake:   s.Wake,
		mu:     &s.mu,
		set:    set,
		remove: func(o *customResource) bool { delete(s.seen[kind], o.Name); return true },
		replace: func(all []*customResource) bool {
			s.seen[kind] = make(map[string]serviceStatusObject, len(all))
			for _, o := range all {
				set(o)
			}
			return true
		},
		synced: func() {},
	}
}

func objectSeen(o *customResource) serviceStatusObject {
	var have serviceStatus
	_ = json.Unmarshal(o.Status, &have) // what is no status is replaced
	out := serviceStatusObject{content: contentOf(have)}
	if len(o.OwnerReferences) == 1 {
		out.owner = string(o.OwnerReferences[0].UID)
	}
	return out
}

// contentOf returns a text that is the same for equal statuses.
func contentOf(s serviceStatus) string {
	if len(s.Peers) == 0 {
		s.Peers = nil
	}
	if len(s.Interfaces) == 0 {
		s.Interfaces = nil
	}
	b, _ := json.Marshal(s) // strings always can be
	return string(b)
}

// A serviceStatusTask is one object to write.
type serviceStatusTask struct {
	kind, name string
	service    reconcile.Key
	want       string // the status; empty: delete it
	create     bool
	adopt      bool // it belongs to somebody else
	patch      bool
}

// writeLoop writes whenever something changes.
func (s *ServiceStatus) writeLoop(ctx context.Context) {
	again := time.NewTicker(serviceStatusAgain)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.poke:
		case <-again.C:
		}
		if !pause(ctx, serviceStatusSettle) {
			return
		}
		select {
		case <-s.poke: // what woke it meanwhile is seen now
		default:
		}
		if more := s.round(ctx); more {
			s.Wake()
			continue
		}
		if !pause(ctx, statusRound-serviceStatusSettle) {
			return
		}
	}
}

// round writes some of what differs, and reports whether there is more.
func (s *ServiceStatus) round(ctx context.Context) (more bool) {
	wanted, known := s.opts.Wanted()
	if !known {
		return false
	}
	now := time.Now()
	tasks := s.plan(wanted, now)
	// Objects that an agent before this one left behind have another owner.
	if s.owner == nil && len(wanted) > 0 || len(tasks) > 0 && now.Sub(s.ownerAt) > serviceStatusAgain {
		if err := s.findOwner(ctx); err != nil {
			s.note(ctx, err)
			return false
		}
		s.ownerAt = now
		tasks = s.plan(wanted, now)
	}
	more = len(tasks) > serviceStatusRound
	for _, task := range tasks[:min(len(tasks), serviceStatusRound)] {
		start := time.Now()
		if err := s.carryOut(ctx, task); err != nil {
			s.note(ctx, err)
			return false
		}
		if !pause(ctx, yield(start)) {
			return false
		}
	}
	s.failed = ""
	return more
}

// note logs an error that is not the last one again, and has another round come.
func (s *ServiceStatus) note(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	s.Wake()
	if err.Error() != s.failed {
		s.failed = err.Error()
		s.opts.Logger.Warn("service status not written", "err", err)
	}
}

// plan compares what is wanted with what there is.
func (s *ServiceStatus) plan(wanted []reconcile.ServiceStatus, now time.Time) []serviceStatusTask {
	s.mu.Lock()
	defer s.mu.Unlock()
	var tasks []serviceStatusTask
	var wait time.Duration // until there is more to do
	keep := make(map[string]bool, len(wanted))
	for _, w := range wanted {
		kind := serviceStatusKinds[w.Protocol]
		objects, installed := s.seen[kind]
		if !installed {
			continue
		}
		t := serviceStatusTask{kind: kind, name: objectName(kind, s.opts.Node, w.Service), service: w.Service, want: contentOf(statusOf(w))}
		keep[t.name] = true
		delete(s.unwanted, t.name)
		have, there := objects[t.name]
		last := s.tried[t.name]
		t.create = !there
		since := now.Sub(last.at)
		switch {
		case !there && since < serviceStatusSeen:
			wait = max(wait, serviceStatusSeen-since) // it was created, and is not seen yet
			continue
		case !there:
			t.patch = true
		default:
			t.patch = have.content != t.want && (last.content != t.want || since >= serviceStatusAgain)
		}
		t.adopt = there && s.owner != nil && have.owner != string(s.owner.UID)
		if t.patch || t.adopt {
			tasks = append(tasks, t)
		}
	}
	for kind, objects := range s.seen {
		for name := range objects {
			if keep[name] {
				continue
			}
			since, ok := s.unwanted[name]
			if !ok {
				since = now
				s.unwanted[name] = since
			}
			if now.Sub(since) < serviceStatusLinger {
				wait = max(wait, serviceStatusLinger)
				continue
			}
			tasks = append(tasks, serviceStatusTask{kind: kind, name: name})
		}
	}
	if wait > 0 {
		time.AfterFunc(wait, s.Wake)
	}
	return tasks
}

// carryOut writes one object.
func (s *ServiceStatus) carryOut(ctx context.Context, t serviceStatusTask) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	c := s.opts.Client
	if t.want == "" {
		if err := c.deleteCustom(ctx, t.kind, s.opts.Namespace, t.name); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("delete %s: %w", t.name, err)
		}
		s.forget(t)
		return nil
	}
	if t.create {
		if err := s.create(ctx, t); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("create %s: %w", t.name, err)
		}
	}
	if t.adopt {
		patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"ownerReferences": s.owners()}})
		if err != nil {
			return err
		}
		if err := c.patchCustom(ctx, agentManager, t.kind, s.opts.Namespace, t.name, patch); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("patch %s: %w", t.name, err)
		}
	}
	if !t.patch {
		return nil
	}
	err := c.patchCustomStatus(ctx, agentManager, t.kind, s.opts.Namespace, t.name, []byte(`{"status":`+t.want+`}`))
	switch {
	case apierrors.IsNotFound(err): // somebody deleted it, and the next round creates it
		delete(s.tried, t.name)
		return nil
	case apierrors.IsInvalid(err): // it was another Service's, which cannot be changed
		err = c.deleteCustom(ctx, t.kind, s.opts.Namespace, t.name)
	}
	if err != nil {
		return fmt.Errorf("patch %s: %w", t.name, err)
	}
	s.tried[t.name] = attempt{t.want, time.Now()}
	if t.create && t.kind == kindL2Status && s.opts.Gone != nil {
		return s.succeed(ctx, t)
	}
	return nil
}

// forget takes note that an object was deleted.
func (s *ServiceStatus) forget(t serviceStatusTask) {
	delete(s.unwanted, t.name)
	delete(s.tried, t.name)
	s.mu.Lock()
	delete(s.seen[t.kind], t.name)
	s.mu.Unlock()
}

// create makes an object, without a status.
func (s *ServiceStatus) create(ctx context.Context, t serviceStatusTask) error {
	body, err := json.Marshal(customResource{
		TypeMeta: metav1.TypeMeta{APIVersion: customGroup + "/v1beta1", Kind: t.kind},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: s.opts.Namespace,
			Name:      t.name,
			Labels: map[string]string{
				labelNode: labelValue(s.opts.Node), labelServiceName: t.service.Name, labelServiceNamespace: t.service.Namespace,
			},
			OwnerReferences: s.owners(),
		},
	})
	if err != nil {
		return err
	}
	return s.opts.Client.createCustom(ctx, t.kind, s.opts.Namespace, body)
}

// succeed deletes what agents that are not alive any more have left behind about
// a Service that this one now answers for.
func (s *ServiceStatus) succeed(ctx context.Context, t serviceStatusTask) error {
	others, err := s.opts.Client.customResources(t.kind, s.opts.Namespace).List(ctx, metav1.ListOptions{
		LabelSelector: labelServiceName + "=" + t.service.Name + "," + labelServiceNamespace + "=" + t.service.Namespace,
	})
	if err != nil {
		return fmt.Errorf("list statuses of %s: %w", t.service, err)
	}
	for _, o := range others.Items {
		var have serviceStatus
		_ = json.Unmarshal(o.Status, &have) // nobody's, then
		if o.Name == t.name || have.Node == s.opts.Node || !s.opts.Gone(have.Node) {
			continue
		}
		if err := s.opts.Client.deleteCustom(ctx, t.kind, s.opts.Namespace, o.Name); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("delete %s: %w", o.Name, err)
		}
	}
	return nil
}

// owners returns what the objects go with.
func (s *ServiceStatus) owners() []metav1.OwnerReference {
	if s.owner == nil || s.owner.UID == "" {
		return nil
	}
	return []metav1.OwnerReference{*s.owner}
}

// findOwner looks for the agent's pod, or for the Node if that is nowhere to be
// seen.
func (s *ServiceStatus) findOwner(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	owner, err := s.opts.Client.agentOwner(ctx, s.opts.Namespace, s.opts.Pod, s.opts.Node)
	if err != nil {
		return err
	}
	if owner == nil {
		owner = &metav1.OwnerReference{} // nobody
	}
	s.owner = owner
	return nil
}

// statusOf returns the status of the object that says w.
func statusOf(w reconcile.ServiceStatus) serviceStatus {
	out := serviceStatus{Node: w.Node, ServiceName: w.Service.Name, ServiceNamespace: w.Service.Namespace, Peers: w.Peers}
	for _, name := range w.Interfaces {
		out.Interfaces = append(out.Interfaces, interfaceStatus{name})
	}
	return out
}

// objectName returns the name of the object for a Service on a node. It is always
// the same, so that no second one can come to be.
func objectName(kind, node string, service reconcile.Key) string {
	prefix := "bgp-"
	if kind == kindL2Status {
		prefix = "l2-"
	}
	return prefix + digest(node+"\n"+service.String())
}

// digest returns a short text that is another for another input.
func digest(of string) string {
	sum := sha256.Sum256([]byte(of))
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:])[:20])
}

// labelValue returns a Node's name as far as it fits into a label.
func labelValue(node string) string {
	const longest = 63
	if len(node) <= longest {
		return node
	}
	d := digest(node)
	return node[:longest-len(d)-1] + "-" + d
}
