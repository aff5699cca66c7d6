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
	b.configProblems()
	b.resourceProblems()
	b.processProblems()
	b.nodeProblems()
	b.peerProblems()
	b.poolProblems()
	b.serviceProblems()
	slices.SortStableFunc(b.t.Problems, worse)
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

func (b *builder) kubectl(format string, args ...any) string {
	return "kubectl -n " + b.in.Namespace + " " + fmt.Sprintf(format, args...)
}

func (b *builder) configProblems() {
	c := b.t.Config
	switch {
	case b.in.unasked(KindResources) && b.in.unasked(KindConfigMaps):
	case !c.Loaded && errors.Is(b.loaded.Err, source.ErrNotFound):
		b.problem(Problem{ID: ProblemNoConfiguration, Severity: Error, Cause: "there is none: " + c.Error, Next: "heraldctl check -f FILE && kubectl apply -f FILE"}, configuration)
	case !c.Loaded:
		b.problem(Problem{ID: ProblemConfigRejected, Severity: Error, Cause: c.Error,
			Cure: "correct what the message names; until then the last valid version stays in force", Next: "heraldctl check --cluster"}, configuration)
	case b.loaded.Document.Resources == nil && c.Error != "":
		b.problem(Problem{ID: ProblemConfigRejected, Severity: Error, Cause: c.Error, Cure: "correct what the message names", Next: "heraldctl check --cluster"}, configuration)
	}
	if c.Notice != "" {
		p := Problem{ID: ProblemTwoConfigurations, Severity: Warning, Cause: c.Notice, Cure: "delete the one that you do not want"}
		if b.loaded.Source() == source.SourceResources {
			p.Next = b.kubectl("get configmap %s -o yaml", cmp.Or(configMapIn(b.in.ConfigMap.Source), "config"))
		} else {
			p.Next = b.kubectl("get ipaddresspools,bgppeers,bgpadvertisements,l2advertisements")
		}
		b.problem(p, configuration)
	}
	if b.s.Config != nil {
		for _, text := range b.s.Config.Warnings() {
			b.problem(Problem{ID: ProblemUnlikely, Severity: Warning, Cause: text, Cure: "correct it, unless it is meant", Next: "heraldctl check --cluster"}, configuration)
		}
	}
	for _, s := range b.in.Strays {
		b.problem(Problem{
			ID: ProblemStray, Severity: Warning, Cause: fmt.Sprintf("it is in namespace %s, and Herald reads those in %s alone", s.Namespace, b.in.Namespace),
			Cure: "create it in namespace " + b.in.Namespace + ", and delete it there",
			Next: fmt.Sprintf("kubectl -n %s get %s %s -o yaml", s.Namespace, strings.ToLower(s.Kind), s.Name),
		}, s.ID.String())
	}
}

// configMapIn returns the name in "configmap NAMESPACE/NAME".
func configMapIn(text string) string {
	_, name, _ := strings.Cut(text, "/")
	return name
}

func (b *builder) resourceProblems() {
	for _, v := range b.loaded.Verdicts {
		edit := b.kubectl("edit %s %s", strings.ToLower(v.Kind), v.Name)
		if !v.Accepted {
			if v.Reason == config.VerdictIgnored || v.Reason == config.VerdictDeleted {
				continue // the configuration's notice says so
			}
			b.problem(Problem{ID: v.Reason, Severity: Error, Cause: cmp.Or(b.in.Refused[v.ID], v.Message), Next: edit}, v.ID.String())
			continue
		}
		empty := v.Empty
		if v.Kind != config.KindPeer && len(b.s.Nodes) > 0 && !slices.ContainsFunc(b.s.Nodes, func(n *cluster.Node) bool { return config.AnyMatches(v.Nodes, n.Labels) }) {
			empty = append(slices.Clip(empty), fmt.Sprintf("nodeSelectors match 0 of %d nodes", len(b.s.Nodes)))
		}
		missing := v.Missing
		for _, name := range v.Interfaces {
			if b.nowhere(name) {
				missing = append(slices.Clip(missing), fmt.Sprintf("no node has an interface %q that layer 2 can use", name))
			}
		}
		if len(missing) > 0 {
			b.problem(Problem{ID: ProblemRefs, Severity: Error, Cause: strings.Join(missing, "; "), Next: edit}, v.ID.String())
		}
		if len(empty) > 0 {
			b.problem(Problem{ID: ProblemRefs, Severity: Warning, Cause: strings.Join(empty, "; "), Cure: "correct the selectors, or label what they are to match", Next: edit}, v.ID.String())
		}
		notes := slices.DeleteFunc(slices.Clone(v.Notes), func(n string) bool { return slices.Contains(missing, n) || slices.Contains(empty, n) })
		if len(notes) > 0 {
			b.problem(Problem{ID: ProblemUnlikely, Severity: Warning, Cause: strings.Join(notes, "; "), Cure: "correct it, unless it is meant", Next: edit}, v.ID.String())
		}
	}
}

