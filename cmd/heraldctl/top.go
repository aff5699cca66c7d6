// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/heraldlb/herald/topology"
)

// topShare is how much of its time top reads, at most: it looks less often if reading takes
// long, as in a large cluster.
const topShare = 4

// A topJob has the flags of heraldctl top.
type topJob struct {
	lookJob
	once     bool
	interval time.Duration
}

func topCommand(of *connection) *cobra.Command {
	job := topJob{lookJob: lookJob{connection: of}}
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Show what each node announces and how full pools are, again and again",
		Long: `Top shows of each node its BGP sessions, the routes that it has sent to all peers together,
the addresses that it answers for on layer 2 and the Services that it announces, and of
each pool how much is used. It shows that again each second, until it is interrupted. If
reading takes longer than a quarter of the interval, it looks less often: it asks the API
server for all objects, and the nodes' agents.

With --once, or if the output is no terminal, it prints one table and ends. With -o json or
yaml it prints one object with at, nodes, pools and services (how many there are of each
state), as "heraldctl status" describes them.

Exit status: 0 if something was shown; 2 if nothing could be read.`,
		Example: `  heraldctl top
  heraldctl top --once -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkInterval(job.interval); err != nil {
				return err
			}
			return job.run(cmd)
		},
	}
	job.addFlags(cmd)
	cmd.Flags().BoolVar(&job.once, "once", false, "print one table, and end")
	cmd.Flags().DurationVar(&job.interval, "interval", time.Second, "time between two looks")
	return cmd
}

func (j *topJob) run(cmd *cobra.Command) error {
	size := terminal(cmd.OutOrStdout())
	once := j.once || size == nil || j.output == viewJSON || j.output == viewYAML
	for {
		start := time.Now()
		t, err := j.look(cmd, "")
		took := time.Since(start)
		switch {
		case cmd.Context().Err() != nil:
			return nil // the user has had enough
		case err != nil && once:
			return err
		case once:
			return j.output.write(cmd.OutOrStdout(), usageOf(t), func(w io.Writer, wide bool) error {
				_, err := io.WriteString(w, frame(t, wide))
				return err
			})
		case err != nil:
			paint(cmd.OutOrStdout(), size, err.Error()+"\n")
		default:
			head := fmt.Sprintf("%s  read in %v, ^C ends\n", t.At.Local().Format(time.TimeOnly), took.Round(time.Millisecond))
			paint(cmd.OutOrStdout(), size, head+frame(t, j.output == viewWide))
		}
		if !sleep(cmd.Context(), max(j.interval, topShare*took)-took) {
			return nil
		}
	}
}

// sleep waits, and reports whether the context was not canceled.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// A usage is what top prints for programs.
type usage struct {
	SchemaVersion int             `json:"schemaVersion"`
	At            time.Time       `json:"at"`
	Nodes         []topology.Node `json:"nodes"`
	Pools         []topology.Pool `json:"pools"`
	Services      map[string]int  `json:"services"` // by state
}

func usageOf(t topology.Topology) usage {
	out := usage{SchemaVersion: t.SchemaVersion, At: t.At, Nodes: t.Nodes, Pools: t.Pools, Services: map[string]int{}}
	for _, s := range t.Services {
		out.Services[s.State]++
	}
	return out
}

// frame returns what top shows at one time.
func frame(t topology.Topology, wide bool) string {
	var b strings.Builder
	errs, warnings := 0, 0
	for _, p := range t.Problems {
		if p.Severity == topology.Error {
			errs++
		} else {
			warnings++
		}
	}
	p := newPrinter(&b)
	p.line("Services  %s", servicesText(t))
	p.line("Problems  %s, %s%s", count(errs, "error"), count(warnings, "warning"), map[bool]string{true: ": status lists them"}[errs+warnings > 0])
	p.unasked(t.Unasked, wide)
	p.line("")
	nodes := newTable(&b)
	nodes.row("NODE", "AGENT", "SESSIONS", "ROUTES", "ADDRESSES", "SERVICES", "STATE")
	for _, n := range t.Nodes {
		nodes.row(n.Name, agentWord(n.Agent), orNone(sessionsText(n.Load.Sessions, n.Load.Wanted)), orNone(routesText(n)), n.Load.Addresses, n.Services, nodeState(n))
	}
	_ = nodes.flush() // to memory
	p.line("")
	pools := newTable(&b)
	pools.row("POOL", "IPV4", "IPV6", "SERVICES")
	for _, p := range t.Pools {
		pools.row(p.Name, orNone(p.Usage(true)), orNone(p.Usage(false)), len(p.Clients))
	}
	_ = pools.flush()
	return b.String()
}

// nodeState says in a word what is special about a node.
func nodeState(n topology.Node) string {
	switch {
	case announcesWord(n) != "yes":
		return announcesWord(n)
	case n.FRR != "":
		return topology.ProblemFRR
	case n.Layer2 != "":
		return topology.ProblemLayer2
	case n.Proxy != "":
		return topology.ProblemProxy
	}
	return "-"
}

// terminal returns a function for the width and height of the terminal that is written to, nil
// if it is none.
func terminal(w io.Writer) func() (width, height int) {
	f, ok := verbatim(w).(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return func() (int, int) {
		width, height, err := term.GetSize(int(f.Fd()))
		if err != nil || width <= 0 || height <= 0 {
			return 80, 24
		}
		return width, height
	}
}

// paint replaces what a terminal shows. Lines that do not fit are cut, or counted.
func paint(w io.Writer, size func() (width, height int), text string) {
	width, height := size()
	lines := strings.Split(strings.TrimSuffix(visible(text, "\n\t"), "\n"), "\n")
	if len(lines) > height-1 && height > 2 {
		left := len(lines) - (height - 2)
		lines = append(lines[:height-2], fmt.Sprintf("and %d more lines: --once prints them", left))
	}
	var b strings.Builder
	b.WriteString("\x1b[H")
	for _, line := range lines {
		if cells := []rune(line); len(cells) > width {
			line = string(cells[:width])
		}
		b.WriteString(line + "\x1b[K\r\n")
	}
	b.WriteString("\x1b[J")
	_, _ = io.WriteString(verbatim(w), b.String()) // a terminal that is gone ends the program
}
