// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/condition"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/table"
)

// maxNoted is how many changes of one kind a pass puts into the journal one by one. Of the
// others it says how many there are: what ten thousand Services follow from must not be lost
// behind them.
const maxNoted = 32

// A notebook collects the changes of one kind that one pass has found.
type notebook struct {
	kind status.ChangeKind
	at   time.Time
	all  []status.Change
	more map[turn]int
}

// A turn is what many changes have in common.
type turn struct{ before, after string }

// note adds a change of what was as before since a time; zero: that is not known. The subject
// and the cause are made for those alone that are shown.
func (n *notebook) note(before, after string, since time.Time, say func() (subject, cause string)) {
	if before == after {
		return
	}
	if len(n.all) == maxNoted {
		if n.more == nil {
			n.more = map[turn]int{}
		}
		n.more[turn{before, after}]++
		return
	}
	subject, cause := say()
	c := status.Change{At: n.at.Round(0), Kind: n.kind, Subject: subject, Before: before, After: after, Cause: cause}
	if !since.IsZero() {
		c.Lasted = status.SecondsOf(n.at.Sub(since))
	}
	n.all = append(n.all, c)
}

// changes returns what was noted.
func (n *notebook) changes() []status.Change {
	turns := slices.SortedFunc(maps.Keys(n.more), func(a, b turn) int {
		return cmp.Or(strings.Compare(a.before, b.before), strings.Compare(a.after, b.after))
	})
	for _, t := range turns {
		n.all = append(n.all, status.Change{
			At: n.at.Round(0), Kind: n.kind, Subject: fmt.Sprintf("%d more", n.more[t]), Before: t.before, After: t.after,
			Cause: "changed at the same time",
		})
	}
	return n.all
}

// noteDecisions puts into the journal what the agent decides in another way than before.
func (a *Agent) noteDecisions(s cluster.Tables, is announce.Decisions, now time.Time) {
	if a.opts.Journal == nil || !a.passed {
		return
	}
	n := notebook{kind: status.ChangeAnnouncement, at: now}
	for c := range table.Diff(a.decisions, is, announce.SameList) {
		var before, after []status.Decision
		if c.Before != nil {
			before = *c.Before
		}
		if c.After != nil {
			after = *c.After
		}
		since := a.tenures.since(c.Key)
		for _, d := range after {
			was, then := "", time.Time{}
			if i := indexOf(before, d); i >= 0 {
				was, then = wordOf(before[i]), since(i)
			}
			n.note(was, wordOf(d), then, func() (string, string) { return subjectOf(d), d.Detail })
		}
		for i, d := range before {
			if indexOf(after, d) < 0 {
				n.note(wordOf(d), "", since(i), func() (string, string) { return subjectOf(d), missing(s, c.Key) })
			}
		}
	}
	a.opts.Journal.Add(n.changes()...)
}

// missing returns why nothing is decided about a Service, or about one of its addresses.
func missing(s cluster.Tables, key cluster.Key) string {
	svc, ok := s.Services.Get(key)
	switch {
	case !ok:
		return "the Service was deleted"
	case !svc.LoadBalancer:
		return "the Service is not of type LoadBalancer any more"
	}
	return "the Service does not have the address any more"
}

// wordOf returns what is decided, in a word.
func wordOf(d status.Decision) string {
	if d.Announce && d.Reason != status.Announced {
		return string(status.Announced) + ", " + string(d.Reason)
	}
	return string(d.Reason)
}

// subjectOf returns what a decision is about.
func subjectOf(d status.Decision) string {
	parts := []string{d.Service}
	if d.Addr.IsValid() {
		parts = append(parts, d.Addr.String())
	}
	if d.Protocol != "" {
		parts = append(parts, string(d.Protocol))
	}
	return strings.Join(parts, " ")
}

