// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/manifest"
)

// A checkJob has the flags of heraldctl check.
type checkJob struct {
	source
	format reportFormat
	strict bool
}

func checkCommand(of *connection) *cobra.Command {
	job := checkJob{format: asText}
	cmd := &cobra.Command{
		Use:   "check [-f] FILE|FOLDER...",
		Short: "Validate and summarize a configuration",
		Long: `Check validates a configuration and summarizes it. Resources are validated by the
schemas and rules of their definitions, as the API server does, and then by Herald.

` + configurationHelp + `

Every finding is a line of standard error, FILE:LINE: OBJECT: ID: FIELD: MESSAGE, with
"warning: " or "note: " before the object if it is no error. A warning is about
something that is valid but probably not intended. A note is about something that is
not read, or about an assumption.

As JSON (-o json) it is a list on standard output of objects with path, line, severity
(error, warning or note), id (a word for the kind of finding, such as Conflict, Schema
or Unlikely), object, field and message. Line, object and field are left out if there
is none. As github it is annotations for a GitHub workflow.

A ConfigMap and resources in one configuration are an error. Only one of them can be in
force in a cluster, and which one depends on what was in force before. --config-source
chooses one.

Exit status: 0 if the configuration is valid; 1 if it has mistakes, with --strict also
if there are warnings; 2 if some of it cannot be read.`,
		Example: `  heraldctl check config.yaml
  heraldctl check -R manifests/ --strict
  heraldctl check --cluster
  heraldctl check -k overlay/ -o json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			job.files = append(job.files, args...)
			if !job.named() && !job.cluster {
				return errors.New("nothing to check: name files or folders, - for standard input, or give --cluster")
			}
			return job.run(cmd)
		},
	}
	job.addFlags(cmd, of, "configuration")
	flags := cmd.Flags()
	of.addClusterFlag(cmd, &job.cluster, "check the cluster's configuration, together with files if any are named")
	flags.VarP(&job.format, "output", "o", "text, json or github")
	flags.Var(&job.format, "format", "the same as --output")
	flags.BoolVar(&job.strict, "strict", false, "exit with 1 if there are warnings")
	return cmd
}

func (j checkJob) run(cmd *cobra.Command) error {
	if onStdin(j.files...) > 1 {
		return errOneStdin
	}
	l, err := load(cmd, j.source)
	if j.cluster && err == nil {
		l.findings = append(l.findings, j.overlaps(cmd, l)...)
	}
	if failed := j.format.write(cmd.OutOrStdout(), cmd.ErrOrStderr(), l.findings); failed != nil {
		return failed
	}
	if j.format != asList {
		if failed := l.writeSummaries(cmd.OutOrStdout()); failed != nil {
			return failed
		}
	}
	switch {
	case err != nil:
		return err
	case l.invalid() || j.strict && has(l.findings, manifest.Warning):
		return errInvalid
	}
	return nil
}

// writeSummaries prints a summary of each valid configuration.
func (l loaded) writeSummaries(w io.Writer) error {
	for _, d := range l.documents {
		if d.cfg == nil {
			continue
		}
		if err := writeSummary(w, d.name, d.cfg); err != nil {
			return err
		}
	}
	if l.resolved == nil {
		return nil
	}
	return writeSummary(w, together(l.resources), l.resolved)
}

// writeSummary prints a summary of a configuration.
func writeSummary(w io.Writer, name string, cfg *config.Config) error {
	t := newTable(w)
	t.row(fmt.Sprintf("%s: valid, with %s, %s and %s", name, count(len(cfg.Pools), "pool"), count(len(cfg.Peers), "peer"),
		count(len(cfg.BGPAdvertisements)+len(cfg.L2Advertisements), "advertisement")))
	for _, p := range cfg.Pools {
		t.row("  pool", p.Name, addresses(p), strings.Join(poolNotes(p), ", "))
	}
	for _, p := range cfg.Peers {
		where := p.Interface
		if where == "" {
			where = p.Address.String()
		}
		t.row("  peer", p.Name, where, strings.Join(peerNotes(p), ", "))
	}
	for _, a := range cfg.BGPAdvertisements {
		t.row("  bgp", a.Name, scope(a.Pools, a.PoolSelectors), strings.Join(advertisementNotes(a), ", "))
	}
	for _, a := range cfg.L2Advertisements {
		row := []any{"  layer2", a.Name, scope(a.Pools, a.PoolSelectors)}
		if notes := scopeNotes(a.Scope); len(notes) > 0 {
			row = append(row, strings.Join(notes, ", "))
		}
		t.row(row...)
	}
	return t.flush()
}

// scope describes the pools that an advertisement selects.
func scope(pools []string, selectors []config.Selector) string {
	parts := slices.Clone(pools)
	for _, s := range selectors {
		parts = append(parts, "{"+s.String()+"}")
	}
	if len(parts) == 0 {
		return "every pool"
	}
	return strings.Join(parts, ", ")
}

// addresses returns how many addresses a pool has of each family.
func addresses(p config.Pool) string {
	v4, v6 := new(big.Int), new(big.Int)
	for _, r := range p.Addresses {
		if r.First.Is4() {
			v4.Add(v4, r.Size())
		} else {
			v6.Add(v6, r.Size())
		}
	}
	var parts []string
	if v4.Sign() > 0 {
		parts = append(parts, v4.String()+" IPv4")
	}
	if v6.Sign() > 0 {
		parts = append(parts, v6.String()+" IPv6")
	}
	return strings.Join(parts, ", ")
}

func poolNotes(p config.Pool) []string {
	var notes []string
	for _, r := range p.Addresses {
		notes = append(notes, r.String())
	}
	if p.AvoidBuggyIPs {
		notes = append(notes, "without .0 and .255")
	}
	if !p.AutoAssign {
		notes = append(notes, "on request alone")
	}
	if n := len(p.Reservations); n > 0 {
		notes = append(notes, count(n, "reservation"))
	}
	if p.Quota != nil {
		notes = append(notes, "with a quota")
	}
	if p.Separate {
		notes = append(notes, "namespaces share addresses by name")
	}
	return notes
}

func peerNotes(p config.Peer) []string {
	theirs := cmp.Or(string(p.DynamicASN), strconv.FormatUint(uint64(p.PeerASN), 10))
	notes := []string{fmt.Sprintf("AS %s from AS %d", theirs, cmp.Or(p.LocalASN, p.MyASN))}
	if p.VRF != "" {
		notes = append(notes, "in VRF "+p.VRF)
	}
	if p.DualStack {
		notes = append(notes, "routes of both families")
	}
	if p.GracefulRestart {
		notes = append(notes, "graceful restart")
	}
	if p.BFDProfile != "" {
		notes = append(notes, "BFD profile "+p.BFDProfile)
	}
	if !p.Password.IsZero() {
		notes = append(notes, "with a password")
	}
	if n := len(p.NodeSelectors); n > 0 {
		notes = append(notes, "on nodes of "+count(n, "selector"))
	}
	return notes
}

func advertisementNotes(a config.BGPAdvertisement) []string {
	notes := []string{fmt.Sprintf("routes of /%d and /%d", a.AggregationLength, a.AggregationLengthV6)}
	switch {
	case a.LocalPrefV6 != nil:
		notes = append(notes, fmt.Sprintf("localpref %d, %d for IPv6", a.LocalPref, *a.LocalPrefV6))
	case a.LocalPref != 0:
		notes = append(notes, fmt.Sprintf("localpref %d", a.LocalPref))
	}
	if a.MED != nil {
		notes = append(notes, fmt.Sprintf("MED %d", *a.MED))
	}
	if a.Prepend > 0 {
		notes = append(notes, "our AS number prepended "+count(a.Prepend, "time"))
	}
	if a.GracefulShutdown {
		notes = append(notes, "graceful shutdown")
	}
	notes = append(notes, scopeNotes(a.Scope)...)
	for _, c := range a.Communities {
		notes = append(notes, c.String())
	}
	return notes
}

// scopeNotes says under which conditions an advertisement applies.
func scopeNotes(s config.Scope) (notes []string) {
	if s.MinReady > 0 {
		notes = append(notes, "for Services with "+count(s.MinReady, "ready endpoint")+" or more")
	}
	if !s.Probe.IsZero() {
		notes = append(notes, "probed by "+s.Probe.String())
	}
	return notes
}

// count returns "1 pool" or "2 pools".
func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
