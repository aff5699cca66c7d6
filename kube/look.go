// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/kube/object"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/topology"
)

const (
	// lookPatience is how long Look waits for all agents together.
	lookPatience = 5 * time.Second
	// lookAtOnce is how many agents it asks at once.
	lookAtOnce = 16
	// controllerLease is the Lease of the controllers.
	controllerLease = "herald-controller"
	// processSelector selects the pods of Herald, as the manifests label them.
	processSelector = "app.kubernetes.io/component in (agent,controller)"
)

// LookOptions say where a Herald is.
type LookOptions struct {
	Namespace string            // required
	Flags     map[string]string // of controller and agents, where they are not those in the pods' arguments
	Agents    int               // how many agents are asked at most
	About     string            // a node whose agent is asked first; empty: none
}

// Look reads what a Topology is made of: all that the API server has, and the reports of the
// agents. It reads no Secret. What cannot be read is in Unasked of the result.
func Look(ctx context.Context, c *Client, opts LookOptions) topology.Input {
	l := &look{client: c, opts: opts, in: topology.Input{
		At: time.Now(), Namespace: opts.Namespace, About: opts.About, Refused: map[config.ID]string{},
		Cluster: cluster.Snapshot{Namespaces: map[string]map[string]string{}, Endpoints: map[cluster.Key][]cluster.Endpoint{}},
	}}
	var maps corev1.ConfigMapList
	var g errgroup.Group
	for what, read := range map[string]func(context.Context) error{
		topology.KindServices:       l.services,
		topology.KindNamespaces:     l.namespaces,
		topology.KindNodes:          l.nodes,
		topology.KindEndpointSlices: l.endpoints,
		topology.KindResources:      l.resources,
		topology.KindConfigMaps: func(ctx context.Context) error {
			all, err := c.configMaps(opts.Namespace).List(ctx, metav1.ListOptions{})
			if err == nil {
				maps = *all
			}
			return err
		},
		topology.KindStates:   l.states,
		topology.KindStatuses: l.statuses,
		topology.KindPods:     l.processes,
		topology.KindLease:    l.leader,
	} {
		g.Go(func() error {
			if err := read(ctx); err != nil {
				l.unasked(what, err)
			}
			return nil
		})
	}
	_ = g.Wait() // no function of the group fails
	for i := range l.in.Controllers {
		l.in.Controllers[i].Leading = l.in.Controllers[i].Pod == l.in.Leader
	}
	l.in.Class, l.in.Source = l.flag("lb-class"), l.flag("config-source")
	l.in.IgnoreExclude = l.flag("ignore-exclude-lb") == "true"
	l.configMap(maps)
	return l.in
}

// A look is one call of Look.
type look struct {
	client *Client
	opts   LookOptions
	flags  map[string]string // of the pods

	mu sync.Mutex     // guards Unasked of in
	in topology.Input // each other field has one writer
}

func (l *look) unasked(what string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.in.Unasked = append(l.in.Unasked, topology.Unasked{What: what, Error: err.Error()})
}

// flag returns the value of a flag of controller and agents.
func (l *look) flag(name string) string {
	if v, ok := l.opts.Flags[name]; ok {
		return v
	}
	return l.flags[name]
}

func (l *look) services(ctx context.Context) (err error) {
	l.in.Cluster.Services, err = services.read(ctx, l.client)
	return err
}

func (l *look) namespaces(ctx context.Context) error {
	all, err := namespaces.read(ctx, l.client)
	if err == nil {
		l.in.Cluster.Namespaces = labelsOf(all)
	}
	return err
}

func (l *look) nodes(ctx context.Context) (err error) {
	l.in.Cluster.Nodes, err = nodes.read(ctx, l.client)
	return err
}

func (l *look) endpoints(ctx context.Context) error {
	all, err := endpointSlices.read(ctx, l.client)
	of := l.in.Cluster.Endpoints
	for _, slice := range all {
		of[slice.service] = object.MergeEndpoints(of[slice.service], slice.usable)
	}
	return err
}

