// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/status"
)

func (b *builder) peerProblems() {
	for _, p := range b.t.Peers {
		object := b.peerObject(p.Name)
		unwanted := 0
		for _, s := range p.Sessions {
			switch {
			case s.Wanted && (s.Up || s.From == FromRules):
			case s.Wanted:
				severity := Error
				if s.Reason == status.SessionConnecting {
					severity = Warning
				}
				why := cmp.Or(s.Message, s.State, "no reason is known")
				b.sessionProblem(p, object, Problem{ID: cmp.Or(string(s.Reason), "SessionDown"), Severity: severity, Cause: why}, s.Node)
			case s.Reason == reasonNoAgent: // the node may not be meant to announce
			case s.Reason == status.NodeNotSelected || s.Reason == status.NodeUnknown:
				unwanted++
			default:
				b.sessionProblem(p, object, Problem{ID: string(s.Reason), Severity: Error, Cause: s.Message}, s.Node)
			}
		}
		if unwanted > 0 && unwanted == len(p.Sessions) {
			b.problem(Problem{ID: string(status.NodeNotSelected), Severity: Error, Cause: fmt.Sprintf("no node holds a session: its nodeSelectors match 0 of %d nodes", unwanted),
				Cure: "correct nodeSelectors of the peer, or label nodes", Next: b.editPeer(p.Name)}, object)
		}
	}
}

// sessionProblem adds a Problem with the session of a node, or the node to an equal one.
func (b *builder) sessionProblem(peer Peer, object string, p Problem, node string) {
	p.Cause, p.Cure = b.sessionCure(peer.Name, status.Reason(p.ID), p.Cause)
	for i := range b.t.Problems {
		o := &b.t.Problems[i]
		if o.ID == p.ID && o.Cause == p.Cause && slices.Equal(o.Objects, []string{object}) && len(o.Nodes) > 0 {
			o.Nodes = append(o.Nodes, node)
			return
		}
	}
	p.Next, p.Objects, p.Nodes = whyOf(SubjectPeer+peer.Name), []string{object}, []string{node}
	b.t.Problems = append(b.t.Problems, p)
}

// cureVerbs begin what an agent's diagnosis says to do.
var cureVerbs = []string{"check ", "correct ", "set ", "raise ", "enable ", "remove ", "make ", "look ", "change ", "configure ", "give ", "stop ", "start ", "add ", "lower ", "repair ", "reset "}

// splitCure splits a diagnosis into the cause and the cure; empty: it has none.
func splitCure(text string) (cause, cure string) {
	for at, rest := 0, text; ; {
		i := strings.Index(rest, ": ")
		if i < 0 {
			return text, ""
		}
		at, rest = at+i+2, rest[i+2:]
		if slices.ContainsFunc(cureVerbs, func(verb string) bool { return strings.HasPrefix(rest, verb) }) {
			return text[:at-2], rest
		}
	}
}

// withoutCure returns the cause in a diagnosis.
func withoutCure(text string) string {
	cause, _ := splitCure(text)
	return cause
}

// sessionCure splits a diagnosis into the cause and the cure. One without a cure has that of
// its reason.
func (b *builder) sessionCure(peer string, reason status.Reason, text string) (cause, cure string) {
	cause, cure = splitCure(text)
	cure = cmp.Or(cure, cureOf(reason))
	if reason == status.SessionPassword {
		cure += b.passwordAt(peer)
	}
	return cause, cure
}

// passwordAt says where the password of a peer is; empty if that is not known.
func (b *builder) passwordAt(peer string) string {
	p := b.peerOf(peer)
	switch {
	case p == nil:
		return ""
	case !b.ofResources():
		return fmt.Sprintf("; here it is peers[].password of ConfigMap %s/%s", b.in.Namespace, b.configMap())
	}
	var spec struct{ PasswordSecret struct{ Name string } }
	i := slices.IndexFunc(b.in.Resources, func(o config.Object) bool { return o.ID == config.ID{Kind: config.KindPeer, Name: peer} })
	if i >= 0 {
		_ = json.Unmarshal(b.in.Resources[i].Spec, &spec) // a spec that makes no sense is refused for that
	}
	if name := spec.PasswordSecret.Name; name != "" {
		return fmt.Sprintf("; here it is key password of Secret %s/%s", b.in.Namespace, name)
	}
	return "; here it is spec.password, or the Secret that spec.passwordSecret names"
}

// editPeer returns the command that edits a peer.
func (b *builder) editPeer(name string) string {
	if b.ofResources() {
		return b.ofResource("edit", config.ID{Kind: config.KindPeer, Name: name})
	}
	return b.kubectl("edit configmap %s", quoted(b.configMap()))
}