// noteMembers puts into the journal which agents have come and gone. Both lists are in the
// order of the nodes' names.
func (a *Agent) noteMembers(m announce.Membership, now time.Time) {
	if a.opts.Journal == nil || m.Stale || m.Disabled {
		return
	}
	was, is := a.members, m.Members
	a.members = is
	if was == nil || len(was) == len(is) && len(is) > 0 && &was[0] == &is[0] {
		return
	}
	n := notebook{kind: status.ChangeMember, at: now}
	for len(was) > 0 || len(is) > 0 {
		var name, before, after string
		order := 0
		switch {
		case len(was) == 0:
			order = 1
		case len(is) == 0:
			order = -1
		default:
			order = strings.Compare(was[0].Node, is[0].Node)
		}
		if order <= 0 {
			name, before, was = was[0].Node, lifeOf(was[0]), was[1:]
		}
		if order >= 0 {
			name, after, is = is[0].Node, lifeOf(is[0]), is[1:]
		}
		n.note(before, after, time.Time{}, func() (string, string) { return name, lossOf(before, after) })
	}
	a.opts.Journal.Add(n.changes()...)
}

// lifeOf returns how a member is, in a word.
func lifeOf(m announce.Member) string {
	switch {
	case m.Leaving:
		return "leaving"
	case m.Damped:
		return "damped"
	}
	return "alive"
}

// lossOf returns why an agent is not a member any more; empty: it is one.
func lossOf(before, after string) string {
	switch {
	case after != "":
		return ""
	case before == "leaving":
		return "its agent has stopped"
	}
	return "nothing is heard of its agent"
}

// A serviceJournal puts into a journal what becomes of Services at the API server, whoever
// writes it. The zero value has seen nothing.
type serviceJournal struct {
	seen     bool
	services table.Table[cluster.Key, *cluster.Service]
}

// next takes in the Services as they are now.
func (j *serviceJournal) next(to *status.Journal, services table.Table[cluster.Key, *cluster.Service], class string, now time.Time) {
	if to == nil {
		return
	}
	addresses := notebook{kind: status.ChangeAddress, at: now}
	conditions := notebook{kind: status.ChangeCondition, at: now}
	if j.seen {
		for c := range table.Diff(j.services, services, table.Same) {
			var was, is *cluster.Service
			if c.Before != nil {
				was = *c.Before
			}
			if c.After != nil {
				is = *c.After
			}
			if !concerns(was, class) && !concerns(is, class) {
				continue
			}
			addresses.note(ingressOf(was), ingressOf(is), time.Time{}, func() (string, string) {
				if is == nil {
					return c.Key.String(), "the Service was deleted"
				}
				return c.Key.String(), messageOf(is, assign.ConditionAddressAssigned)
			})
			if is == nil {
				continue
			}
			for _, typ := range []string{assign.ConditionAddressAssigned, condition.TypeAnnounced} {
				conditions.note(reasonOf(was, typ), reasonOf(is, typ), time.Time{}, func() (string, string) {
					return c.Key.String() + " " + strings.TrimPrefix(typ, cluster.OwnPrefix), messageOf(is, typ)
				})
			}
		}
	}
	j.seen, j.services = true, services
	to.Add(addresses.changes()...)
	to.Add(conditions.changes()...)
}

// concerns reports whether a Service is one that Herald handles.
func concerns(svc *cluster.Service, class string) bool {
	return svc != nil && svc.LoadBalancer && svc.Class == class
}

func ingressOf(svc *cluster.Service) string {
	if svc == nil {
		return ""
	}
	return strings.Join(svc.Ingress, ", ")
}

// reasonOf returns the reason of a condition; empty: there is none.
func reasonOf(svc *cluster.Service, typ string) string {
	if svc == nil {
		return ""
	}
	if c := svc.Condition(typ); c != nil {
		return string(c.Reason)
	}
	return ""
}

// messageOf returns the message of a condition; empty: there is none.
func messageOf(svc *cluster.Service, typ string) string {
	if c := svc.Condition(typ); c != nil {
		return c.Message
	}
	return ""
}