// rawKind returns the custom resources of a kind as they are.
func rawKind(name, namespace string) kind[*customResource, string, *customResource] {
	return kind[*customResource, string, *customResource]{
		name:    name,
		from:    func(c *Client) lister { return c.customResources(name, namespace) },
		row:     func(o *customResource) *customResource { return o },
		key:     func(o *customResource) string { return o.Namespace + "/" + o.Name },
		compare: strings.Compare,
	}
}

// custom returns the custom resources of a kind in a namespace, none if the kind is not
// installed.
func (l *look) custom(ctx context.Context, name, namespace string) ([]*customResource, error) {
	all, err := rawKind(name, namespace).read(ctx, l.client)
	if apierrors.IsNotFound(err) {
		err = nil
	}
	return all, err
}

// resources reads those of all namespaces if it may: outside of Herald's namespace they do nothing.
func (l *look) resources(ctx context.Context) error {
	found := make([][]*customResource, len(config.ResourceKinds))
	g, ctx := errgroup.WithContext(ctx)
	for i, name := range config.ResourceKinds {
		g.Go(func() (err error) {
			if found[i], err = l.custom(ctx, name, ""); apierrors.IsForbidden(err) {
				found[i], err = l.custom(ctx, name, l.opts.Namespace)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, name := range config.ResourceKinds {
		for _, o := range found[i] {
			id := config.ID{Kind: name, Name: o.Name}
			if o.Namespace != l.opts.Namespace {
				l.in.Strays = append(l.in.Strays, topology.Stray{ID: id, Namespace: o.Namespace})
				continue
			}
			l.in.Resources = append(l.in.Resources, objectOf(name, o))
			if why, is := refusal(o.Status, o.Generation); is {
				l.in.Refused[id] = why
			}
		}
	}
	return nil
}

// configMap adds the ConfigMap that Herald reads, and the names of similar ones.
func (l *look) configMap(all corev1.ConfigMapList) {
	name := cmp.Or(l.flag("config"), "config")
	reader := &ConfigMap{opts: ConfigMapOptions{Namespace: l.opts.Namespace, Name: name, Key: configKey}}
	l.in.ConfigMap = reader.document(nil)
	for i := range all.Items {
		m := &all.Items[i]
		switch {
		case m.Name == name:
			l.in.ConfigMap = reader.document(m)
		case holdsConfiguration(*m):
			l.in.Similar = append(l.in.Similar, m.Name)
		}
	}
	slices.Sort(l.in.Similar)
}

func (l *look) states(ctx context.Context) error {
	all, err := l.custom(ctx, kindState, l.opts.Namespace)
	for _, o := range all {
		if o.Name == controllerState {
			l.in.Recorded = recordedOf(o).source
			continue
		}
		if s := agentStateOf(o); s.Node != "" {
			l.in.States = append(l.in.States, topology.AgentState{Node: s.Node, Errors: s.Errors, Failure: s.Failure, Lacking: s.Lacking, Sessions: s.Sessions})
		}
	}
	return err
}

func (l *look) statuses(ctx context.Context) error {
	for _, protocol := range []status.Protocol{status.BGP, status.Layer2} {
		name := serviceStatusKinds[protocol]
		all, err := l.custom(ctx, name, l.opts.Namespace)
		if err != nil {
			return err
		}
		for _, o := range all {
			s := announcementOf(protocol, name, o)
			if s.Node == "" || s.misnamed != "" {
				continue
			}
			l.in.Announced = append(l.in.Announced, topology.Announcement{Service: s.Service, Announcer: topology.Announcer{
				Node: s.Node, Protocol: protocol, Peers: s.Peers, Interfaces: s.Interfaces,
			}})
		}
	}
	return nil
}

// leader reads which pod leads. A Lease that was not renewed for long has no leader.
func (l *look) leader(ctx context.Context) error {
	text, err := l.client.custom[customVersions[0]].Get().
		AbsPath(fmt.Sprintf("/apis/coordination.k8s.io/v1/namespaces/%s/leases/%s", l.opts.Namespace, controllerLease)).DoRaw(ctx)
	if apierrors.IsNotFound(err) {
		return nil
	}
	var lease struct {
		Spec struct {
			HolderIdentity       string
			LeaseDurationSeconds int
			RenewTime            time.Time
		}
	}
	if err == nil {
		err = json.Unmarshal(text, &lease)
	}
	if err != nil {
		return err
	}
	if old := l.in.At.Sub(lease.Spec.RenewTime); old > 2*time.Duration(lease.Spec.LeaseDurationSeconds)*time.Second {
		return nil
	}
	if i := strings.LastIndex(lease.Spec.HolderIdentity, "_"); i > 0 {
		l.in.Leader = lease.Spec.HolderIdentity[:i]
	}
	return nil
}

// processes reads the pods of Herald, and asks the agents.
func (l *look) processes(ctx context.Context) error {
	pods, err := l.client.pods(l.opts.Namespace).labelled(processSelector).list(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	l.flags = map[string]string{}
	var agents []Agent // that run; those of others have no pod
	for _, p := range pods.(*corev1.PodList).Items {
		addFlags(l.flags, p)
		why := ""
		if !running(p) {
			why = absence(p)
		}
		if p.Labels["app.kubernetes.io/component"] == "controller" {
			l.in.Controllers = append(l.in.Controllers, topology.Controller{Pod: p.Name, Ready: why == "" && !agentPodOf(&p).down, Absence: why})
			continue
		}
		l.in.Agents = append(l.in.Agents, topology.AgentPod{Node: p.Spec.NodeName, Pod: p.Name, Absence: why})
		agents = append(agents, Agent{Node: p.Spec.NodeName, namespace: l.opts.Namespace, pod: p.Name, port: metricsPort(p)})
	}
	l.ask(ctx, agents)
	slices.SortFunc(l.in.Controllers, func(a, b topology.Controller) int { return strings.Compare(a.Pod, b.Pod) })
	slices.SortFunc(l.in.Agents, func(a, b topology.AgentPod) int {
		return cmp.Or(strings.Compare(a.Node, b.Node), strings.Compare(a.Pod, b.Pod))
	})
	return nil
}

// ask asks the agents that run.
func (l *look) ask(ctx context.Context, agents []Agent) {
	ctx, cancel := context.WithTimeoutCause(ctx, lookPatience, fmt.Errorf("no answer within %v", lookPatience))
	defer cancel()
	var order []int // the agent that matters first, then by node
	for i := range agents {
		if l.in.Agents[i].Absence == "" {
			order = append(order, i)
		}
	}
	slices.SortFunc(order, func(i, j int) int {
		later := func(i int) int {
			if agents[i].Node == l.opts.About {
				return 0
			}
			return 1
		}
		return cmp.Or(later(i)-later(j), strings.Compare(agents[i].Node, agents[j].Node))
	})
	if left := len(order) - l.opts.Agents; left > 0 {
		l.unasked(fmt.Sprintf("agents of %d nodes", left), fmt.Errorf("%d are asked at most", l.opts.Agents))
		order = order[:l.opts.Agents]
	}
	var g errgroup.Group
	g.SetLimit(lookAtOnce)
	for _, i := range order {
		a := agents[i]
		g.Go(func() error {
			r, err := l.client.Report(ctx, a)
			switch {
			case err != nil && ctx.Err() != nil:
				l.unasked("agent of "+a.Node, context.Cause(ctx))
			case apierrors.IsForbidden(err):
				l.unasked("agent of "+a.Node, fmt.Errorf("the user may not get pods/proxy in namespace %s", l.opts.Namespace))
			case err != nil:
				l.unasked("agent of "+a.Node, fmt.Errorf("%s", strings.TrimPrefix(err.Error(), "agent of "+a.Node+": ")))
			default:
				l.in.Agents[i].Report = &r
			}
			return nil
		})
	}
	_ = g.Wait() // no function of the group fails
}

// addFlags adds the flags in the arguments of a pod's containers.
func addFlags(to map[string]string, p corev1.Pod) {
	for _, c := range p.Spec.Containers {
		args := slices.Concat(c.Command, c.Args)
		for i, arg := range args {
			name, ok := strings.CutPrefix(arg, "--")
			if !ok {
				continue
			}
			name, value, given := strings.Cut(name, "=")
			switch {
			case given:
			case i+1 < len(args) && !strings.HasPrefix(args[i+1], "-"):
				value = args[i+1]
			default:
				value = "true"
			}
			to[name] = value
		}
	}
}
