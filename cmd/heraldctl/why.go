// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/heraldlb/herald/topology"
)

func whyCommand(of *connection) *cobra.Command {
	job := lookJob{connection: of}
	cmd := &cobra.Command{
		Use:   "why SERVICE|ADDRESS|node/NODE|peer/PEER|pool/POOL",
		Short: "Show why a Service, an address, a node, a peer or a pool works or does not",
		Long: `Why follows a Service from its request to the routers, link by link: its address, the
advertisements, its endpoints, what each node decides and why, the BGP sessions or the
owner on layer 2, the routes that were sent or the answers to ARP, and the data plane.
It names the first broken link, with its cause, its cure and the command to run next.

A Service is NAMESPACE/NAME, or NAME if no other namespace has one. An address stands for
the Service that has it. A node, a peer or a pool has links of its own.

Each link is ok, part (it works in part), broken, - (nothing depends on it) or unknown.
What could not be asked is listed; the rest is judged without it.

Exit status: 0 if nothing is broken; 1 if something is; 2 if that could not be told, or
there is nothing of that name.`,
		Example: `  heraldctl why shop/web
  heraldctl why 192.0.2.7
  heraldctl why peer/tor-a -o json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			node, ok := strings.CutPrefix(args[0], topology.SubjectNode)
			if !ok {
				node = ""
			}
			t, err := job.look(cmd, node)
			if err != nil {
				return err
			}
			c, err := t.Why(args[0])
			if err != nil {
				return err
			}
			carryOn(cmd, c.Problems)
			if err := job.output.write(cmd.OutOrStdout(), c, func(w io.Writer, wide bool) error { return printChain(w, c, wide) }); err != nil {
				return err
			}
			return outcome(c.Health)
		},
	}
	job.addFlags(cmd)
	return cmd
}

// printChain prints the first broken link with its problem, then all links.
func printChain(out io.Writer, c topology.Chain, wide bool) error {
	p := newPrinter(out)
	p.line("%s: %s", c.Subject, c.Summary)
	switch {
	case c.Broken != "":
		p.line("First broken link: %s", c.Broken)
	case c.Health == topology.ChainUnknown:
		p.line("Not all could be told.")
	case len(c.Problems) == 0:
		p.line("No problem was found.")
	}
	for i, problem := range c.Problems {
		if i == 3 && !wide {
			p.line("  and %d more: -o wide lists them", len(c.Problems)-i)
			break
		}
		p.problem(problem)
	}
	width := 0
	for _, l := range c.Links {
		width = max(width, len(l.Name))
	}
	for i, l := range c.Links {
		p.line("%2d %-*s  %-7s  %s", i+1, width, l.Name, l.Result, strings.ReplaceAll(l.Text, "\n", "; "))
		for _, d := range l.Details {
			p.line("   %*s  %7s  %s", width, "", "", d)
		}
	}
	if c.LastChange != "" {
		p.line("LAST CHANGE  %s", c.LastChange)
	}
	p.unasked(c.Unasked, wide)
	return p.err()
}
