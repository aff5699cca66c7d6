// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/doctor"
	"github.com/heraldlb/herald/topology"
)

// ExamineOptions say what Examine looks for.
type ExamineOptions struct {
	Input  topology.Input      // of Look, about the same API server; required
	Wanted []doctor.Definition // of Herald's resources
	Rights []doctor.Right      // that controller and agents need
}

// Examine reads what package doctor judges, besides what Look has read. It reads no Secret.
// What cannot be read is in Unasked of the result.
func Examine(ctx context.Context, c *Client, opts ExamineOptions) doctor.Facts {
	e := &examination{client: c, opts: opts, facts: doctor.Facts{
		Input: opts.Input, Topology: topology.Build(opts.Input), Wanted: opts.Wanted,
	}}
	e.all(ctx, map[string]func(context.Context) error{
		topology.KindServices:  e.services,
		topology.KindPods:      e.pods,
		doctor.KindDaemonSets:  e.daemonSets,
		doctor.KindWebhook:     e.webhook,
		doctor.KindDefinitions: e.definitions,
		doctor.KindProxy:       e.proxy,
	})
	e.all(ctx, map[string]func(context.Context) error{
		doctor.KindRights: e.rights,
		doctor.KindCilium: e.cilium,
	})
	e.facts.Workloads = slices.Concat(e.sets, e.metalLB)
	slices.SortFunc(e.facts.Workloads, func(a, b doctor.Workload) int {
		return strings.Compare(a.Kind+"/"+a.Namespace+"/"+a.Name, b.Kind+"/"+b.Namespace+"/"+b.Name)
	})
	return e.facts
}

// An examination is one call of Examine.
type examination struct {
	client   *Client
	opts     ExamineOptions
	accounts map[string][]string // of Herald's pods, by component
	sets     []doctor.Workload   // DaemonSets
	metalLB  []doctor.Workload   // pods of MetalLB in Herald's namespace

	mu    sync.Mutex   // guards Unasked of facts
	facts doctor.Facts // each other field has one writer
}

// all reads kinds at the same time. It notes those that it could not read.
func (e *examination) all(ctx context.Context, kinds map[string]func(context.Context) error) {
	var g errgroup.Group
	for what, read := range kinds {
		g.Go(func() error {
			err := read(ctx)
			if err != nil && ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			if err != nil {
				e.mu.Lock()
				defer e.mu.Unlock()
				e.facts.Unasked = append(e.facts.Unasked, topology.Unasked{What: what, Error: err.Error()})
			}
			return nil
		})
	}
	_ = g.Wait() // no function of the group fails
}

// writtenServices are Services of all types, with who wrote their status.
var writtenServices = kind[*corev1.Service, cluster.Key, doctor.Service]{
	name:    "Services",
	from:    func(c *Client) lister { return c.services(metav1.NamespaceAll) },
	row:     writtenService,
	key:     func(s doctor.Service) cluster.Key { return s.Key },
	compare: cluster.Key.Compare,
}

func writtenService(svc *corev1.Service) doctor.Service {
	out := doctor.Service{Key: cluster.Key{Namespace: svc.Namespace, Name: svc.Name}}
	for _, text := range svc.Spec.ExternalIPs {
		if a, err := netip.ParseAddr(text); err == nil {
			out.ExternalIPs = append(out.ExternalIPs, a.Unmap())
		}
	}
	for _, m := range svc.ManagedFields {
		switch {
		case m.Time == nil:
		case m.Manager == fieldManager && m.Subresource == "status":
			if out.Own.Before(m.Time.Time) {
				out.Own = m.Time.Time
			}
		case m.Manager != fieldManager && m.FieldsV1 != nil && strings.Contains(m.FieldsV1.GetRawString(), `"f:ingress"`) && out.Wrote.Before(m.Time.Time):
			out.Writer, out.Wrote = m.Manager, m.Time.Time
		}
	}
	return out
}

func (e *examination) services(ctx context.Context) (err error) {
	e.facts.Services, err = writtenServices.read(ctx, e.client)
	return err
}

