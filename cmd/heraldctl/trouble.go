// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"strings"

	"github.com/heraldlb/herald/topology"
)

// A trouble is what is wrong with an object of a list.
type trouble struct {
	own      string // a problem of its own, in words
	problems []int  // of a Topology
}

func (t trouble) none() bool { return t.own == "" && len(t.problems) == 0 }

// text returns the IDs of the problems, or with their causes.
func (t trouble) text(all []topology.Problem, causes bool) string {
	var parts []string
	if t.own != "" {
		parts = append(parts, t.own)
	}
	for _, i := range t.problems {
		text := all[i].ID
		if causes {
			text += ": " + all[i].Cause
		}
		if !slices.Contains(parts, text) {
			parts = append(parts, text)
		}
	}
	separator := ","
	if causes {
		separator = "; "
	}
	return orNone(strings.Join(parts, separator))
}

// A troubles is an index of problems by the objects that they are about.
type troubles map[string][]int

func problemIndex(all []topology.Problem) troubles {
	out := troubles{}
	for i, p := range all {
		for _, o := range p.Objects {
			out[o] = append(out[o], i)
		}
		for _, n := range p.Nodes {
			out["Node/"+n] = append(out["Node/"+n], i)
		}
	}
	return out
}

// of returns what is wrong with an object that problems call by some names.
func (t troubles) of(objects []string) (out trouble) {
	for _, o := range objects {
		out.problems = append(out.problems, t[o]...)
	}
	slices.Sort(out.problems)
	out.problems = slices.Compact(out.problems)
	return out
}
