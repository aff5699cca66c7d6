// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/heraldlb/herald/deploy"
	"github.com/heraldlb/herald/deploy/crds"
	"github.com/heraldlb/herald/doctor"
	"github.com/heraldlb/herald/kube"
	"github.com/heraldlb/herald/topology"
)

func doctorCommand(of *connection) *cobra.Command {
	job := lookJob{connection: of}
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what around Herald harms it: other load balancers, missing rights, overlapping networks",
		Long: `Doctor looks at the environment of Herald: other load balancers and what MetalLB has left,
the definitions of its resources, the rights of its service accounts, kube-proxy, and
addresses, versions and clocks that do not fit together. What is broken now is shown by
status. It changes nothing and reads no Secret. docs/doctor.md explains each finding.

A check that lacks something it may not read is not made, and listed. With -o wide all
findings are listed, in place of the first ` + fmt.Sprint(shownProblems) + `.

Exit status: 0 if there is no error, 1 if there is one, 2 if there is none and a check was
not made. Warnings do not change it.`,
		Example: `  heraldctl doctor
  heraldctl doctor -o json | jq '.findings[] | select(.severity == "error")'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := job.examine(cmd)
			if err != nil {
				return err
			}
			for i, f := range r.Findings {
				r.Findings[i].Next = carried(cmd, f.Next)
			}
			if err := job.output.write(cmd.OutOrStdout(), r, func(w io.Writer, wide bool) error { return printFindings(w, r, wide) }); err != nil {
				return err
			}
			return outcome(r.Overall)
		},
	}
	job.addFlags(cmd)
	// One node with another version or clock is what is looked for.
	job.agents = doctorAgents
	cmd.Flags().Lookup("agents").DefValue = strconv.Itoa(doctorAgents)
	return cmd
}

// doctorAgents is how many agents doctor asks unless it is told.
const doctorAgents = 1000

// examine returns what there is to be found.
func (j *lookJob) examine(cmd *cobra.Command) (r doctor.Report, err error) {
	opts := kube.ExamineOptions{}
	if opts.Rights, err = doctor.ReadRights(deploy.RBAC); err != nil {
		return r, err
	}
	if opts.Wanted, err = definitions(); err != nil {
		return r, err
	}
	err = j.read(cmd, "", func(ctx context.Context, client *kube.Client, in topology.Input) topology.Topology {
		opts.Input = in
		f := kube.Examine(ctx, client, opts)
		r = doctor.Examine(f)
		return f.Topology
	})
	return r, err
}

// definitions returns the CRDs of this version.
func definitions() (out []doctor.Definition, err error) {
	files, err := fs.Glob(crds.Files(), "*.yaml")
	if err != nil {
		return nil, err
	}
	for _, name := range files {
		text, err := fs.ReadFile(crds.Files(), name)
		if err != nil {
			return nil, err
		}
		d, err := doctor.ReadDefinition(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out = append(out, d)
	}
	return out, nil
}

// printFindings prints how many checks were made, the findings, and the checks that were not
// made.
func printFindings(out io.Writer, r doctor.Report, wide bool) error {
	p := newPrinter(out)
	var skipped []doctor.Check
	for _, c := range r.Checks {
		if c.Skipped != "" {
			skipped = append(skipped, c)
		}
	}
	errs, warnings := 0, 0
	for _, f := range r.Findings {
		if f.Severity == topology.Error {
			errs++
		} else {
			warnings++
		}
	}
	p.line("Herald in %s: %d of %d checks made, %s", r.Namespace, len(r.Checks)-len(skipped), len(r.Checks), counted(errs, warnings))
	for i, f := range r.Findings {
		if i == shownProblems && !wide {
			p.line("  and %d more: -o wide lists them", len(r.Findings)-i)
			break
		}
		p.problem(f.Problem)
		p.line("          docs: %s", f.Docs)
	}
	for _, c := range skipped {
		p.line("NOT CHECKED  %s: %s", c.ID, c.Skipped)
	}
	return p.err()
}

// counted returns "1 error, 2 warnings"; "nothing found" if there is neither.
func counted(errs, warnings int) string {
	var parts []string
	for _, of := range []struct {
		n    int
		what string
	}{{errs, "error"}, {warnings, "warning"}} {
		switch {
		case of.n == 1:
			parts = append(parts, "1 "+of.what)
		case of.n > 1:
			parts = append(parts, fmt.Sprintf("%d %ss", of.n, of.what))
		}
	}
	if len(parts) == 0 {
		return "nothing found"
	}
	return strings.Join(parts, ", ")
}
