// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/status"
)

// Selectors of Herald's pods, for kubectl.
const (
	controllerPods = "-l app.kubernetes.io/name=herald,app.kubernetes.io/component=controller"
	agentPods      = "-l app.kubernetes.io/name=herald,app.kubernetes.io/component=agent"
)

// processProblems are about the pods of Herald.
func (b *builder) processProblems() {
	if b.in.unasked(KindPods) {
		return
	}
	b.controllerProblems()
	if len(b.in.Agents) == 0 {
		b.problem(Problem{ID: ProblemAgent, Severity: Error, Cause: "there is no agent pod in namespace " + b.in.Namespace + ": nothing is announced",
			Cure: "install the DaemonSet of the agents, or correct its nodeSelector and tolerations", Next: b.kubectl("describe daemonsets")}, "Node/all")
		return
	}
	for _, a := range b.in.Agents {
		if a.Node == "" {
			b.problem(Problem{ID: ProblemAgent, Severity: Error, Cause: "an agent pod has no node: " + a.Absence,
				Cure: "remove what keeps the pod from its node", Next: b.kubectl("describe pod %s", quoted(a.Pod))}, "Node/none")
		}
	}
	for _, n := range b.t.Nodes {
		object := "Node/" + n.Name
		switch {
		case !n.Agent.Running && n.Agent.Pod == "":
			b.problem(Problem{ID: ProblemAgent, Severity: Warning, Cause: n.Agent.Absence,
				Cure: "correct nodeSelector and tolerations of the agents' DaemonSet, unless the node is to announce nothing", Next: b.kubectl("describe daemonsets")}, object)
		case !n.Agent.Running:
			cure, next := b.startCure(n.Agent.Pod, n.Agent.Absence, agentPods, "agent")
			severity := Error
			if n.Agent.Absence == "Terminating" { // another one follows, as in an update
				severity = Warning
			}
			b.problem(Problem{ID: ProblemAgent, Severity: severity, Cause: "its agent does not run: " + n.Agent.Absence, Cure: cure, Next: next}, object)
		case n.Agent.Trouble != "":
			b.problem(Problem{ID: ProblemAgentUnready, Severity: Error, Cause: "its agent runs, and is not ready: " + n.Agent.Trouble,
				Cure: "wait some seconds if it has just been started; then look at its log", Next: b.logs(n, "agent")}, object)
		}
	}
}

// ready reports whether a controller is ready.
func (b *builder) ready() bool {
	return slices.ContainsFunc(b.in.Controllers, func(c Controller) bool { return c.Ready })
}

func (b *builder) controllerProblems() {
	switch {
	case len(b.in.Controllers) == 0:
		b.problem(Problem{ID: ProblemNoController, Severity: Error, Cause: "there is no controller pod in namespace " + b.in.Namespace + ": no Service gets an address",
			Cure: "scale the Deployment of the controller up, or install it", Next: b.kubectl("get deployments")}, "controller")
	case !b.ready():
		var why []string
		cure, next := "", ""
		for _, c := range b.in.Controllers {
			why = append(why, c.Pod+": "+cmp.Or(c.Absence, "not ready"))
			if cure == "" && c.Absence != "" {
				cure, next = b.startCure(c.Pod, c.Absence, controllerPods, "controller")
			}
		}
		if cure == "" {
			cure, next = "look at the controllers' logs", b.kubectl("logs %s --tail 50", controllerPods)
		}
		b.problem(Problem{ID: ProblemNoController, Severity: Error, Cause: "no controller is ready, so that no Service gets an address: " + cluster.List(why, "; "), Cure: cure, Next: next}, "controller")
	case !b.in.unasked(KindLease) && b.in.Leader == "":
		b.problem(Problem{ID: ProblemNoLeader, Severity: Error, Cause: "no controller leads, so that no Service gets an address: nobody renews the Lease herald-controller",
			Cure: "look at the controllers' logs: a controller that cannot reach the API server, or may not write leases, does not lead", Next: b.kubectl("logs %s --tail 50", controllerPods)}, "controller")
	}
}

