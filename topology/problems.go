// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/source"
	"github.com/heraldlb/herald/status"
)

// configuration names the configuration as an object of Problems.
const configuration = "configuration"

// problems adds what is broken. The same about several objects is one Problem.
func (b *builder) problems() {
	if b.elsewhere() {
		return
	}
	b.configProblems()
	b.resourceProblems()
	b.processProblems()
	b.nodeProblems()
	b.peerProblems()
	b.poolProblems()
	b.serviceProblems()
	slices.SortStableFunc(b.t.Problems, worse)
}

// elsewhere reports whether nothing of Herald is in the namespace. All else would follow
// from that.
func (b *builder) elsewhere() bool {
	in := b.in
	if in.unasked(KindPods) || in.unasked(KindResources) || in.unasked(KindConfigMaps) || in.unasked(KindStates) ||
		len(in.Controllers)+len(in.Agents)+len(in.Resources)+len(in.States) > 0 || !errors.Is(in.ConfigMap.Err, source.ErrNotFound) {
		return false
	}
	p := Problem{ID: ProblemNoController, Severity: Error, Cause: "there is no pod of Herald in namespace " + in.Namespace + ", nor any of its configuration",
		Cure: "install Herald, or name its namespace with --namespace", Next: "kubectl get pods -A -l app.kubernetes.io/name=herald"}
	namespaces := map[string]bool{}
	for _, s := range in.Strays {
		namespaces[s.Namespace] = true
	}
	if len(namespaces) > 0 {
		p.Cause += "; resources of " + config.ResourceGroup + " are in " + cluster.ListSet(namespaces)
	}
	if len(namespaces) == 1 {
		name := cluster.ListSet(namespaces)
		p.Cure, p.Next = "name the namespace that Herald runs in: -n "+quoted(name), "heraldctl status -n "+quoted(name)
	}
	b.problem(p, "controller")
	return true
}

// problem adds a Problem, or an object to an equal one.
func (b *builder) problem(p Problem, object string) {
	if p.Cure == "" {
		p.Cure = cureOf(status.Reason(p.ID))
	}
	key := strings.Join([]string{p.ID, string(p.Severity), p.Cause, p.Cure, kindOf(object)}, "\x00")
	if i, known := b.known[key]; known {
		o := &b.t.Problems[i]
		if o.Objects[len(o.Objects)-1] != object {
			o.Objects = append(o.Objects, object)
		}
		return
	}
	b.known[key] = len(b.t.Problems)
	p.Objects = []string{object}
	b.t.Problems = append(b.t.Problems, p)
}

// kindOf returns the kind in the name of an object.
func kindOf(object string) string { return strings.SplitN(object, "/", 2)[0] }

func (b *builder) configProblems() {
	c := b.t.Config
	edit := b.kubectl("edit configmap %s", quoted(b.configMap()))
	switch {
	case c.Unread != "":
	case !c.Loaded && errors.Is(b.loaded.Err, source.ErrNotFound):
		p := Problem{ID: ProblemNoConfiguration, Severity: Error, Cause: "there is none: " + c.Error, Next: "heraldctl check -f FILE && kubectl apply -f FILE"}
		if len(b.in.Similar) > 0 {
			p.Cure = fmt.Sprintf("set --config=%s for controller and agents, or create a ConfigMap %s with the same text", b.in.Similar[0], b.configMap())
			p.Next = b.kubectl("get configmap %s -o yaml", quoted(b.in.Similar[0]))
		}
		b.problem(p, configuration)
	case c.Error != "" && b.loaded.Document.Resources == nil:
		b.problem(Problem{ID: ProblemConfigRejected, Severity: Error, Cause: c.Error, Cure: "correct what the message names; " + b.instead(), Next: edit}, configuration)
	}
	if c.Notice != "" {
		b.problem(b.twoConfigurations(), configuration)
	}
	if b.s.Config != nil && !b.part {
		for _, text := range b.s.Config.Warnings() {
			p := Problem{ID: ProblemUnlikely, Severity: Warning, Cause: text, Cure: "correct it, unless it is meant", Next: edit}
			if b.ofResources() {
				p.Next = b.kubectl("get %s -o yaml", allResources)
			}
			b.problem(p, configuration)
		}
	}
	for _, s := range b.in.Strays {
		b.problem(Problem{
			ID: ProblemStray, Severity: Warning, Cause: fmt.Sprintf("it is in namespace %s, and Herald reads those in %s alone", s.Namespace, b.in.Namespace),
			Cure: fmt.Sprintf("create it in namespace %s, and delete it in %s", b.in.Namespace, s.Namespace),
			Next: kubectlIn(s.Namespace, "get %s %s -o yaml", plural(s.Kind), quoted(s.Name)),
		}, s.ID.String())
	}
}

// allResources are the kinds that hold most of a configuration, for kubectl.
var allResources = strings.Join([]string{plural(config.KindPool), plural(config.KindPeer), plural(config.KindBGPAdvertisement), plural(config.KindL2Advertisement)}, ",")

// configMap returns the name of the ConfigMap that Herald reads.
func (b *builder) configMap() string {
	_, name, _ := strings.Cut(b.in.ConfigMap.Source, "/")
	return cmp.Or(name, "config")
}

// instead says what is in force in place of a configuration that is refused, as far as that
// is known.
func (b *builder) instead() string {
	for _, a := range b.agents {
		if a.Report != nil && a.Report.Config.Loaded {
			return "until then the last valid version stays in force"
		}
	}
	if b.answers() {
		return "until then none is in force"
	}
	return "until then the last valid version stays in force, if there was one"
}

// twoConfigurations returns the Problem that a ConfigMap and resources exist.
func (b *builder) twoConfigurations() Problem {
	p := Problem{ID: ProblemTwoConfigurations, Severity: Warning, Cause: b.t.Config.Notice}
	if cause, _, cut := strings.Cut(p.Cause, ": delete "); cut {
		p.Cause = cause
	}
	if b.loaded.Source() == source.SourceResources {
		p.Cure = "look at the ConfigMap, and delete it if it is left over; to have it count, set --config-source=configmap for controller and agents"
		p.Next = b.kubectl("get configmap %s -o yaml", quoted(b.configMap()))
		return p
	}
	p.Cure = "look at the resources, and delete those that are left over; to have them count, delete the ConfigMap, or set --config-source=resources for controller and agents"
	p.Next = b.kubectl("get %s", allResources)
	return p
}
