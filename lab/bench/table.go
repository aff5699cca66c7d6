// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// String is the duration in milliseconds.
func (m Millis) String() string { return fmt.Sprintf("%.0f", float64(m)/float64(time.Millisecond)) }

// String is the duration in seconds.
func (s Seconds) String() string { return fmt.Sprintf("%.1f", time.Duration(s).Seconds()) }

// String is the number of megabytes.
func (m Megabytes) String() string { return fmt.Sprintf("%.1f", float64(m)/1e6) }

// WriteText writes the report as tables for people.
func (r *Report) WriteText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "%d Services, %d nodes, %d CPUs, statuses %s; %s s\n", r.Services, r.Nodes, r.CPUs, onOff(r.Statuses), r.Took)
	if c := r.Churn; c != nil {
		fmt.Fprintf(t, "churn: %d Services made and deleted, %d endpoints moved in %s s\n", c.Created, c.Changed, c.Seconds)
	}
	fmt.Fprint(t, "\nmilliseconds\t\tmedian\t90 %\t99 %\tmost\tcount\tmissing\n")
	for _, s := range r.Series {
		for _, row := range []struct {
			what string
			d    Distribution
		}{
			{"created -> answer of the API server", s.Request},
			{"created -> address", s.Address},
			{"created -> route in r1's kernel", s.Route},
			{"created -> route via every node", s.Routes},
			{"deleted -> route gone", s.Gone},
		} {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\n", s.Name, row.what, row.d.P50, row.d.P90, row.d.P99, row.d.Max, row.d.Count, row.d.Missing)
		}
	}
	loads := append([]Load{r.Held}, r.Rounds...)
	fmt.Fprint(t, "\nload\tServices\tcreation s\taddressed +s\trouted +s\twritten +s\tdeletion s\tgone +s\n")
	for _, x := range loads {
		settled := "-"
		if x.Settled != nil {
			settled = x.Settled.String()
		}
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\n", x.Name, x.Services, x.Creation, x.Addressed, x.Routed, settled, x.Deletion, x.Gone)
	}
	for _, x := range loads {
		fmt.Fprintf(t, "\nrequests that write, %s\n", x.Name)
		for _, what := range slices.Sorted(maps.Keys(x.Writes)) {
			fmt.Fprintf(t, "%s\t%d\n", what, x.Writes[what])
		}
	}
	fmt.Fprint(t, "\nMB\tprocess\tRSS\tPSS\town\tGo heap\tRSS after it\tPSS\town\tGo heap\tpeak RSS\n")
	for _, x := range loads {
		for _, name := range slices.Sorted(maps.Keys(x.Full)) {
			full, empty := x.Full[name], x.Empty[name]
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", x.Name, name,
				full.RSS, full.PSS, full.Own, full.Heap, empty.RSS, empty.PSS, empty.Own, empty.Heap, empty.Peak)
		}
	}
	for i, x := range r.Restarts {
		if i == 0 {
			fmt.Fprint(t, "\nrestart\tdown s\tsettled s\troutes gone\troutes without the node\tlongest s\tpeak RSS MB\n")
		}
		peak := "-"
		if x.Memory != nil {
			peak = x.Memory.Peak.String()
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\t%s\t%s\n", x.What, x.Down, x.Settled, x.Withdrawn, x.Paths, x.Longest, peak)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprint(w, "\nCPU seconds\n")
	for _, p := range r.Phases {
		if _, err := fmt.Fprintf(w, "  %s, %s s: %s\n", p.Name, p.Took, p.most()); err != nil {
			return err
		}
	}
	return nil
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// most lists the programs that used the most CPU in a phase, those with less than a tenth
// of a second left out.
func (p Phase) most() string {
	names := slices.SortedFunc(maps.Keys(p.CPU), func(a, b string) int {
		if p.CPU[a] != p.CPU[b] {
			return int(p.CPU[b] - p.CPU[a])
		}
		return strings.Compare(a, b)
	})
	var list []string
	for _, name := range names {
		if p.CPU[name] >= Seconds(100*time.Millisecond) {
			list = append(list, fmt.Sprintf("%s %s", name, p.CPU[name]))
		}
	}
	return strings.Join(list, ", ")
}