// startCure returns what to do about a pod whose program does not run, and the command.
func (b *builder) startCure(pod, absence, all, container string) (cure, next string) {
	describe := b.kubectl("describe pods %s", all)
	reason, _, _ := strings.Cut(absence, " ")
	switch strings.TrimSuffix(reason, ":") {
	case "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull":
		return "correct the image in the manifest, or give the nodes access to its registry (imagePullSecrets)", describe
	case "CrashLoopBackOff", "RunContainerError":
		return "look at what it wrote before it ended", b.kubectl("logs %s -c %s --previous --tail 50", quoted(pod), container)
	case "container":
		return "look at its log", b.kubectl("logs %s -c %s --tail 50", quoted(pod), container)
	case "CreateContainerConfigError":
		return "create the Secret or ConfigMap that the message names, or correct the manifest", describe
	case "Unschedulable":
		return "remove what the scheduler's message names", describe
	case "Terminating":
		return "wait until its successor runs", b.kubectl("get pods %s -o wide", all)
	case "the":
		return "repair the node, or delete it from the cluster if it does not come back", "kubectl get nodes"
	}
	return "have the pod start: the node announces nothing until then", describe
}

// logs returns the command that shows the log of a container of the node's agent.
func (b *builder) logs(n Node, container string) string {
	return b.kubectl("logs %s -c %s --tail 50", cmp.Or(quoted(n.Agent.Pod), agentPods), container)
}

func (b *builder) nodeProblems() {
	for _, n := range b.t.Nodes {
		object := "Node/" + n.Name
		switch n.Refusal {
		case status.NodeNetworkDown:
			b.problem(Problem{ID: string(n.Refusal), Severity: Error, Cause: "its condition NetworkUnavailable is True: it announces nothing", Next: "kubectl describe node " + quoted(n.Name)}, object)
		case status.NodeUnknown:
			b.problem(Problem{ID: string(n.Refusal), Severity: Error, Cause: "an agent runs for it, and the cluster has no such Node", Next: "kubectl get nodes"}, object)
		}
		for _, e := range n.Errors {
			if !b.refused(e) {
				b.problem(Problem{ID: ProblemNodeError, Severity: Error, Cause: e, Cure: "change what the message names, or select other nodes", Next: whyOf(SubjectNode + n.Name)}, object)
			}
		}
		if n.Behind {
			b.problem(Problem{ID: ProblemProgrammed, Severity: Warning, Cause: "it has another version of the configuration than most nodes: " + n.Version,
				Cure: "wait some seconds after an edit; then look at its agent's log, whether it reaches the API server", Next: b.logs(n, "agent")}, object)
		}
		switch {
		case n.FRR != "":
			b.problem(Problem{ID: ProblemFRR, Severity: Error, Cause: n.FRR, Cure: "look at the log of the FRR container", Next: b.logs(n, "frr")}, object)
		case n.Applying:
			b.problem(Problem{ID: ProblemFRR, Severity: Warning, Cause: "FRR does not run the newest configuration yet",
				Cure: "wait some seconds; if it stays so, look at the log of the FRR container", Next: b.logs(n, "frr")}, object)
		}
		if n.Layer2 != "" && b.onLayer2() {
			b.problem(Problem{ID: ProblemLayer2, Severity: Error, Cause: "it answers nothing on layer 2: " + n.Layer2, Cure: b.gossipCure(), Next: b.logs(n, "agent")}, object)
		}
		if n.Proxy != "" {
			b.problem(Problem{ID: ProblemProxy, Severity: Warning, Cause: n.Proxy, Cure: "look at kube-proxy, or what replaces it, on the node", Next: "kubectl -n kube-system get pods -o wide --field-selector spec.nodeName=" + quoted(n.Name)}, object)
		}
		if r := b.agents[n.Name].Report; r != nil {
			b.reportProblems(n, *r)
		}
	}
	b.gossipProblems()
	for _, n := range b.s.Nodes {
		if n.Unknown != "" {
			b.problem(Problem{ID: ProblemAnnotation, Severity: Warning, Cause: n.Unknown, Cure: "correct the name of the annotation", Next: "kubectl edit node " + quoted(n.Name)}, "Node/"+n.Name)
		}
	}
}

