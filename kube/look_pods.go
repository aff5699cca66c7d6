// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/topology"
)

const (
	// lookPatience is how long Look waits for all agents together.
	lookPatience = 5 * time.Second
	// lookAtOnce is how many agents it asks at once.
	lookAtOnce = 16
	// processSelector selects the pods of Herald, as the manifests label them. MetalLB's
	// controller is a controller, too.
	processSelector = "app.kubernetes.io/name=herald,app.kubernetes.io/component in (agent,controller)"
)

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
		why := absence(p)
		if p.Labels[labelPodComponent] == "controller" {
			l.in.Controllers = append(l.in.Controllers, topology.Controller{Pod: p.Name, Ready: why == "" && !podDown(&p), Absence: cmp.Or(why, unready(p))})
			continue
		}
		l.in.Agents = append(l.in.Agents, topology.AgentPod{Node: p.Spec.NodeName, Pod: p.Name, Absence: why, Unready: unready(p)})
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
	most := max(l.opts.Agents, 0)
	if left := len(order) - most; left > 0 {
		l.unasked(fmt.Sprintf("agents of %d nodes", left), fmt.Errorf("%d are asked at most", most))
		order = order[:most]
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

// addFlags adds the flags in the arguments of a pod's container that has the component's
// name; of the only container, if none has. What the kubelet would put in place of $(NAME)
// and is not known here leaves the flag out.
func addFlags(to map[string]string, p corev1.Pod) {
	c := mainContainer(p)
	if c == nil {
		return
	}
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
		if value, known := expanded(value, *c, p); known {
			to[name] = value
		}
	}
}

// variable is a reference to a variable of the environment, or an escaped one.
var variable = regexp.MustCompile(`\$?\$\([-._a-zA-Z][-._a-zA-Z0-9]*\)`)

// expanded returns a text with the values of variables of a container, and whether all of
// them are known.
func expanded(text string, c corev1.Container, p corev1.Pod) (string, bool) {
	known := true
	text = variable.ReplaceAllStringFunc(text, func(ref string) string {
		if strings.HasPrefix(ref, "$$") {
			return ref[1:]
		}
		i := slices.IndexFunc(c.Env, func(e corev1.EnvVar) bool { return ref == "$("+e.Name+")" })
		switch {
		case i < 0:
			known = known && len(c.EnvFrom) == 0 // without the variable, the kubelet leaves the reference
			return ref
		case c.Env[i].ValueFrom == nil:
			value, all := expanded(c.Env[i].Value, corev1.Container{Env: c.Env[:i], EnvFrom: c.EnvFrom}, p)
			known = known && all
			return value
		case c.Env[i].ValueFrom.FieldRef == nil:
			known = false
			return ref
		}
		switch c.Env[i].ValueFrom.FieldRef.FieldPath {
		case "metadata.name":
			return p.Name
		case "metadata.namespace":
			return p.Namespace
		case "spec.nodeName":
			return p.Spec.NodeName
		}
		known = false
		return ref
	})
	return text, known
}
