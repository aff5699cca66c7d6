// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"sync"
	"time"

	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/status"
)

// A noted has what the journal says of FRR and of the data plane; empty: neither was seen yet.
type noted struct {
	mu    sync.Mutex // guards the fields below
	frr   string     // in a word, and why
	plane string     // in a word
	was   string     // the word in frr
}

// applied is called when the state of FRR has changed.
func (p *program) applied() {
	p.state.Changed()
	p.noted.inForce(p.journal, p.applier.State())
}

// inForce puts into the journal that FRR does not run the wanted configuration, and that it
// does again.
func (n *noted) inForce(j *status.Journal, s frr.State) {
	word, why := "applied", ""
	switch {
	case s.Err != nil:
		word, why = "not applied", strings.ReplaceAll(s.Err.Error(), "\n", "; ")
	case !s.Applied:
		return // it is on its way
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.was != "" && n.frr != word+why {
		j.Add(status.Change{At: time.Now().Round(0), Kind: status.ChangeFRR, Subject: "configuration", Before: n.was, After: word, Cause: why})
	}
	n.was, n.frr = word, word+why
}

// dataPlane puts into the journal whether the data plane is healthy; nil: it is not asked.
func (n *noted) dataPlane(j *status.Journal, d *status.DataPlane) {
	if d == nil {
		return
	}
	word := "silent"
	switch {
	case d.Healthy:
		word = "healthy"
	case d.Answers:
		word = "unhealthy"
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.plane != "" && n.plane != word {
		j.Add(status.Change{At: time.Now().Round(0), Kind: status.ChangeDataPlane, Subject: "data plane", Before: n.plane, After: word, Cause: d.Detail})
	}
	n.plane = word
}

// processes returns FRR's daemons as the report shows them.
func processes(all map[string]frr.Process) map[string]status.Process {
	out := make(map[string]status.Process, len(all))
	for name, p := range all {
		out[name] = status.Process(p)
	}
	return out
}