// reportProblems are those of what an agent says besides its decisions.
func (b *builder) reportProblems(n Node, r status.Report) {
	object := "Node/" + n.Name
	if f := r.FRR; f != nil && f.Unsaved != "" {
		b.problem(Problem{ID: ProblemFRR, Severity: Warning, Cause: "FRR would start with an older configuration: frr.conf was not written: " + f.Unsaved, Cure: "look at the volume that agent and FRR share, and the agent's log", Next: b.logs(n, "agent")}, object)
	}
	for _, c := range r.Contests {
		by := ""
		if c.Writer != "" {
			by = " (" + c.Writer + ")"
		}
		b.problem(Problem{ID: ProblemContest, Severity: Warning, Cause: fmt.Sprintf("another writer%s keeps changing the status of %s %s", by, c.Kind, c.Name),
			Cure: "find what else writes it, and stop that", Next: b.logs(n, "agent")}, object)
	}
	if r.Layer2 == nil || !r.Config.Loaded {
		return
	}
	for _, a := range r.Layer2.Addresses {
		if len(a.Contenders) > 0 {
			b.problem(Problem{ID: ProblemSplitBrain, Severity: Error, Cause: fmt.Sprintf("%s answers for %s, too, and gossip has lost it", cluster.List(a.Contenders, ", "), a.Addr), Cure: b.gossipCure(), Next: b.logs(n, "agent")}, object)
		}
	}
	if g := r.Layer2.Gossip; g != nil && g.KeyError != "" {
		b.problem(Problem{ID: ProblemGossip, Severity: Error, Cause: "it cannot read the key of the gossip: " + g.KeyError, Cure: "correct the Secret with the key", Next: b.logs(n, "agent")}, object)
	}
	for _, m := range r.Layer2.Members {
		if m.Damped {
			b.problem(Problem{ID: string(status.NodeDamped), Severity: Warning, Cause: "its agent came and went too often: for a minute it owns addresses only if nobody else can", Cure: "look at why the agent restarts, or at the network between the nodes", Next: b.kubectl("get pods %s -o wide", agentPods)}, "Node/"+m.Node)
		}
	}
}

// onLayer2 reports whether something is announced on layer 2, as far as is known.
func (b *builder) onLayer2() bool {
	return b.s.Config == nil || b.part || len(b.s.Config.L2Advertisements) > 0
}

// gossipProblems are that agents do not see each other. On layer 2 two nodes may then answer
// for an address. They are about the nodes that most others do not see.
func (b *builder) gossipProblems() {
	by := map[string][]string{} // by the nodes that are not seen, who does not see them
	lost := map[string]int{}
	asked := 0
	for _, n := range b.t.Nodes {
		if len(n.Members) > 0 {
			asked++
		}
		if len(n.Unseen) > 0 {
			what := cluster.List(n.Unseen, ", ")
			by[what] = append(by[what], n.Name)
		}
		for _, o := range n.Unseen {
			lost[o]++
		}
	}
	if len(by) == 0 {
		return
	}
	var who []string
	for what, nodes := range by {
		do := "does"
		if len(nodes) > 1 {
			do = "do"
		}
		who = append(who, fmt.Sprintf("%s %s not see %s", cluster.List(nodes, ", "), do, what))
	}
	slices.Sort(who)
	p := Problem{ID: ProblemGossip, Severity: Error, Cause: "agents that run do not see each other: " + cluster.List(who, "; "),
		Cure: b.gossipCure()}
	if !b.onLayer2() {
		p.Severity = Warning
	}
	apart := slices.DeleteFunc(slices.Sorted(maps.Keys(lost)), func(n string) bool { return 2*lost[n] <= asked-1 })
	if len(apart) == 0 {
		apart = slices.Sorted(maps.Keys(lost))
	}
	p.Next = whyOf(SubjectNode + apart[0])
	for _, n := range apart {
		b.problem(p, "Node/"+n)
	}
}

func (b *builder) gossipCure() string {
	return "check the links and VLANs of the nodes, and that port " + cmp.Or(b.in.GossipPort, "7946") + ", UDP and TCP, is open between them"
}

// refused reports whether an error of a node begins with the ID of a resource that is
// refused: that is a Problem of its own. So is that of the whole configuration.
func (b *builder) refused(text string) bool {
	id, _, _ := strings.Cut(text, ": ")
	return text == b.t.Config.Error || slices.ContainsFunc(b.t.Problems, func(p Problem) bool { return p.Severity == Error && slices.Contains(p.Objects, id) })
}