// processProblems are about the pods of Herald.
func (b *builder) processProblems() {
	if b.in.unasked(KindPods) {
		return
	}
	ready := slices.ContainsFunc(b.in.Controllers, func(c Controller) bool { return c.Ready })
	switch {
	case len(b.in.Controllers)+len(b.in.Agents) == 0:
		b.problem(Problem{ID: ProblemNoController, Severity: Error, Cause: "there is no pod of Herald in namespace " + b.in.Namespace,
			Cure: "install Herald, or name its namespace with --namespace", Next: "kubectl get pods -A -l app.kubernetes.io/name=herald"}, "controller")
		return
	case len(b.in.Controllers) == 0:
		b.problem(Problem{ID: ProblemNoController, Severity: Error, Cause: "there is no controller pod in namespace " + b.in.Namespace,
			Cure: "scale the Deployment of the controller up", Next: b.kubectl("get deployments")}, "controller")
	case !ready:
		var why []string
		for _, c := range b.in.Controllers {
			why = append(why, c.Pod+": "+cmp.Or(c.Absence, "not ready"))
		}
		b.problem(Problem{ID: ProblemNoController, Severity: Error, Cause: "no controller is ready: " + cluster.List(why, "; "),
			Cure: "have the pod start: no Service gets an address until then", Next: b.kubectl("describe pods -l app.kubernetes.io/component=controller")}, "controller")
	case !b.in.unasked(KindLease) && b.in.Leader == "":
		b.problem(Problem{ID: ProblemNoLeader, Severity: Warning, Cause: "no controller leads",
			Cure: "wait some seconds; then look at the controllers' logs", Next: b.kubectl("logs -l app.kubernetes.io/component=controller --tail 50")}, "controller")
	}
	next := b.kubectl("describe pods -l app.kubernetes.io/component=agent")
	if len(b.in.Agents) == 0 {
		b.problem(Problem{ID: ProblemAgent, Severity: Error, Cause: "there is no agent pod in namespace " + b.in.Namespace + ": nothing is announced",
			Cure: "install the DaemonSet of the agents, or correct its nodeSelector and tolerations", Next: b.kubectl("describe daemonsets")}, "Node/all")
		return
	}
	for _, a := range b.in.Agents {
		if a.Node == "" {
			b.problem(Problem{ID: ProblemAgent, Severity: Error, Cause: "an agent pod has no node: " + a.Absence,
				Cure: "remove what keeps the pod from its node", Next: next}, "Node/none")
		}
	}
	for _, n := range b.t.Nodes {
		if n.Agent.Running {
			continue
		}
		p := Problem{ID: ProblemAgent, Severity: Error, Cause: "its agent does not run: " + n.Agent.Absence, Cure: "have the pod start: the node announces nothing new until then", Next: next}
		if n.Agent.Pod == "" {
			p.Severity, p.Cause = Warning, n.Agent.Absence
			p.Cure = "correct nodeSelector and tolerations of the agents' DaemonSet, unless the node is to announce nothing"
		}
		b.problem(p, "Node/"+n.Name)
	}
}

