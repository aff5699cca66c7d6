// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
)

// A Report is what has come of a run.
type Report struct {
	Seed       uint64             `json:"seed"`
	Planned    int                `json:"planned"` // how many steps there were to be
	From       int                `json:"from"`    // the number of the first that was carried out
	Started    time.Time          `json:"started"`
	Took       time.Duration      `json:"took"` // in nanoseconds
	Steps      []Done             `json:"steps"`
	Violations []Violation        `json:"violations"`
	Beyond     []Violation        `json:"beyond,omitempty"` // what would violate the strict limits, where others apply
	Quiets     []time.Duration    `json:"quiets"`           // how long it took until all was well, after each stretch
	Stalls     []Span             `json:"stalls"`           // when the machine was too busy to observe
	Owners     []Answer           `json:"owners"`           // on layer 2, each time that others answer than before
	Loads      map[string]LoadSum `json:"loads"`
	Figures    Figures            `json:"figures"`
	Shrunk     []Step             `json:"shrunk,omitempty"` // the shortest list of steps that fails too
}

// A LoadSum is what became of a Service's requests.
type LoadSum struct {
	Sent  int `json:"sent"`
	Lost  int `json:"lost"` // with and without excuse
	Again int `json:"again"`
}

// Failed reports whether the run found a violation.
func (r Report) Failed() bool { return len(r.Violations) > 0 }

// String says in a line what is violated.
func (v Violation) String() string {
	during := ""
	if len(v.Steps) > 0 {
		during = fmt.Sprintf(" (steps %s)", strings.Trim(fmt.Sprint(v.Steps), "[]"))
	}
	return fmt.Sprintf("%s: %s: %s: %s%s", clock(v.Time), v.Invariant, v.Subject, v.Evidence, during)
}

// WriteText writes the report for people.
func (r Report) WriteText(w io.Writer) error {
	b := new(strings.Builder)
	fmt.Fprintf(b, "seed %d: %d of %d steps, from step %d, in %v, from %s\n", r.Seed, len(r.Steps), r.Planned, r.From, r.Took.Round(time.Second), r.Started.UTC().Format(time.RFC3339))
	for _, d := range r.Steps {
		fmt.Fprintf(b, "%4d  %s  %s", d.Number, clock(d.Start), d.Step)
		if d.Error != "" {
			fmt.Fprintf(b, ": %s", d.Error)
		}
		b.WriteByte('\n')
	}
	for _, a := range r.Owners {
		fmt.Fprintf(b, "%s: from %s on %v answered\n", a.Service, clock(a.Time), a.Owners)
	}
	for i, q := range r.Quiets {
		fmt.Fprintf(b, "quiet %d: after %v\n", i+1, q.Round(100*time.Millisecond))
	}
	for _, s := range r.Stalls {
		fmt.Fprintf(b, "the machine was too busy from %s to %s\n", clock(s.From), clock(s.To))
	}
	r.summary(b)
	for _, v := range r.Beyond {
		fmt.Fprintf(b, "beyond the strict limits: %s\n", v)
	}
	for _, v := range r.Violations {
		fmt.Fprintf(b, "violation: %s\n", v)
	}
	if len(r.Shrunk) > 0 {
		fmt.Fprintf(b, "the shortest list of steps that fails too:\n")
		for _, s := range r.Shrunk {
			fmt.Fprintf(b, "      %s\n", s)
		}
	}
	if !r.Failed() {
		b.WriteString("no violation\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteJSON writes the report for programs.
func (r Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}
