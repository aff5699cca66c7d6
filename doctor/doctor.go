// SPDX-License-Identifier: Apache-2.0

// Package doctor finds what around a Herald harms it or will: other load balancers, old
// definitions of its resources, rights that it lacks, networks that overlap. Package topology
// says what is broken now. It is pure.
package doctor

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/heraldlb/herald/topology"
)

// SchemaVersion is that of a Report in JSON. It changes when a member changes its meaning or
// goes; a new member does not change it.
const SchemaVersion = 1

// IDs of checks, and of what they find. Page explains each.
const (
	LoadBalancerBeside = "LoadBalancerBeside"
	WebhookLeft        = "WebhookLeft"
	DefinitionOld      = "DefinitionOld"
	RightMissing       = "RightMissing"
	StrictARPOff       = "StrictARPOff"
	StatusOverwritten  = "StatusOverwritten"
	ExternalIPInPool   = "ExternalIPInPool"
	PoolOverlap        = "PoolOverlap"
	VersionsDiffer     = "VersionsDiffer"
	ClockSkew          = "ClockSkew"
	OneEndpoint        = "OneEndpoint"
	BFDNotUp           = "BFDNotUp"
)

// Page is the page of the documentation with an anchor for each ID.
const Page = "docs/doctor.md"

// A Report is what was found.
type Report struct {
	SchemaVersion int                `json:"schemaVersion"`
	At            time.Time          `json:"at"`
	Namespace     string             `json:"namespace"` // that Herald runs in
	Overall       string             `json:"health"`    // topology.ChainFine, ChainBroken: there is an error, or ChainUnknown: there is none, and a check was not made
	Checks        []Check            `json:"checks"`
	Findings      []Finding          `json:"findings"`          // the worst first
	Unasked       []topology.Unasked `json:"unasked,omitempty"` // what could not be asked
}

// A Check says what became of a check.
type Check struct {
	ID       string `json:"id"`
	Findings int    `json:"findings"`
	Skipped  string `json:"skipped,omitempty"` // why it was not made, or not of all objects
}

// A Finding is something that harms Herald or will. Its ID is that of the check.
type Finding struct {
	topology.Problem

	Docs string `json:"docs"` // where the ID is explained
}

// checks are all checks, with the kinds that each needs. What lacks one is not judged.
var checks = []struct {
	id    string
	needs []string
	find  func(*examination)
}{
	{LoadBalancerBeside, []string{KindDaemonSets, topology.KindServices, topology.KindPods}, (*examination).balancers},
	{WebhookLeft, []string{KindWebhook, KindDefinitions}, (*examination).webhooks},
	{DefinitionOld, []string{KindDefinitions}, (*examination).definitions},
	{RightMissing, []string{topology.KindPods, KindRights}, (*examination).rights},
	{StrictARPOff, []string{KindProxy, KindDaemonSets, kindConfiguration}, (*examination).strictARP},
	{StatusOverwritten, []string{topology.KindServices}, (*examination).overwritten},
	{ExternalIPInPool, []string{topology.KindServices, kindConfiguration}, (*examination).externalIPs},
	{PoolOverlap, []string{topology.KindServices, topology.KindNodes, kindConfiguration}, (*examination).overlaps},
	{VersionsDiffer, []string{topology.KindPods}, (*examination).versions},
	{ClockSkew, []string{topology.KindPods}, (*examination).clocks},
	{OneEndpoint, []string{topology.KindServices, topology.KindNodes, topology.KindEndpointSlices}, (*examination).oneEndpoint},
	{BFDNotUp, []string{topology.KindPods, kindConfiguration}, (*examination).bfd},
}

// Examine makes all checks of what was read.
func Examine(f Facts) Report {
	r := Report{SchemaVersion: SchemaVersion, At: f.Topology.At, Namespace: f.Topology.Namespace, Overall: topology.ChainFine, Findings: []Finding{}}
	r.Unasked = slices.Concat(f.Topology.Unasked, f.Unasked)
	slices.SortFunc(r.Unasked, func(x, y topology.Unasked) int {
		return cmp.Or(strings.Compare(x.What, y.What), strings.Compare(x.Error, y.Error))
	})
	r.Unasked = slices.Compact(r.Unasked)
	for _, c := range checks {
		e := examination{Facts: f, check: Check{ID: c.id}}
		for _, kind := range c.needs {
			e.skip(f.lacks(kind))
		}
		if e.check.Skipped == "" {
			c.find(&e)
		}
		e.check.Findings = len(e.findings)
		r.Checks, r.Findings = append(r.Checks, e.check), append(r.Findings, e.findings...)
		if e.check.Skipped != "" {
			r.Overall = topology.ChainUnknown
		}
	}
	slices.SortStableFunc(r.Findings, func(x, y Finding) int { return rank(x) - rank(y) })
	if len(r.Findings) > 0 && r.Findings[0].Severity == topology.Error {
		r.Overall = topology.ChainBroken
	}
	return r
}

func rank(f Finding) int {
	if f.Severity == topology.Error {
		return 0
	}
	return 1
}

// An examination is one check of the Facts.
type examination struct {
	Facts
	check    Check
	findings []Finding
}

// skip notes why something was not judged; the empty text is no reason.
func (e *examination) skip(why string) {
	if e.check.Skipped == "" {
		e.check.Skipped = why
	}
}

// found adds what is wrong with objects.
func (e *examination) found(p topology.Problem, objects ...string) {
	p.ID, p.Objects = e.check.ID, objects
	e.findings = append(e.findings, Finding{Problem: p, Docs: Page + "#" + p.ID})
}