func (b *builder) nodeProblems() {
	for _, n := range b.t.Nodes {
		object := "Node/" + n.Name
		logs := b.kubectl("logs %s --all-containers --tail 50", cmp.Or(n.Agent.Pod, "-l app.kubernetes.io/component=agent"))
		switch n.Refusal {
		case status.NodeNetworkDown:
			b.problem(Problem{ID: string(n.Refusal), Severity: Error, Cause: "its condition NetworkUnavailable is True: it announces nothing", Next: "kubectl describe node " + n.Name}, object)
		case status.NodeUnknown:
			b.problem(Problem{ID: string(n.Refusal), Severity: Error, Cause: "an agent runs for it, and the cluster has no such Node", Next: "kubectl get nodes"}, object)
		}
		for _, e := range n.Errors {
			if !b.refused(e) {
				b.problem(Problem{ID: ProblemNodeError, Severity: Error, Cause: e, Cure: "change what the message names, or select other nodes", Next: whyCommand + "node/" + n.Name}, object)
			}
		}
		if n.FRR != "" {
			b.problem(Problem{ID: ProblemFRR, Severity: Error, Cause: n.FRR, Cure: "look at the log of the FRR container", Next: logs}, object)
		}
		if n.Layer2 != "" {
			b.problem(Problem{ID: ProblemLayer2, Severity: Error, Cause: "it answers nothing on layer 2: " + n.Layer2, Cure: "open port 7946, UDP and TCP, between the nodes", Next: logs}, object)
		}
		if n.Proxy != "" {
			b.problem(Problem{ID: ProblemProxy, Severity: Warning, Cause: n.Proxy, Cure: "look at kube-proxy, or what replaces it, on the node", Next: "kubectl -n kube-system get pods -o wide --field-selector spec.nodeName=" + n.Name}, object)
		}
	}
	for _, n := range b.s.Nodes {
		if n.Unknown != "" {
			b.problem(Problem{ID: ProblemAnnotation, Severity: Warning, Cause: n.Unknown, Cure: "correct the name of the annotation", Next: "kubectl get node " + n.Name + " -o yaml"}, "Node/"+n.Name)
		}
	}
}

// refused reports whether an error of a node begins with the ID of a resource that is
// refused: that is a Problem of its own. So is that of the whole configuration.
func (b *builder) refused(text string) bool {
	id, _, _ := strings.Cut(text, ": ")
	return text == b.t.Config.Error || slices.ContainsFunc(b.loaded.Verdicts, func(v config.Verdict) bool { return !v.Accepted && v.ID.String() == id })
}

func (b *builder) peerProblems() {
	for _, p := range b.t.Peers {
		object := b.peerObject(p.Name)
		unwanted := 0
		for _, s := range p.Sessions {
			next := whyCommand + "peer/" + p.Name
			switch {
			case s.Wanted && (s.Up || s.From == FromRules):
			case s.Wanted:
				severity := Error
				if s.Reason == status.SessionConnecting {
					severity = Warning
				}
				why := cmp.Or(s.Message, s.State, "no reason is known")
				b.sessionProblem(object, Problem{ID: cmp.Or(string(s.Reason), "SessionDown"), Severity: severity, Cause: why, Next: next}, s.Node)
			case s.Reason == status.NodeNotSelected || s.Reason == status.NodeUnknown:
				unwanted++
			default:
				b.sessionProblem(object, Problem{ID: string(s.Reason), Severity: Error, Cause: s.Message, Next: next}, s.Node)
			}
		}
		if unwanted > 0 && unwanted == len(p.Sessions) {
			b.problem(Problem{ID: string(status.NodeNotSelected), Severity: Error, Cause: fmt.Sprintf("no node holds a session: its nodeSelectors match 0 of %d nodes", unwanted),
				Cure: "correct nodeSelectors of the peer, or label nodes", Next: "kubectl get nodes --show-labels"}, object)
		}
	}
}
