// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"cmp"
	"context"
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

// maxNamedNodes is how many nodes a label selector names at most.
const maxNamedNodes = 20

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
		At: time.Now(), Namespace: opts.Namespace, About: opts.About,
		Refused: map[config.ID]topology.Refusal{}, Unprogrammed: map[config.ID]topology.Refusal{},
		Cluster: cluster.Snapshot{Namespaces: map[string]map[string]string{}, Endpoints: map[cluster.Key][]cluster.Endpoint{}},
	}}
	l.all(ctx, map[string]func(context.Context) error{
		topology.KindServices:       l.services,
		topology.KindNamespaces:     l.namespaces,
		topology.KindNodes:          l.nodes,
		topology.KindEndpointSlices: l.endpoints,
		topology.KindResources:      l.resources,
		topology.KindStates:         l.states,
		topology.KindPods:           l.processes,
		topology.KindLease:          l.leader,
	})
	l.in.Class, l.in.Source, l.in.File = l.flag("lb-class"), l.flag("config-source"), l.flag("config-file")
	l.in.IgnoreExclude, l.in.Protect = l.flag("ignore-exclude-lb") == "true", l.flag("protect-addresses") == "true"
	l.in.Silent, l.in.GossipPort = l.flag("service-status") == "false", l.flag("ml-bindport")
	conf, set := l.flags["frr-conf"]
	l.in.NoFRR = set && conf == ""
	// What agents that have answered would write is not read.
	l.all(ctx, map[string]func(context.Context) error{
		topology.KindConfigMaps: l.configMap,
		topology.KindStatuses:   l.statuses,
	})
	for i := range l.in.Controllers {
		l.in.Controllers[i].Leading = l.in.Controllers[i].Pod == l.in.Leader
	}
	return l.in
}

// all reads kinds at the same time. It notes those that it could not read.
func (l *look) all(ctx context.Context, kinds map[string]func(context.Context) error) {
	var g errgroup.Group
	for what, read := range kinds {
		g.Go(func() error {
			if err := read(ctx); ctx.Err() != nil && err != nil {
				l.unasked(what, context.Cause(ctx))
			} else if err != nil {
				l.unasked(what, err)
			}
			return nil
		})
	}
	_ = g.Wait() // no function of the group fails
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

// resources reads those of all namespaces if it may: outside of Herald's namespace they do
// nothing. A kind that it cannot read leaves the others.
func (l *look) resources(ctx context.Context) error {
	found := make([][]*customResource, len(config.ResourceKinds))
	failed := make([]error, len(config.ResourceKinds))
	var g errgroup.Group
	for i, name := range config.ResourceKinds {
		g.Go(func() error {
			if found[i], failed[i] = l.custom(ctx, name, ""); apierrors.IsForbidden(failed[i]) {
				found[i], failed[i] = l.custom(ctx, name, l.opts.Namespace)
			}
			return nil
		})
	}
	_ = g.Wait() // no function of the group fails
	refused := refusals{accepted: l.in.Refused, programmed: l.in.Unprogrammed}
	for i, name := range config.ResourceKinds {
		if failed[i] != nil {
			l.unasked(topology.ResourcesOf(name), failed[i])
		}
		for _, o := range found[i] {
			id := config.ID{Kind: name, Name: o.Name}
			if o.Namespace != l.opts.Namespace {
				l.in.Strays = append(l.in.Strays, topology.Stray{ID: id, Namespace: o.Namespace})
				continue
			}
			l.in.Resources = append(l.in.Resources, objectOf(name, o))
			refused.add(id, o.Status, o.Generation)
		}
	}
	return nil
}

// configMap adds the ConfigMap that Herald reads, and the names of similar ones. Users that
// may read that one alone do not see the others.
func (l *look) configMap(ctx context.Context) error {
	name := cmp.Or(l.flag("config"), "config")
	reader := &ConfigMap{opts: ConfigMapOptions{Namespace: l.opts.Namespace, Name: name, Key: configKey}}
	l.in.ConfigMap = reader.document(nil)
	all, err := l.client.configMaps(l.opts.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		one, single := l.client.configMapNamed(ctx, l.opts.Namespace, name)
		switch {
		case apierrors.IsNotFound(single):
			return nil
		case single != nil:
			return err
		}
		all = &corev1.ConfigMapList{Items: []corev1.ConfigMap{*one}}
	}
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
	return nil
}

func (l *look) states(ctx context.Context) error {
	all, err := l.custom(ctx, kindState, l.opts.Namespace)
	for _, o := range all {
		if o.Name == controllerState {
			l.in.Recorded = recordedOf(o).source
			continue
		}
		if s := agentStateOf(o); s.Node != "" {
			l.in.States = append(l.in.States, topology.AgentState{
				Node: s.Node, Errors: s.Errors, Failure: s.Failure, Lacking: s.Lacking, Sessions: s.Sessions, Version: s.Version,
			})
		}
	}
	return err
}

// statuses reads what agents say that they announce, but for those that were asked.
func (l *look) statuses(ctx context.Context) error {
	nodes, known := l.unanswered()
	if known && len(nodes) == 0 {
		return nil
	}
	selector := ""
	if known && len(nodes) <= maxNamedNodes {
		for i := range nodes {
			nodes[i] = labelValue(nodes[i])
		}
		selector = labelNode + " in (" + strings.Join(nodes, ",") + ")"
	}
	found := map[status.Protocol][]*customResource{}
	for _, protocol := range []status.Protocol{status.BGP, status.Layer2} {
		name := serviceStatusKinds[protocol]
		of := rawKind(name, l.opts.Namespace)
		of.from = func(c *Client) lister { return c.customResources(name, l.opts.Namespace).labelled(selector) }
		all, err := of.read(ctx, l.client)
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		found[protocol] = all
	}
	for protocol, all := range found {
		for _, o := range all {
			s := announcementOf(protocol, serviceStatusKinds[protocol], o)
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

// unanswered returns the nodes whose agents run and have not answered, and whether it is
// known which agents there are.
func (l *look) unanswered() (nodes []string, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if slices.ContainsFunc(l.in.Unasked, func(u topology.Unasked) bool { return u.What == topology.KindPods }) {
		return nil, false
	}
	for _, a := range l.in.Agents {
		if a.Node != "" && a.Absence == "" && a.Report == nil && !slices.Contains(nodes, a.Node) {
			nodes = append(nodes, a.Node)
		}
	}
	return nodes, true
}