// pods reads the service accounts of Herald's pods, and whether MetalLB has pods there.
func (e *examination) pods(ctx context.Context) error {
	namespace := e.opts.Input.Namespace
	all, err := e.client.pods(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("read pods of %s: %w", namespace, err)
	}
	e.accounts = map[string][]string{}
	for _, p := range all.Items {
		component := p.Labels[labelPodComponent]
		switch {
		case p.Labels["app.kubernetes.io/name"] == "herald" && (component == "agent" || component == "controller"):
			account := p.Spec.ServiceAccountName
			if account != "" && !slices.Contains(e.accounts[component], account) {
				e.accounts[component] = append(e.accounts[component], account)
			}
			if account != "" && !slices.Contains(e.facts.Accounts, account) {
				e.facts.Accounts = append(e.facts.Accounts, account)
			}
		case p.Status.Phase == corev1.PodRunning && (component == "controller" || p.Labels["component"] == "controller"):
			w := doctor.Workload{Kind: "Pod", Namespace: p.Namespace, Name: p.Name, Labels: p.Labels}
			for _, c := range p.Spec.Containers {
				w.Containers = append(w.Containers, doctor.Container{Image: c.Image, Args: slices.Concat(c.Command, c.Args)})
			}
			e.metalLB = append(e.metalLB, w)
		}
	}
	slices.Sort(e.facts.Accounts)
	return nil
}

// may returns an error of the API server, in short words if a right is missing.
func may(err error, verb, what string) error {
	switch {
	case apierrors.IsForbidden(err):
		return fmt.Errorf("the user may not %s %s", verb, what)
	case err != nil:
		return fmt.Errorf("%s %s: %w", verb, what, err)
	}
	return nil
}

// raw returns an object or a list in JSON.
func (e *examination) raw(ctx context.Context, path string, params map[string]string) ([]byte, error) {
	r := e.client.custom[customVersions[0]].Get().AbsPath(path)
	for name, value := range params {
		r.Param(name, value)
	}
	return r.DoRaw(ctx)
}

// A daemonSetList is what Examine reads of DaemonSets.
type daemonSetList struct {
	Metadata struct{ Continue string }
	Items    []struct {
		Metadata struct {
			Namespace, Name string
			Labels          map[string]string
		}
		Spec struct {
			Template struct {
				Metadata struct{ Labels map[string]string }
				Spec     struct {
					Containers []struct {
						Image         string
						Command, Args []string
						Env           []struct{ Name, Value string }
					}
				}
			}
		}
		Status struct{ DesiredNumberScheduled int }
	}
}

// daemonSets reads those that have pods.
func (e *examination) daemonSets(ctx context.Context) error {
	for next := ""; ; {
		text, err := e.raw(ctx, "/apis/apps/v1/daemonsets", map[string]string{"limit": fmt.Sprint(readPage), "continue": next})
		var list daemonSetList
		if err == nil {
			err = json.Unmarshal(text, &list)
		}
		if err != nil {
			return may(err, "list", "daemonsets")
		}
		for _, o := range list.Items {
			if o.Status.DesiredNumberScheduled == 0 {
				continue
			}
			w := doctor.Workload{Kind: "DaemonSet", Namespace: o.Metadata.Namespace, Name: o.Metadata.Name, Labels: map[string]string{}}
			for _, labels := range []map[string]string{o.Spec.Template.Metadata.Labels, o.Metadata.Labels} {
				for name, value := range labels {
					w.Labels[name] = value
				}
			}
			for _, c := range o.Spec.Template.Spec.Containers {
				env := map[string]string{}
				for _, v := range c.Env {
					env[v.Name] = v.Value
				}
				w.Containers = append(w.Containers, doctor.Container{Image: c.Image, Args: slices.Concat(c.Command, c.Args), Env: env})
			}
			e.sets = append(e.sets, w)
		}
		if next = list.Metadata.Continue; next == "" {
			return nil
		}
	}
}
